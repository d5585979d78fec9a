"""One rule: what goes wrong, and on which calls."""

import math
from collections.abc import Collection
from typing import Final

import msgspec
from msgspec import Struct

from foxapi_async._wire.decode_errors import Problem, parse_error
from foxapi_async._wire.suggestion import closest
from foxapi_async.errors import ConfigError
from foxapi_async.gateway.faults.catalog import HOW, KINDS, ROUTES, WHEN
from foxapi_async.gateway.faults.text import read_rule, write_rule

_POSITIVE: Final = ("nth", "every", "times", "size", "polls", "each")
_NOT_NEGATIVE: Final = ("retry_after", "seconds", "chunk", "total")
_LONGEST_CODE: Final = 64
_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz_")
_STATUSES: Final = range(200, 600)
_SHOWN: Final = 120


class FaultRule(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A failure that the gateway makes on purpose, and the calls on which it makes it.

    ``nth``, ``every``, ``probability``, ``times``, ``model`` and ``task`` choose among the calls of
    the route; together they restrict each other. The other members say how the fault goes.

    ``FaultRule.of("submit:503:nth=2")`` reads the short form, which ``str()`` writes. A rule that
    cannot work raises ``ConfigError``, which names the part and what to write instead.
    """

    on: str
    """The route: ``submit``, ``query``, ``stream``, ``models``, or ``any``."""
    fault: str
    """The name of the fault, such as ``503`` or ``reset``."""
    nth: int | None = None
    """Only the call of this number; the first is 1."""
    every: int | None = None
    """Only each call of a multiple of this number."""
    probability: float | None = None
    """Only some calls, with this chance between 0 and 1; drawn from the seed."""
    times: int | None = None
    """At most so many calls in all."""
    model: str | None = None
    """Only calls about tasks of this model."""
    task: str | None = None
    """Only calls about the task of this id."""
    late: bool = False
    """Process the call first and spoil only its answer: a late submit has made its task."""
    status: int | None = None
    """The HTTP status, 200 to 599."""
    code: str | None = None
    """The ``error.code``."""
    message: str | None = None
    """The ``error.message``."""
    retry_after: float | None = None
    """The seconds of the header ``Retry-After``."""
    seconds: float | None = None
    """How long the fault lasts, in seconds."""
    size: int | None = None
    """A number of bytes."""
    polls: int | None = None
    """A number of queries, counted for each task."""
    chunk: int | None = None
    """The number of a chunk of the stream, or of tokens; the first is 0."""
    each: int | None = None
    """A number of chunks of one connection."""
    total: int | None = None
    """A number of chunks."""
    member: str | None = None
    """The name of a member of the answer."""
    value: str | None = None
    """The value of the member, as JSON; without it the member is absent."""

    @classmethod
    def of(cls, value: object) -> "FaultRule":
        """Return the rule that a text in the short form, or a mapping of members, describes."""
        if isinstance(value, FaultRule):
            return value
        try:
            members = read_rule(value) if isinstance(value, str) else value
            return msgspec.convert(members, cls, strict=not isinstance(value, str))
        except msgspec.ValidationError as error:
            raise ConfigError(f"fault {_shown(value)}: {_explain(parse_error(error))}") from None
        except ConfigError as error:
            raise ConfigError(f"fault {_shown(value)}: {error}") from None

    def __post_init__(self) -> None:
        if self.on not in ROUTES:
            raise ConfigError(f"there is no route {self.on!r}; {_choose(self.on, ROUTES)}")
        kind = KINDS.get(self.fault)
        if kind is None:
            raise ConfigError(f"there is no fault {self.fault!r}; {_choose(self.fault, KINDS)}")
        if self.on not in kind.routes:
            raise ConfigError(f"{self.fault} works on {' or '.join(kind.routes)}, not {self.on}")
        for name in HOW:
            value: object = getattr(self, name)
            if name not in kind.takes and value is not None and value is not False:
                raise ConfigError(f"{self.fault} takes no {name}; {_takes(self.fault)}")
        self._refuse_bad_numbers()
        self._refuse_missing()

    def _refuse_missing(self) -> None:
        """Refuse a fault without what it needs."""
        if self.fault == "status" and self.status is None:
            raise ConfigError("status needs a status; write it in its place, as in submit:503")
        if self.fault == "fail" and not _is_code(self.code):
            raise ConfigError("fail needs a code of letters and _, as in submit:fail:code=timeout")
        if self.fault == "member":
            if not self.member:
                raise ConfigError("member needs the name of one, as in query:member:member=id")
            if self.value is not None and not _is_json(self.value):
                raise ConfigError(
                    f'value must be JSON, such as null, 5 or "text", got {self.value!r}'
                )
        if self.fault in {"cut", "torn"} and self.chunk is self.each is None:
            raise ConfigError(f"{self.fault} needs chunk or each, as in stream:{self.fault}:each=5")
        if self.fault == "stall" and self.on != "stream" and not self.chunk is self.each is None:
            raise ConfigError(f"stall takes chunk and each on a stream, not on {self.on}")

    def _refuse_bad_numbers(self) -> None:
        for names, least in ((_POSITIVE, 1), (_NOT_NEGATIVE, 0)):
            for name in names:
                value: float | None = getattr(self, name)
                if value is not None and not (math.isfinite(value) and value >= least):
                    raise ConfigError(f"{name} must be {least} or more, got {value!r}")
        if self.probability is not None and not 0 <= self.probability <= 1:
            raise ConfigError(f"probability lies between 0 and 1, got {self.probability!r}")
        if self.status is not None and self.status not in _STATUSES:
            raise ConfigError(f"status lies between 200 and 599, got {self.status!r}")

    def __str__(self) -> str:
        return write_rule(msgspec.to_builtins(self))


def _is_code(code: str | None) -> bool:
    return bool(code) and len(code or "") <= _LONGEST_CODE and set(code or "") <= _LETTERS


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return False
    return True


def _takes(fault: str) -> str:
    own = KINDS[fault].takes
    return f"it takes {', '.join([*own, *WHEN])}"


def _choose(wrong: str, known: Collection[str]) -> str:
    near = closest(wrong, known)
    return f"did you mean {near}?" if near else f"choose one of {', '.join(known)}"


def _explain(problem: Problem) -> str:
    """Return the error text for a member that is unknown, missing or of the wrong type."""
    if problem.unknown is not None:
        known = ["on", "fault", *WHEN, *HOW]
        return f"there is no {problem.unknown!r}; {_choose(problem.unknown, known)}"
    if problem.missing is not None:
        return f"`{problem.missing}` is missing"
    if problem.path and problem.expected:
        return f"{problem.path} must be {_TYPES.get(problem.expected, problem.expected)}"
    return "write a text such as 'submit:503', or an object with `on` and `fault`"


_TYPES: Final = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
}


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
