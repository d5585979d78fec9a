"""Submits rows and yields their answers as they finish; only rows in flight are in memory."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from foxapi_async._batch.requests import PreparedRow
from foxapi_async._batch.state import UnknownPolicy
from foxapi_async.errors import FoxAPIError, SubmitOutcomeUnknownError
from foxapi_async.types import ChatCompletion

if TYPE_CHECKING:
    from foxapi_async import FoxSession, UnknownSubmission


class RowAnswer(Struct, frozen=True, kw_only=True, gc=False):
    """How a row ended."""

    row: PreparedRow
    """The row."""
    seconds: float
    """The seconds from its submit to its end."""
    completion: ChatCompletion | None = None
    """Its completion, or ``None``."""
    error: Exception | None = None
    """Why it has none; ``None`` too for a row that ``unknown="skip"`` leaves out."""


async def answer_rows(
    fox: "FoxSession",
    rows: AsyncIterator[PreparedRow],
    *,
    in_flight: int,
    unknown: UnknownPolicy,
    retry_failed: bool,
) -> AsyncGenerator[RowAnswer, None]:
    """Submit each row under its key and yield the answers in the order in which they finish.

    A row is taken when fewer than ``in_flight`` rows were taken and not yielded. If this generator
    is closed, no more rows are taken, and tasks under way go on at the service.

    Args:
        fox: The session, with a journal.
        rows: The rows; an error that it raises is raised when all answers were yielded.
        in_flight: The most rows in flight.
        unknown: What to do with a row whose outcome an earlier run left unknown: an error, nothing,
            or submit it again, which may bill it twice.
        retry_failed: Whether a row whose task failed in an earlier run is submitted again.
    """
    lost = await _unknown_by_key(fox) if unknown == "resubmit" else {}
    slots = asyncio.Semaphore(in_flight)
    ended: asyncio.Queue[RowAnswer | Exception | None] = asyncio.Queue()
    running: set[asyncio.Task[None]] = set()
    taken = yielded = 0

    begun = time.time()

    async def answer(row: PreparedRow) -> None:
        try:
            found = await _answer(fox, row, lost, retry_failed=retry_failed)
        except Exception as error:  # noqa: BLE001 raised by the reader
            ended.put_nowait(error)
            return
        if unknown == "skip" and _is_earlier(found.error, begun):
            found = RowAnswer(row=row, seconds=found.seconds)
        ended.put_nowait(found)

    async def feed() -> None:
        nonlocal taken
        try:
            async for row in rows:
                await slots.acquire()
                taken += 1
                task = asyncio.create_task(answer(row))
                running.add(task)
                task.add_done_callback(running.discard)
        finally:
            ended.put_nowait(None)

    feeder = asyncio.create_task(feed())
    try:
        while not (feeder.done() and yielded == taken):
            found = await ended.get()
            if found is None:
                await asyncio.wait([feeder])
                continue
            if isinstance(found, Exception):
                raise found
            yielded += 1
            yield found
            slots.release()
        await feeder
    finally:
        left = [feeder, *running]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _unknown_by_key(fox: "FoxSession") -> "dict[str, UnknownSubmission]":
    recovery = await fox.recover()
    return {lost.key: lost for lost in recovery.unknown if lost.key is not None}


def _is_earlier(error: Exception | None, begun: float) -> bool:
    return isinstance(error, SubmitOutcomeUnknownError) and error.sent_at < begun


async def _answer(
    fox: "FoxSession",
    row: PreparedRow,
    lost: "Mapping[str, UnknownSubmission]",
    *,
    retry_failed: bool,
) -> RowAnswer:
    started = time.monotonic()
    completion: ChatCompletion | None = None
    error: Exception | None = None
    try:
        if row.key in lost:
            completion = await (await fox.llm.resubmit(lost[row.key]))
        else:
            completion = await fox.llm.generate(
                key=row.key, retry_failed=retry_failed, **row.params
            )
    except (FoxAPIError, TypeError) as failure:
        # A TypeError names a keyword that the request cannot have.
        error = failure
    return RowAnswer(
        row=row, seconds=time.monotonic() - started, completion=completion, error=error
    )
