"""One fault rule, and its short form.

The short form is ``ROUTE:FAULT`` or ``ROUTE:FAULT:NAME=VALUE,NAME=VALUE``. ``submit:503`` is an
error with this status. A name without a value, such as ``late``, is true. A value cannot contain a
comma; write a rule that needs one as an object.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from foxapi_async._wire.decode_errors import Problem, parse_error
from foxapi_async._wire.suggestion import closest, suggestion
from foxapi_async.config import is_finite
from foxapi_async.errors import ConfigError
from foxapi_async.gateway.faults.catalog import CONDITIONS, FAULT_KINDS, OPTIONS, ROUTES, FaultName

_POSITIVE: Final = ("nth", "every", "times", "size", "polls", "each")
_NOT_NEGATIVE: Final = ("retry_after", "seconds", "chunk", "total")
_MAX_CODE_LENGTH: Final = 64
_CODE_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz_")
_STATUSES: Final = range(200, 600)
_MAX_EXCERPT: Final = 120


class FaultRule(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A failure that the gateway makes on purpose, and the calls on which it acts.

    ``nth``, ``every``, ``probability``, ``times``, ``model`` and ``task`` are conditions: the rule
    acts on the calls of its route that meet all of them. The other fields are options of the fault.

    ``FaultRule.of("submit:503:nth=2")`` reads the short form, and ``str(rule)`` returns it. An
    invalid rule raises ``ConfigError``, which names the wrong part and what to write instead.
    """

    on: str
    """The route: ``submit``, ``query``, ``stream``, ``models``, ``upload``, ``download``, or
    ``any``."""
    fault: str
    """The name of the fault, such as ``503`` or ``reset``."""
    nth: int | None = None
    """Act only on the call of this number; the first is 1."""
    every: int | None = None
    """Act only on calls whose number is a multiple of this."""
    probability: float | None = None
    """Act with this probability, from 0 to 1. The seed decides on which calls."""
    times: int | None = None
    """Act on at most this many calls."""
    model: str | None = None
    """Act only on calls about tasks of this model."""
    task: str | None = None
    """Act only on calls about the task with this id."""
    late: bool = False
    """Process the call first and change only its response: a late submit creates its task."""
    status: int | None = None
    """The HTTP status, 200 to 599."""
    code: str | None = None
    """The ``error.code``."""
    message: str | None = None
    """The ``error.message``."""
    retry_after: float | None = None
    """The seconds of the header ``Retry-After``."""
    seconds: float | None = None
    """The duration of the fault in seconds."""
    size: int | None = None
    """A number of bytes."""
    polls: int | None = None
    """A number of queries of each task."""
    chunk: int | None = None
    """The number of a chunk (the first is 0), or a number of tokens."""
    each: int | None = None
    """A number of chunks of one connection."""
    total: int | None = None
    """A number of chunks."""
    member: str | None = None
    """The name of a member of the response."""
    value: str | None = None
    """The value of the member as JSON; without it the member is removed."""

    @classmethod
    def of(cls, value: object) -> "FaultRule":
        """Return the rule for a text in the short form or a mapping of fields.

        Raises:
            ConfigError: The rule is invalid.
        """
        if isinstance(value, FaultRule):
            return value
        try:
            members = _read_short_form(value) if isinstance(value, str) else value
            return msgspec.convert(members, cls, strict=not isinstance(value, str))
        except msgspec.ValidationError as error:
            raise ConfigError(f"fault {_excerpt(value)}: {_explain(parse_error(error))}") from None
        except ConfigError as error:
            raise ConfigError(f"fault {_excerpt(value)}: {error}") from None

    def __post_init__(self) -> None:
        if self.on not in ROUTES:
            raise ConfigError(f"there is no route {self.on!r}; {_suggestion(self.on, ROUTES)}")
        kind = FAULT_KINDS.get(self.fault)
        if kind is None:
            hint = _suggestion(self.fault, [name.value for name in FaultName])
            raise ConfigError(f"there is no fault {self.fault!r}; {hint}")
        if self.on not in kind.routes:
            raise ConfigError(f"{self.fault} works on {' or '.join(kind.routes)}, not {self.on}")
        for name in OPTIONS:
            value: object = getattr(self, name)
            if name not in kind.options and value is not None and value is not False:
                raise ConfigError(f"{self.fault} takes no {name}; {_options_of(self.fault)}")
        self._check_numbers()
        self._check_required()

    def _check_required(self) -> None:
        """Raise ``ConfigError`` if an option that the fault needs is missing or invalid."""
        if self.fault == FaultName.STATUS and self.status is None:
            raise ConfigError("status needs a status; write it in its place, as in submit:503")
        if self.fault == FaultName.FAIL and not _is_code(self.code or ""):
            raise ConfigError("fail needs a code of letters and _, as in submit:fail:code=timeout")
        if self.fault == FaultName.MEMBER:
            if not self.member:
                raise ConfigError("member needs the name of a member, as in query:member:member=id")
            if self.value is not None and not _is_json(self.value):
                raise ConfigError(
                    f'value must be JSON, such as null, 5 or "text", got {self.value!r}'
                )
        if self.fault in {FaultName.CUT, FaultName.TORN} and self.chunk is self.each is None:
            raise ConfigError(f"{self.fault} needs chunk or each, as in stream:{self.fault}:each=5")
        is_response = self.fault == FaultName.STALL and self.on != "stream"
        if is_response and not self.chunk is self.each is None:
            raise ConfigError(f"stall takes chunk and each on a stream, not on {self.on}")
        if self.fault == FaultName.STALL and self.on != "download" and self.size is not None:
            raise ConfigError(f"stall takes size on a download, not on {self.on}")

    def _check_numbers(self) -> None:
        for names, least in ((_POSITIVE, 1), (_NOT_NEGATIVE, 0)):
            for name in names:
                value: float | None = getattr(self, name)
                if value is not None and not (is_finite(value) and value >= least):
                    raise ConfigError(f"{name} must be {least} or more, got {value!r}")
        if self.probability is not None and not 0 <= self.probability <= 1:
            raise ConfigError(f"probability lies between 0 and 1, got {self.probability!r}")
        if self.status is not None and self.status not in _STATUSES:
            raise ConfigError(f"status lies between 200 and 599, got {self.status!r}")

    def __str__(self) -> str:
        return _write_short_form(msgspec.to_builtins(self))


