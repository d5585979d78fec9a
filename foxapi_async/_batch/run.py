"""A run: rows of an input to lines of an output."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET

from foxapi_async._batch.answer_schema import AnswerMismatchError, AnswerSchema
from foxapi_async._batch.output_file import FileLock, LineFile
from foxapi_async._batch.output_lines import (
    INVALID_ROW,
    credits_of,
    error_code,
    error_line,
    error_message,
    invalid_line,
)
from foxapi_async._batch.parquet import input_schema, write_parquet
from foxapi_async._batch.plan import BatchOptions, Earlier, Plan, plan_rows
from foxapi_async._batch.requests import MEMBERS, PreparedRow
from foxapi_async._batch.row_thread import RowThread
from foxapi_async._batch.rows import BatchFileError, InvalidRow, OutputUnwritableError
from foxapi_async._batch.state import BatchPaths, BatchState, save_state
from foxapi_async._batch.totals import AnswerExample, EndReason, ErrorExample, ErrorLimit, Totals
from foxapi_async._batch.writer import LineWriter
from foxapi_async.config import Budget
from foxapi_async.errors import (
    AuthenticationError,
    BudgetExceededError,
    FoxAPIError,
    InsufficientQuotaError,
    SubmitOutcomeUnknownError,
)
from foxapi_async.types import ChatCompletion

if TYPE_CHECKING:
    from foxapi_async import FoxSession, RowOutcome

Session = AbstractAsyncContextManager["FoxSession"]
_Item = Plan | PreparedRow | InvalidRow | Earlier

_MAX_EXAMPLE: Final = 400


class BatchRun:
    """Answers the rows of an input.

    Args:
        options: What the user asks for.
        session: The session, which is entered once the input was read and the options checked.
        retry_failed: Whether rows whose task failed in an earlier run are submitted again.
    """

    def __init__(
        self,
        options: BatchOptions,
        session: Session,
        *,
        retry_failed: bool = False,
        budget: Budget | None = None,
    ) -> None:
        self._budget = budget
        self._options = options
        self._session = session
        self._retry_failed = retry_failed
        self._stop_reason: EndReason | None = None
        self._max_errors = ErrorLimit.parse(options.max_errors) if options.max_errors else None
        self._schema: AnswerSchema | None = None
        self._writer: LineWriter | None = None
        self._fraction: Callable[[], float | None] = lambda: None
        self._started = time.monotonic()
        self.paths: BatchPaths = BatchPaths(options.output)
        self.totals: Totals = Totals(started_at=time.time())
        self.seen: int = 0
        self.fox: FoxSession | None = None
        self.failure: FoxAPIError | None = None
        self.budget_error: BudgetExceededError | None = None
        self.plan: Plan | None = None

    @property
    def fraction(self) -> float | None:
        """The part of the input that was read, 0 to 1; ``None`` if nothing tells."""
        return self._fraction()

    @property
    def in_flight(self) -> int:
        """The rows that were taken and have not ended."""
        return 0 if self.fox is None else self.fox.stats().rows_in_flight

    @property
    def submits_queued(self) -> int:
        """The rows whose submission waits for a rate."""
        return 0 if self.fox is None else self.fox.stats().submits_queued

    @property
    def done(self) -> int:
        """The rows that have ended, in this run or earlier."""
        return self.seen - self.in_flight

    @property
    def elapsed(self) -> float:
        """The seconds since the start."""
        return time.monotonic() - self._started

    def stop(self, reason: EndReason = "interrupted") -> None:
        """Take no more rows. The run ends when the rows in flight have ended."""
        self._stop_reason = self._stop_reason or reason

    async def run(self) -> BatchState:
        """Answer the rows and return how it ended.

        Raises:
            BatchFileError: A file or an option cannot be used.
            OutputUnwritableError: The output cannot be written. What is paid for is in the journal.
            FoxAPIError: The session cannot be used.
        """
        async with AsyncExitStack() as stack:
            lock = await asyncio.to_thread(FileLock, self.paths.lock)
            stack.push_async_callback(asyncio.to_thread, lock.release)
            if self._options.request.schema is not None:
                self._schema = await asyncio.to_thread(AnswerSchema, self._options.request.schema)
            thread: RowThread[_Item] = RowThread(partial(plan_rows, self._options))
            blocks = await stack.enter_async_context(aclosing(thread.blocks()))
            first, *rest = await anext(blocks)
            assert isinstance(first, Plan)  # noqa: S101 the first item
            self._begin(first)
            state = BatchState(settings=first.settings, totals=self.totals)
            files = await asyncio.to_thread(self._open_files, first, state)
            for file in files:
                stack.callback(file.close)
            try:
                self.fox = fox = await stack.enter_async_context(self._session)
                await self._answer(fox, files, state, rest, blocks)
            except BaseException:
                self.totals.end = "unwritable" if self._is_unwritable else "failed"
                if isinstance(asyncio.current_task(), asyncio.Task) and self._stop_reason:
                    self.totals.end = self._stop_reason
                raise
            finally:
                self.totals.seconds = self.elapsed
                await asyncio.to_thread(self._finish, files, state)
            return state

    @property
    def _is_unwritable(self) -> bool:
        return self._writer is not None and self._writer.error is not None

    def _begin(self, plan: Plan) -> None:
        self.plan = plan
        self._fraction = plan.fraction
        earlier = plan.earlier
        totals = self.totals
        totals.earlier = earlier.earlier
        totals.prompt_tokens = earlier.prompt_tokens
        totals.completion_tokens = earlier.completion_tokens
        totals.credits, totals.with_credits = earlier.credits, earlier.with_credits

    def _open_files(self, plan: Plan, state: BatchState) -> tuple[LineFile, LineFile]:
        settings = plan.settings
        output = self.paths.lines(settings.format)
        try:
            # Before the first line: an output without it is refused as one of another program.
            save_state(self.paths, state)
            answers = LineFile(output, plan.size)
        except OSError as error:
            raise BatchFileError(f"-o {output}: {error.strerror or error}") from None
        try:
            if not plan.size and plan.lines.header:
                answers.append([plan.lines.header])
            errors = LineFile(Path(settings.errors), 0)
        except OSError as error:
            answers.close()
            raise BatchFileError(f"--errors {settings.errors}: {error.strerror or error}") from None
        return answers, errors

    async def _answer(
        self,
        fox: "FoxSession",
        files: tuple[LineFile, LineFile],
        state: BatchState,
        rest: list[_Item],
        blocks: AsyncGenerator[list[_Item], None],
    ) -> None:
        def save() -> None:
            self.totals.seconds = self.elapsed
            save_state(self.paths, state)

        async with LineWriter(*files, save, partial(self.stop, "unwritable")) as writer:
            self._writer = writer
            outcomes = fox.llm.map(
                self._rows(rest, blocks),
                model=_param("model"),
                key=_key,
                in_flight=self._options.in_flight,
                unknown=self._options.unknown,
                retry_failed=self._retry_failed,
                budget=self._budget,
                **_PARAMS,
            )
            try:
                async for outcome in outcomes:
                    self._record(outcome, writer)
                    await writer.room()
            except BudgetExceededError as error:
                self.budget_error = error
                self.stop("budget")
            except (AuthenticationError, InsufficientQuotaError) as error:
                self.failure = error
                self.stop("refused")
            finally:
                await outcomes.aclose()
            if not self._stop_reason:
                # Rows without an outcome.
                self.totals.skipped = self.totals.read - self.totals.finished
        if writer.error is not None:
            raise OutputUnwritableError(
                f"-o {self.paths.output} cannot be written: {writer.error.strerror}; "
                "make room and run again: nothing is paid twice"
            )
        self.totals.end = self._stop_reason or "done"

    async def _rows(
        self, rest: list[_Item], blocks: AsyncGenerator[list[_Item], None]
    ) -> AsyncGenerator[PreparedRow, None]:
        for row in self._valid(rest):
            yield row
        async for block in blocks:
            for row in self._valid(block):
                yield row
            if self._stop_reason:
                return

    def _valid(self, items: list[_Item]) -> Iterator[PreparedRow]:
        for item in items:
            if self._stop_reason:
                return
            self.seen += 1
            if isinstance(item, PreparedRow):
                self.totals.read += 1
                yield item
            elif isinstance(item, InvalidRow):
                self.totals.read += 1
                self._reject(item)

    def _reject(self, row: InvalidRow) -> None:
        self.totals.invalid += 1
        example = ErrorExample(line=row.line, custom_id=row.custom_id, message=row.reason)
        self._failed(INVALID_ROW, example, invalid_line(row))

    def _record(self, outcome: "RowOutcome[PreparedRow]", writer: LineWriter) -> None:
        prepared, completion, error = outcome.input, outcome.completion, outcome.error
        self.totals.durations.add(outcome.seconds)
        parsed: Any = None
        if completion is not None and self._schema is not None:
            try:
                parsed = self._schema.parse(completion)
            except AnswerMismatchError as mismatch:
                error = mismatch
        if error is not None:
            self._record_error(prepared, error, completion)
        elif completion is not None:
            self._record_completion(prepared, completion, parsed, writer)

    def _record_completion(
        self, prepared: PreparedRow, completion: ChatCompletion, parsed: Any, writer: LineWriter
    ) -> None:
        totals = self.totals
        totals.answered += 1
        totals.timeline.add(self.elapsed, is_answered=True)
        self._count_usage(completion, is_repeated=prepared.is_repeated)
        assert self.plan is not None  # noqa: S101 rows come after the plan
        writer.answer(self.plan.lines.line(prepared, completion, parsed))
        totals.add_answer(
            AnswerExample(
                line=prepared.row.line,
                custom_id=prepared.custom_id,
                text=completion.text[:_MAX_EXAMPLE],
            )
        )

    def _record_error(
        self, prepared: PreparedRow, error: Exception, completion: ChatCompletion | None
    ) -> None:
        if isinstance(error, SubmitOutcomeUnknownError):
            self.totals.unknown += 1
        else:
            self.totals.failed += 1
        example = ErrorExample(
            line=prepared.row.line, custom_id=prepared.custom_id, message=error_message(error)
        )
        self._failed(error_code(error), example, error_line(prepared, error, completion))

    def _failed(self, code: str, example: ErrorExample, line: bytes) -> None:
        self.totals.add_error(code, example)
        self.totals.timeline.add(self.elapsed, is_answered=False)
        assert self._writer is not None  # noqa: S101 rows come after the writer
        self._writer.reject(line)
        if self._max_errors is not None and self._max_errors.is_exceeded(self.totals):
            self.stop("errors")

    def _count_usage(self, completion: ChatCompletion, *, is_repeated: bool) -> None:
        totals, usage = self.totals, completion.usage
        if usage is not None:
            totals.prompt_tokens += usage.prompt_tokens
            totals.completion_tokens += usage.completion_tokens
        spent = credits_of(completion)
        if spent is not None and not is_repeated:
            totals.credits += spent
            totals.with_credits += 1

    def _finish(self, files: tuple[LineFile, LineFile], state: BatchState) -> None:
        """Write what is left, so that a power cut takes nothing that the run has counted."""
        for file in files:
            file.sync()
        if state.settings.format == "parquet":
            settings = state.settings
            schema = input_schema(settings.input) if settings.input_format == "parquet" else None
            write_parquet(self.paths.rows, self.paths.output, schema)
        save_state(self.paths, state)


def _key(prepared: PreparedRow) -> str:
    return prepared.key


def _param(name: str) -> Callable[[PreparedRow], Any]:
    return lambda prepared: prepared.params.get(name, UNSET)


_PARAMS: Final[dict[str, Any]] = {
    name: _param(name) for name in (*MEMBERS, "extra") if name != "model"
}
"""The keywords of the submit; each row has some of them."""
