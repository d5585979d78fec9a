"""What becomes of a row: the options, which travel to the workers, and the request of a row."""

import os
import re
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from functools import partial
from inspect import isroutine
from typing import Any, Final, TypeGuard, cast

import msgspec
from msgspec import UNSET, Struct, UnsetType

from foxapi_async._client.params import LLMParams, build_request
from foxapi_async._client.row_map import InFlight, RowMap, Unknown
from foxapi_async._client.session import FoxSession
from foxapi_async._client.submit_options import validate_key
from foxapi_async._protocol.fingerprint import fingerprint
from foxapi_async._wire.media_request import encode_submit
from foxapi_async._wire.violation import Violation
from foxapi_async.config import Limits
from foxapi_async.errors import ConfigError, RequestValidationError
from foxapi_async.ray._columns import AnswerColumns, without_nulls

Row = Mapping[str, Any]

_KEYWORDS: Final = frozenset(LLMParams.__annotations__)
_OWN: Final = frozenset({"key", "messages", "model", "retry_failed"})
_SETTINGS: Final = frozenset(
    {
        "allow_http",
        "base_url",
        "polling",
        "retry",
        "streaming",
        "timeouts",
        "trust_env",
        "validation",
    }
)
# A worker may have another environment than the process that checks the options.
_ANY_URL: Final = "http://127.0.0.1"
_NO_KEY: Final = (
    "an API key is no option, because options are stored and shown by Ray: set FOXAPI_API_KEY in "
    "the environment of the workers, as in "
    "ray.init(runtime_env={'env_vars': {'FOXAPI_API_KEY': ...}})"
)
_PASSWORD: Final = re.compile(r"(?<=://)[^/?#]*@")
_PASSWORD_OPTION: Final = re.compile(r"(password=)[^&\s]*", re.IGNORECASE)