def _is_code(code: str) -> bool:
    return bool(code) and len(code) <= _MAX_CODE_LENGTH and set(code) <= _CODE_CHARACTERS


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return False
    return True


def _options_of(fault: str) -> str:
    return f"it takes {', '.join([*FAULT_KINDS[fault].options, *CONDITIONS])}"


def _suggestion(unknown: str, known: Collection[str]) -> str:
    return suggestion(closest(unknown, known), f"choose one of {', '.join(known)}")


def _explain(problem: Problem) -> str:
    """Return the error text for a member that is unknown, missing or of the wrong type."""
    if problem.unknown is not None:
        known = ["on", "fault", *CONDITIONS, *OPTIONS]
        return f"there is no {problem.unknown!r}; {_suggestion(problem.unknown, known)}"
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


def _excerpt(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_EXCERPT else f"{text[:_MAX_EXCERPT]}…"


def _read_short_form(text: str) -> dict[str, str]:
    """Return the fields that a text in the short form gives, all of them as texts."""
    route, colon, rest = text.strip().partition(":")
    fault, _, options = rest.partition(":")
    if not route or not colon or not fault:
        raise ConfigError("write ROUTE:FAULT, as in submit:503 or stream:cut:chunk=5")
    fields = {"on": route, "fault": fault.replace("_", "-")}
    if fault.isascii() and fault.isdigit():
        fields |= {"fault": FaultName.STATUS.value, "status": fault}
    for option in options.split(",") if options else ():
        name, equals, value = (part.strip() for part in option.partition("="))
        if not name:
            raise ConfigError("an option has no name; write NAME=VALUE between the commas")
        if name in fields:
            raise ConfigError(f"{name} is given twice; remove one of them")
        if equals and not value:
            raise ConfigError(f"{name} has no value; write {name}=VALUE, or {name} alone")
        fields[name] = value if equals else "true"
    return fields


def _write_short_form(fields: Mapping[str, Any]) -> str:
    rest = dict(fields)
    route, fault = rest.pop("on"), rest.pop("fault")
    if fault == FaultName.STATUS:
        fault = rest.pop("status")
    options = ",".join(
        name if value is True else f"{name}={_number(value)}" for name, value in rest.items()
    )
    return f"{route}:{fault}:{options}" if options else f"{route}:{fault}"


def _number(value: object) -> str:
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
