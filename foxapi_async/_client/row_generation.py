"""The generation of one row of ``fox.llm.map``."""

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from functools import partial
from inspect import iscoroutinefunction, isroutine
from typing import Any, Final, Protocol, get_args

from msgspec import UNSET, Struct, UnsetType

from foxapi_async._client.llm_handle import LLMHandle
from foxapi_async._client.row_map import MappedRow, RowOutcome, Unknown
from foxapi_async._client.service_client import ServiceClient
from foxapi_async._journal import EntryId, Stage
from foxapi_async._protocol.task_status import may_succeed_again
from foxapi_async.config import Budget, is_whole_number
from foxapi_async.errors import (
    AuthenticationError,
    BudgetExceededError,
    ConfigError,
    InsufficientQuotaError,
    JournalError,
    SessionClosedError,
    SubmitOutcomeUnknownError,
    TaskError,
)

_UNKNOWN: Final[tuple[Unknown, ...]] = get_args(Unknown)
# No other row can succeed after these.
_ENDS_MAP: Final = (
    AuthenticationError,
    BudgetExceededError,
    InsufficientQuotaError,
    JournalError,
    SessionClosedError,
)


class SubmitRow(Protocol):
    """Submits the request of a row, as ``LLM`` does."""

    def __call__(
        self, params: Mapping[str, Any], *, replaces: EntryId | None
    ) -> Awaitable[tuple[LLMHandle, bool]]:
        """Submit, and return the handle and whether a request was sent."""
        ...


class RowSettings(Struct, frozen=True, kw_only=True):
    """The keywords of ``map`` that hold for each row."""

    params: Mapping[str, Any]
    """The keywords of the submit: values, and functions of the row."""
    key: Callable[[Any], str] | None
    """The function that gives the key of a row."""
    attempts: int
    """How many generations a row may take."""
    unknown: Unknown
    """What is done with a row whose earlier submission may have been accepted."""
    retry_failed: bool
    """Whether a key whose task failed in an earlier run is submitted again."""
    timeout: float | None | UnsetType
    """Seconds to wait for each task."""


class RowGeneration:
    """Generates completions of rows: the ``RowRunner`` of a session."""

    def __init__(self, service: ServiceClient, submit: SubmitRow, settings: RowSettings) -> None:
        self._service = service
        self._submit = submit
        self._settings = settings
        self._started_at = service.clock.unix()
        self._functions: dict[str, Callable[[Any], Any]] = {
            name: value for name, value in settings.params.items() if _is_function(name, value)
        }

    def enter(self) -> None:
        """Bind the session to the running loop.

        Raises:
            SessionClosedError: The session is closed.
        """
        self._service.runtime.enter()

    def now(self) -> float:
        """Return the time of the session's clock."""
        return self._service.clock.time()

    def rate_limits(self) -> int:
        """Return how often the service has refused a submission of the session by a 429."""
        return self._service.runtime.admission.rate_limits

    async def run(self, row: MappedRow[Any]) -> None:
        """Submit the row, wait for its end, and store what is known in ``row``.

        Raises:
            FoxAPIError: No row can be submitted any more.
            SessionClosedError: The session is closed.
        """
        try:
            await self._generate(row)
        except _ENDS_MAP:
            raise
        except Exception as error:  # noqa: BLE001 it is the outcome of the row
            row.error = error

    def abandon(self, row: MappedRow[Any] | RowOutcome[Any]) -> None:
        """Keep the handle of a row whose outcome no caller gets in ``fox.unclaimed``."""
        handle = row.handle
        if handle is not None and (row.completion is not None or not handle.done()):
            self._service.add_unclaimed(
                handle, task_id=handle.id, model=handle.model or "", key=row.key
            )

    async def _generate(self, row: MappedRow[Any]) -> None:
        settings = self._settings
        params = self._params_of(row)
        replaces: EntryId | None = None
        failed: TaskError | None = None
        while True:
            try:
                row.handle, is_sent = await self._submit(params, replaces=replaces)
            except _ENDS_MAP:
                # What was billed has an outcome, although there is no further attempt.
                row.error = failed
                raise
            except SubmitOutcomeUnknownError as error:
                row.attempts += not self._is_earlier(error)
                replaces = await self._entry_to_replace(row, error)
                if replaces is None:
                    raise
                continue
            row.attempts += is_sent
            try:
                row.completion = await row.handle.result(timeout=settings.timeout)
            except TaskError as error:
                # What failed in an earlier run is a matter of `retry_failed`.
                if not (is_sent and may_succeed_again(error)) or row.attempts >= settings.attempts:
                    raise
                failed = error
                if row.key is not None:
                    params["retry_failed"] = True
            else:
                return

    def _params_of(self, row: MappedRow[Any]) -> dict[str, Any]:
        settings = self._settings
        computed = {name: compute(row.input) for name, compute in self._functions.items()}
        params = {**settings.params, **computed}
        params = {name: value for name, value in params.items() if value is not UNSET}
        if settings.key is not None:
            row.key = params["key"] = settings.key(row.input)
            params["retry_failed"] = settings.retry_failed
        return params

    def _is_earlier(self, error: SubmitOutcomeUnknownError) -> bool:
        return error.sent_at < self._started_at

    async def _entry_to_replace(
        self, row: MappedRow[Any], error: SubmitOutcomeUnknownError
    ) -> EntryId | None:
        """Return the entry of an earlier run that is to be sent again, if the user wants that.

        A submission of this run is never sent again.
        """
        unknown = self._settings.unknown
        if unknown == "error" or row.key is None or not self._is_earlier(error):
            return None
        if unknown == "skip":
            row.is_skipped = True
            return None
        service = self._service
        entry = await service.options.journal.find(service.account.base, row.key)
        return entry.id if entry is not None and entry.stage is Stage.UNKNOWN else None


