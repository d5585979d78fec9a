"""The generation of one row of ``fox.llm.map``."""

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from functools import partial
from inspect import iscoroutinefunction, isroutine
from typing import Any, Final, Protocol, get_args

from msgspec import UNSET, Struct, UnsetType

from foxapi_async._client.llm_handle import LLMHandle
from foxapi_async._client.row_map import MappedRow, RowOutcome, Unknown
from foxapi_async._client.service_client import ServiceClient
from foxapi_async._client.submit_options import numbered_key, validate_key
from foxapi_async._journal import FAILED, Entry, EntryId, Stage
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
    TaskCancelledError,
    TaskFailedError,
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
        number, may_retry = 1, False
        if row.key is not None and settings.retry_failed:
            number, may_retry = await self._first_number(row.key)
        last = number + settings.attempts - 1
        failed: Exception | None = None
        while True:
            if row.key is not None:
                params |= {"key": numbered_key(row.key, number), "retry_failed": may_retry}
            try:
                row.handle, is_sent = await self._submit_row(row, params)
            except _ENDS_MAP:
                # What was billed has an outcome, although there is no further attempt.
                row.error = failed
                raise
            try:
                row.completion = await row.handle.result(timeout=settings.timeout)
            except (TaskFailedError, TaskCancelledError) as error:
                is_retried = number < last and may_succeed_again(error)
                if not is_retried and (is_sent or not await self._is_used(row.key, number + 1)):
                    raise
                number, may_retry, failed = number + 1, False, error
            else:
                return

    async def _submit_row(
        self, row: MappedRow[Any], params: Mapping[str, Any]
    ) -> tuple[LLMHandle, bool]:
        """Submit, or find the task of the key; tell whether a request was sent."""
        replaces: EntryId | None = None
        while True:
            try:
                handle, is_sent = await self._submit(params, replaces=replaces)
            except SubmitOutcomeUnknownError as error:
                row.attempts += not self._is_earlier(error)
                replaces = await self._entry_to_replace(row, params, error)
                if replaces is None:
                    raise
            else:
                row.attempts += is_sent
                return handle, is_sent

    async def _first_number(self, key: str) -> tuple[int, bool]:
        """Return the attempt that comes after those that failed in earlier runs.

        It takes the place of the last of these, whose entry is to be replaced: then the second
        value is true.
        """
        number = 1
        while True:
            entry = await self._find(numbered_key(key, number))
            if entry is None:
                return max(number - 1, 1), number > 1
            if entry.stage not in FAILED or entry.sent_at >= self._started_at:
                return number, False
            number += 1

    async def _is_used(self, key: str | None, number: int) -> bool:
        """Tell whether another row, or another run, has submitted this attempt."""
        return key is not None and await self._find(numbered_key(key, number)) is not None

    async def _find(self, key: str) -> Entry | None:
        service = self._service
        return await service.options.journal.find(service.account.base, key)

    def _params_of(self, row: MappedRow[Any]) -> dict[str, Any]:
        settings = self._settings
        computed = {name: compute(row.input) for name, compute in self._functions.items()}
        params = {**settings.params, **computed}
        params = {name: value for name, value in params.items() if value is not UNSET}
        if settings.key is not None:
            row.key = validate_key(settings.key(row.input))
            if row.key is not None and settings.attempts > 1:
                validate_key(numbered_key(row.key, settings.attempts))
        return params

    def _is_earlier(self, error: SubmitOutcomeUnknownError) -> bool:
        return error.sent_at < self._started_at

    async def _entry_to_replace(
        self, row: MappedRow[Any], params: Mapping[str, Any], error: SubmitOutcomeUnknownError
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
        entry = await self._find(params["key"])
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