class RowOptions(Struct, frozen=True, kw_only=True):
    """The options of ``FoxGenerate``. They pickle; their repr shows no prompt and no password."""

    model: str | Callable[[Row], str]
    prompt: str | Callable[[Row], Any] | None = None
    messages: str | Callable[[Row], Any] | None = None
    system: str | None = None
    key: str | Callable[[Row], Any] | None = None
    journal: str | None = None
    limits: Limits = Limits()
    parse: bool = False
    unknown: Unknown = "error"
    attempts: int = 1
    retry_failed: bool = False
    in_flight: InFlight = 256
    timeout: float | None | UnsetType = UNSET
    prefix: str = ""
    session: Mapping[str, Any] = {}
    params: Mapping[str, Any] = {}

    def __post_init__(self) -> None:
        if (self.prompt is None) == (self.messages is None):
            raise TypeError("give either prompt= or messages=: a column, or a function of the row")
        for name in ("model", "prompt", "messages", "key"):
            _check_source(name, getattr(self, name))
        if not isinstance(self.prefix, str):  # pyright: ignore[reportUnnecessaryIsInstance] not checked at runtime
            raise ConfigError(f"prefix= must be a text, got {type(self.prefix).__name__}")
        _check_session(self.session)
        _check_params(self.params)
        self.start_map(self.build_session("not-sent", base_url=_ANY_URL), ())

    def build_session(self, api_key: str | None = None, **defaults: Any) -> FoxSession:
        """Build the session of a worker; nothing is opened before it is entered.

        Args:
            api_key: The API key; that of the environment by default.
            **defaults: Arguments that count where the options have none.

        Raises:
            ConfigError: The environment has no API key, or a setting cannot work.
        """
        settings = {**defaults, **self.session}
        return FoxSession(api_key, journal=self.journal, limits=self.limits, **settings)

    def start_map(
        self,
        session: FoxSession,
        rows: "AsyncIterable[QueuedRow] | Iterable[QueuedRow]",
    ) -> "RowMap[QueuedRow]":
        """Return the outcomes of rows, of which nothing is read before the first step.

        Raises:
            TypeError: A keyword is unknown.
            ConfigError: An option cannot work.
        """
        names = {*self.params, "messages"}
        params: dict[str, Any] = {name: partial(_param_of, name) for name in names}
        return session.llm.map(
            rows,
            model=partial(_param_of, "model"),
            key=_key_of,
            in_flight=self.in_flight,
            attempts=self.attempts,
            # A row that `map` skips has no outcome, and its batch would wait for it.
            unknown="error" if self.unknown == "skip" else self.unknown,
            retry_failed=self.retry_failed,
            timeout=self.timeout,
            **params,
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are named; all of them are read if a value is a function of the row."""
        named = (self.prompt, self.messages, self.key)
        return tuple(dict.fromkeys(source for source in named if isinstance(source, str)))

    @property
    def reads_all_columns(self) -> bool:
        """Whether some value is a function of the row."""
        sources = (self.model, self.prompt, self.messages, self.key)
        return any(map(_is_function, sources)) or any(
            _is_function(value, name) for name, value in self.params.items()
        )

    @property
    def answer_type(self) -> Any:
        """The type that answers are parsed as; ``Any`` for any JSON, ``None`` for the text."""
        form = self.params.get("response_format")
        if form is None or isinstance(form, Mapping) or _is_function(form, "response_format"):
            return Any if self.parse else None
        return form

    def request(self, row: Row) -> "RowRequest":
        """Return the parameters and the key of a row.

        Raises:
            RequestValidationError: A value is missing or cannot be sent.
            Exception: Whatever a function of the row raises.
        """
        params = {
            name: value(row) if _is_function(value, name) else value
            for name, value in self.params.items()
        }
        params["model"] = self.model(row) if _is_function(self.model) else self.model
        params["messages"] = self._messages(row)
        if self.key is None:
            key = fingerprint(encode_submit(build_request(params)))
        else:
            key = _key(_read("key", self.key, row))
        return RowRequest(params=params, key=key)

    def _messages(self, row: Row) -> list[Any]:
        if self.prompt is not None:
            prompt = _read("prompt", self.prompt, row)
            messages: list[Any] = [{"role": "user", "content": without_nulls(prompt)}]
        else:
            messages = _conversation(_read("messages", self.messages, row))
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*system, *messages]

    def __repr__(self) -> str:
        journal = None if self.journal is None else shown_journal(self.journal)
        sources = {name: getattr(self, name) for name in ("model", "prompt", "messages", "key")}
        shown = [f"{name}={_shown(source)}" for name, source in sources.items() if source]
        return ", ".join([*shown, f"journal={journal!r}", f"unknown={self.unknown!r}"])


class RowRequest(Struct, frozen=True):
    """The keywords of the submit of one row, and its key."""

    params: dict[str, Any]
    key: str

    def __repr__(self) -> str:
        return f"<RowRequest {self.key}>"


class QueuedRow(Struct, eq=False):
    """A row that has no answer yet."""

    row: Row
    deliver: Callable[[AnswerColumns], object]
    request: RowRequest = RowRequest({}, "")
    """Made when the row is submitted, so that a long batch does not hold up the loop."""


def _key_of(queued: QueuedRow) -> str:
    return queued.request.key


def _param_of(name: str, queued: QueuedRow) -> Any:
    return queued.request.params[name]


def resolve_journal(journal: str | os.PathLike[str] | None) -> str | None:
    """Return the journal as a text that means the same in each process of this machine."""
    if journal is None:
        return None
    text = os.fspath(journal)
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] not checked at runtime
        raise ConfigError("journal=... must be a text or a path, not bytes")
    return text if "://" in text else os.path.abspath(text)  # noqa: PTH100 keeps ?synchronous=full


def shown_journal(journal: str) -> str:
    """Return the location of a journal without a password."""
    return _PASSWORD_OPTION.sub(r"\1...", _PASSWORD.sub("...@", journal))


def _check_source(name: str, source: object) -> None:
    if source is not None and not _is_function(source) and not (source and isinstance(source, str)):
        raise ConfigError(
            f"{name}= must be {'a model' if name == 'model' else 'the name of a column'} or a "
            f"function of the row, got {type(source).__name__}"
        )


def _check_session(settings: Mapping[str, Any]) -> None:
    if "api_key" in settings:
        raise ConfigError(_NO_KEY)
    for name in settings:
        if name not in _SETTINGS:
            raise ConfigError(
                f"session= takes {', '.join(sorted(_SETTINGS))}, got {name!r}: it has a keyword of "
                "its own, or does not travel to a worker"
            )


def _check_params(params: Mapping[str, Any]) -> None:
    if "api_key" in params:
        raise ConfigError(_NO_KEY)
    fixed = {name: value for name, value in params.items() if not _is_function(value, name)}
    for name in params:
        if name in _OWN or (name not in _KEYWORDS and name not in fixed):
            raise TypeError(f"unknown keyword {name!r}")
    build_request({"model": "any", "messages": "any", **fixed})


def _is_function(value: object, name: str = "") -> TypeGuard[Callable[[Row], Any]]:
    """Tell whether a value is a function of the row; the form of an answer may be a type."""
    if isroutine(value) or isinstance(value, partial):
        return True
    return callable(value) and not isinstance(value, type) and name != "response_format"


def _read(name: str, source: Any, row: Row) -> Any:
    """Return the value of a column or of a function of the row; it must not be missing."""
    value = source(row) if _is_function(source) else row[source]
    if value is None or value == "":
        where = "the function" if _is_function(source) else f"column {source!r}"
        raise _rejected(name, f"is missing: {where} has no value for this row")
    return value


def _conversation(value: Any) -> list[Any]:
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except msgspec.DecodeError:
            raise _rejected("messages", "is no JSON: pass a text as prompt=") from None
    if not isinstance(value, list | tuple):
        raise _rejected("messages", f"must be a list of messages, got {type(value).__name__}")
    return [without_nulls(message) for message in cast("list[Any]", value)]


def _key(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    key = validate_key(value)
    if key is None:
        raise _rejected("key", "is missing")
    return key


def _rejected(param: str, message: str) -> RequestValidationError:
    return RequestValidationError([Violation(code="invalid_param", param=param, message=message)])


def _shown(source: Any) -> str:
    return getattr(source, "__qualname__", "function") if _is_function(source) else repr(source)