def _is_function(name: str, value: object) -> bool:
    """Tell whether a keyword is a function of the row, and no value."""
    if isroutine(value) or isinstance(value, partial):
        return True
    # The form of an answer may be a type, which is callable too.
    return callable(value) and name != "response_format"


def check_rows(rows: object) -> None:
    """Raise ``TypeError`` for what is no source of rows."""
    if isinstance(rows, str | bytes | bytearray):
        raise TypeError(
            f"map() got one {type(rows).__name__}, of which each character would be a row: pass a "
            "list, or open the file that it names"
        )
    if not isinstance(rows, Iterable | AsyncIterable) and not hasattr(rows, "__getitem__"):
        advice = "call it" if callable(rows) else "pass a list, a generator or an async generator"
        raise TypeError(
            f"map() needs an iterable or async iterable, got {type(rows).__name__}: {advice}"
        )


def check_map_settings(
    *,
    in_flight: object,
    attempts: object,
    unknown: object,
    key: object,
    budget: object,
    progress: object,
) -> None:
    """Raise ``ConfigError`` for a keyword of ``map`` with a wrong value."""
    if in_flight != "auto" and not (is_whole_number(in_flight) and in_flight >= 1):
        raise ConfigError(
            f"map(in_flight=) must be a whole number of at least 1 or 'auto', got {in_flight!r}"
        )
    if not (is_whole_number(attempts) and attempts >= 1):
        raise ConfigError(f"map(attempts=) must be a whole number of at least 1, got {attempts!r}")
    if unknown not in _UNKNOWN:
        raise ConfigError(f"map(unknown=) must be one of {', '.join(_UNKNOWN)}, got {unknown!r}")
    if budget is not None and not isinstance(budget, Budget):
        raise ConfigError("map(budget=) must be Budget(...), as in Budget(credits=20)")
    if key is not None and not callable(key):
        raise ConfigError(
            f"map(key=) must be a function of the row, got {type(key).__name__}: "
            "pass lambda row: row['id']"
        )
    if not (progress is None or isinstance(progress, bool)) and (
        not callable(progress) or iscoroutinefunction(progress)
    ):
        kind = "an async function" if callable(progress) else type(progress).__name__
        raise ConfigError(
            f"map(progress=) must be a function of a RowProgress, got {kind}: pass a plain function"
        )
