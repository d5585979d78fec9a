"""Laws of ``fox.llm.map``: every row has one outcome, and no row is paid twice."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from foxapi_async import Budget, ConfigError, FoxSession, PollPolicy, RowOutcome, RowProgress
from foxapi_async._protocol.concurrency import AdaptiveConcurrency
from foxapi_async.errors import (
    AuthenticationError,
    BudgetExceededError,
    RequestValidationError,
    SubmitOutcomeUnknownError,
    TaskFailedError,
)
from foxapi_async.gateway import Gateway
from foxapi_async.testing import CannedResponse, FaultProxy, settle

MODEL = "gpt-5.5"


def count_to(row: int) -> str:
    """Return a prompt whose answer is known."""
    return f"count 1 to {row + 1}"


def numbers(row: int) -> str:
    """Return the answer to ``count_to``."""
    return ", ".join(str(number) for number in range(1, row + 2))


async def outcomes(fox: FoxSession, rows: Any, **options: Any) -> list[RowOutcome[Any]]:
    """Return the outcomes of a map over ``rows``."""
    options = {"model": MODEL, "messages": count_to, **options}
    return [outcome async for outcome in fox.llm.map(rows, **options)]


async def rows_of(count: int) -> AsyncIterator[int]:
    """Yield rows from an asynchronous source."""
    for row in range(count):
        await asyncio.sleep(0)
        yield row


async def test_each_row_has_one_outcome(fox: FoxSession) -> None:
    """The outcome of a row has the row, its position, its key and its completion."""
    found = await outcomes(fox, range(40), key=str, in_flight=8)
    assert sorted(outcome.index for outcome in found) == list(range(40))
    for outcome in found:
        assert outcome.error is None
        assert outcome.completion is not None
        assert outcome.completion.text == numbers(outcome.input)
        assert (outcome.input, outcome.key, outcome.attempts) == (
            outcome.index,
            str(outcome.input),
            1,
        )
        assert outcome.handle is not None
        assert outcome.handle.done()
    assert fox.stats().tasks == 40


@pytest.mark.parametrize("in_flight", [1, 3, 100, "auto"])
async def test_ordered_outcomes_come_in_the_order_of_the_rows(
    fox: FoxSession, in_flight: Any
) -> None:
    """Long answers hold back short ones behind them."""
    found = await outcomes(
        fox, range(30), messages=lambda row: count_to(30 - row), ordered=True, in_flight=in_flight
    )
    assert [outcome.input for outcome in found] == list(range(30))


async def test_rows_may_come_from_an_asynchronous_source(fox: FoxSession) -> None:
    """An async iterable is read one row at a time."""
    found = await outcomes(fox, rows_of(20), in_flight=5)
    assert {outcome.input for outcome in found} == set(range(20))


async def test_no_rows_are_no_outcomes(fox: FoxSession) -> None:
    """An empty source ends the iteration, which stays at its end."""
    rows: list[int] = []
    mapped = fox.llm.map(rows, model=MODEL, messages=count_to)
    for _ in range(2):
        with pytest.raises(StopAsyncIteration):
            await anext(mapped)


async def test_any_keyword_may_be_a_function_of_the_row(fox: FoxSession, gateway: Gateway) -> None:
    """Functions and values are distinguished; ``UNSET`` leaves a keyword out."""
    await outcomes(
        fox,
        [1, 2],
        messages=partial("{1} {0}".format, "words"),
        max_tokens=lambda row: 20 * row if row == 2 else UNSET,
        temperature=0.5,
        ordered=True,
        in_flight=1,
    )
    first, second = gateway.requests
    assert first["messages"][0]["content"] == "1 words"
    assert "max_tokens" not in first
    assert second["max_tokens"] == 40
    assert first["temperature"] == second["temperature"] == 0.5


async def test_the_source_is_read_as_outcomes_are_taken(fox: FoxSession) -> None:
    """Rows that are read and not taken are never more than ``in_flight``."""
    read = 0

    def rows() -> Iterator[int]:
        nonlocal read
        for row in range(50):
            read += 1
            yield row

    taken = 0
    async for _ in fox.llm.map(rows(), model=MODEL, messages=count_to, in_flight=4):
        for _ in range(20):
            await settle()
        assert read - taken <= 4 + 1
        taken += 1
    assert taken == read == 50


async def test_the_error_of_a_row_is_its_outcome(fox: FoxSession, gateway: Gateway) -> None:
    """Rows that are invalid, whose function raises or whose task fails do not end the map."""
    gateway.replies.add({"prompt": "fail", "error": "content_policy_violation"}, "fine")

    def prompt(row: str) -> str:
        if row == "raise":
            raise ZeroDivisionError
        return row

    found = await outcomes(
        fox, ["fail", "raise", "", "good"], messages=prompt, ordered=True, in_flight=1
    )
    kinds = [type(outcome.error) for outcome in found]
    assert kinds == [TaskFailedError, ZeroDivisionError, RequestValidationError, type(None)]
    assert [outcome.attempts for outcome in found] == [1, 0, 0, 1]
    assert fox.stats().tasks == 2


@pytest.mark.filterwarnings("ignore:task .* was accepted:RuntimeWarning")
async def test_raise_errors_raises_the_error_of_a_row(fox: FoxSession) -> None:
    """The note of the error names the row, and no further row is read."""
    read: list[str] = []

    def rows() -> Iterator[str]:
        for row in ["good", "", "never read"]:
            read.append(row)
            yield row

    mapped = fox.llm.map(
        rows(), model=MODEL, messages=lambda row: row, raise_errors=True, in_flight=1
    )
    await anext(mapped)
    with pytest.raises(RequestValidationError) as caught:
        await anext(mapped)
    assert any("row 1" in note for note in caught.value.__notes__)
    assert read == ["good", ""]
    await mapped.aclose()


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_row_that_failed_before_a_budget_ended_has_an_outcome(
    fox: FoxSession, gateway: Gateway, ordered: bool
) -> None:
    """Its error is that of the task which was billed; then the map ends."""
    gateway.replies.add({"error": "service_unavailable", "times": 99})
    found: list[RowOutcome[int]] = []
    with pytest.raises(BudgetExceededError):
        async for outcome in fox.llm.map(
            range(9),
            model=MODEL,
            messages=count_to,
            attempts=5,
            in_flight=3,
            ordered=ordered,
            budget=Budget(tasks=7),
        ):
            found.append(outcome)  # noqa: PERF401 it raises in the end
    assert [type(outcome.error) for outcome in found] == [TaskFailedError] * 3
    assert sum(outcome.attempts for outcome in found) == fox.stats().tasks == 7


@pytest.mark.parametrize("attempts", [1, 2, 3])
@pytest.mark.parametrize("key", [None, str])
async def test_a_failed_task_is_submitted_again_within_its_attempts(
    fox: FoxSession, gateway: Gateway, attempts: int, key: Any
) -> None:
    """Each attempt is one POST; a row that uses them up has the last error."""
    gateway.replies.add({"error": "service_unavailable", "times": 2}, "at last")
    (found,) = await outcomes(fox, [0], attempts=attempts, key=key)
    assert found.attempts == attempts
    assert fox.stats().tasks == attempts
    assert (found.completion is not None) == (attempts == 3)


@pytest.mark.parametrize("has_journal", [False, True])
@pytest.mark.parametrize("failures", [0, 1, 2, 3, 5])
async def test_rows_with_one_key_share_their_attempts(
    gateway: Gateway, fast_polling: PollPolicy, tmp_path: Path, has_journal: bool, failures: int
) -> None:
    """A row that meets the failed attempt of another one goes on with the next attempt."""
    if failures:
        gateway.replies.add({"error": "service_unavailable", "times": failures}, "at last")
    async with FoxSession(
        "the-key-of-the-run",
        base_url=gateway.url,
        polling=fast_polling,
        journal=tmp_path / "rows.db" if has_journal else None,
    ) as fox:
        found = await outcomes(fox, [3] * 7, attempts=3, key=str, in_flight=3)
        tasks = fox.stats().tasks
    assert tasks == sum(outcome.attempts for outcome in found) == min(failures + 1, 3)
    assert {outcome.completion is not None for outcome in found} == {failures < 3}
    assert {outcome.key for outcome in found} == {"3"}


async def test_a_second_run_goes_on_with_the_attempt_that_is_due(
    gateway: Gateway, fast_polling: PollPolicy, tmp_path: Path
) -> None:
    """It sends what is left of its attempts, ``retry_failed`` allows as many anew."""
    gateway.replies.add({"error": "service_unavailable", "times": 6}, "at last")

    async def run(**options: Any) -> tuple[int, bool]:
        async with FoxSession(
            "the-key-of-the-run",
            base_url=gateway.url,
            polling=fast_polling,
            journal=tmp_path / "rows.db",
        ) as fox:
            rows = await outcomes(fox, [0, 0], key=str, **options)
            (is_answered,) = {row.completion is not None for row in rows}
            return fox.stats().tasks, is_answered

    assert await run(attempts=1) == (1, False)
    assert await run(attempts=3) == (2, False)
    assert await run(attempts=3) == (0, False)
    assert await run(attempts=2, retry_failed=True) == (2, False)
    assert await run(attempts=1) == (0, False)
    assert await run(attempts=1, retry_failed=True) == (1, False)
    # Six have failed.
    assert await run(attempts=2, retry_failed=True) == (1, True)
    assert await run(attempts=2, retry_failed=True) == (0, True)
    assert await run(attempts=1) == (0, True)


async def test_a_key_that_leaves_no_room_for_its_attempts_sends_nothing(fox: FoxSession) -> None:
    """Its second attempt would have no key."""
    (found,) = await outcomes(fox, [0], key=lambda _: "k" * 511, attempts=2)
    assert isinstance(found.error, RequestValidationError)
    assert fox.stats().submits == 0


async def test_a_request_at_fault_is_not_submitted_again(fox: FoxSession, gateway: Gateway) -> None:
    """A code that names the request as the reason uses one attempt."""
    gateway.replies.add({"error": "content_policy_violation", "times": None})
    (found,) = await outcomes(fox, [0], attempts=5)
    assert found.attempts == 1
    assert isinstance(found.error, TaskFailedError)


async def test_rows_with_one_key_have_one_task(fox: FoxSession) -> None:
    """Equal rows are paid once, and each has the answer."""
    found = await outcomes(fox, [3] * 20, key=str, in_flight=20)
    assert {outcome.completion.text for outcome in found if outcome.completion} == {numbers(3)}
    assert sum(outcome.attempts for outcome in found) == 1
    assert fox.stats().tasks == 1


async def test_a_second_run_submits_only_what_is_missing(
    gateway: Gateway, fast_polling: PollPolicy, tmp_path: Path
) -> None:
    """With a journal and keys, rows of an earlier run are found and not submitted."""
    for rows, submitted in ((10, 10), (25, 15), (25, 0)):
        async with FoxSession(
            "key-of-the-run",
            base_url=gateway.url,
            polling=fast_polling,
            journal=tmp_path / "rows.db",
        ) as fox:
            found = await outcomes(fox, range(rows), key=str)
            assert len(found) == rows
            assert all(outcome.error is None for outcome in found)
            assert sum(outcome.attempts for outcome in found) == submitted
            assert fox.stats().tasks == submitted


async def test_an_error_of_the_source_comes_after_the_outcomes(fox: FoxSession) -> None:
    """What was submitted before the error is answered."""

    def rows() -> Iterator[int]:
        yield from range(5)
        raise OSError("the disk is gone")

    mapped = fox.llm.map(rows(), model=MODEL, messages=count_to)
    found = [await anext(mapped) for _ in range(5)]
    assert sorted(outcome.input for outcome in found) == list(range(5))
    assert all(outcome.error is None for outcome in found)
    with pytest.raises(OSError, match="the disk is gone"):
        await anext(mapped)


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_rejected_key_ends_the_map(ordered: bool) -> None:
    """The rows behind it are not sent one by one to a service that refuses them all."""
    async with (
        Gateway(api_keys=["the-right-key-0123"]) as gateway,
        FoxSession("the-wrong-key-0123", base_url=gateway.url) as fox,
    ):
        with pytest.raises(AuthenticationError):
            await outcomes(fox, range(1000), in_flight=3, ordered=ordered)
        assert fox.stats().submits <= 6


@pytest.mark.filterwarnings("ignore:task .* was accepted:RuntimeWarning")
async def test_leaving_the_loop_leaves_the_accepted_tasks_in_unclaimed(
    session_on_scripted: FoxSession,
) -> None:
    """No row is read after the loop is left, and what is billed can be awaited."""
    fox = session_on_scripted
    mapped = fox.llm.map(range(100), model=MODEL, messages=count_to, in_flight=7)
    step = asyncio.ensure_future(anext(mapped))
    while fox.stats().tasks < 7:
        await asyncio.sleep(0)
    assert (fox.stats().rows_in_flight, fox.stats().rows_limit) == (7, 7)
    step.cancel()
    await asyncio.wait((step,))
    await mapped.aclose()
    assert (fox.stats().rows_in_flight, fox.stats().rows_limit) == (0, 0)
    await settle()
    assert fox.stats().tasks == len(fox.unclaimed) == 7
    assert fox.stats().waiting == 0


@pytest.mark.filterwarnings("ignore:task .* was accepted:RuntimeWarning")
async def test_a_loop_that_is_left_leaves_no_task_of_the_event_loop(fox: FoxSession) -> None:
    """``break`` ends the workers without ``aclose``."""
    before = asyncio.all_tasks()
    async for _ in fox.llm.map(range(100), model=MODEL, messages=count_to, in_flight=10):
        break
    while fox.stats().submits_in_flight:
        await asyncio.sleep(0)
    await settle()
    assert {task for task in asyncio.all_tasks() - before if "_work" in repr(task)} == set()


@pytest.mark.filterwarnings("ignore:task .* was accepted:RuntimeWarning")
async def test_the_first_step_needs_no_name_of_the_iterator(fox: FoxSession) -> None:
    """``await anext(fox.llm.map(...))`` is the first outcome, and ends the map."""
    first = await anext(fox.llm.map(range(100), model=MODEL, messages=count_to, in_flight=3))
    assert first.completion is not None
    while fox.stats().submits_in_flight:
        await asyncio.sleep(0)
    await settle()
    assert fox.stats().rows_in_flight == fox.stats().waiting == 0


async def test_progress_counts_the_outcomes(fox: FoxSession) -> None:
    """It is called once for each row, with the failed ones."""
    calls: list[RowProgress] = []
    await outcomes(fox, ["a", "", "b"], messages=lambda row: row, progress=calls.append)
    assert [call.done for call in calls] == [1, 2, 3]
    assert calls[-1].failed == 1
    assert calls[-1].in_flight == 0


async def test_an_error_of_progress_ends_the_map(fox: FoxSession) -> None:
    """It is raised after the outcomes of the rows in flight."""

    def broken(progress: RowProgress) -> None:
        raise ZeroDivisionError(progress.done)

    with pytest.raises(ZeroDivisionError):
        await outcomes(fox, range(3), progress=broken, in_flight=3)


@pytest.mark.filterwarnings("ignore:task .* was accepted:RuntimeWarning")
@pytest.mark.usefixtures("tqdm_is_ready")
@pytest.mark.parametrize("source", [list, iter])
async def test_progress_true_draws_a_bar(
    fox: FoxSession, capsys: pytest.CaptureFixture[str], source: Any
) -> None:
    """The bar counts the rows, of a known or an unknown number, and ends with the map."""
    await outcomes(fox, source([1, 2, 3]), progress=True)
    drawn = capsys.readouterr().err
    assert "3/3" in drawn if source is list else "3row" in drawn
    mapped = fox.llm.map(source(range(50)), model=MODEL, messages=count_to, progress=True)
    await anext(mapped)
    await mapped.aclose()
    assert capsys.readouterr().err.endswith("\n")


@pytest.mark.parametrize(
    ("unknown", "outcomes_of_rerun", "submitted"),
    [("error", 1, 0), ("skip", 0, 0), ("resubmit", 1, 1)],
)
async def test_unknown_says_what_a_second_run_does_with_lost_answers(
    fault_proxy: FaultProxy,
    fast_polling: PollPolicy,
    tmp_path: Path,
    unknown: Any,
    outcomes_of_rerun: int,
    submitted: int,
) -> None:
    """A row whose answer is lost is an error; the second run repeats it only if asked."""
    journal = tmp_path / "rows.db"
    fault_proxy.on("POST", "*", CannedResponse.http(504, b"<html>"))
    async with FoxSession("the-key-of-the-run", base_url=fault_proxy.url, journal=journal) as fox:
        (lost,) = await outcomes(fox, [0], key=str, unknown=unknown)
        assert isinstance(lost.error, SubmitOutcomeUnknownError)
        assert lost.attempts == 1
    async with FoxSession(
        "the-key-of-the-run", base_url=fault_proxy.url, journal=journal, polling=fast_polling
    ) as fox:
        fault_proxy.clear()
        found = await outcomes(fox, [0], key=str, unknown=unknown)
        assert len(found) == outcomes_of_rerun
        assert fox.stats().tasks == submitted
        assert all((row.error is None) == (unknown == "resubmit") for row in found)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"modle": "x"}, TypeError),
        ({"prompt": "a"}, TypeError),
        ({"stream": True, "nonsense": 1}, TypeError),
        ({"in_flight": 0}, ConfigError),
        ({"in_flight": "many"}, ConfigError),
        ({"attempts": 0}, ConfigError),
        ({"attempts": True}, ConfigError),
        ({"unknown": "ignore"}, ConfigError),
        ({"key": "id"}, ConfigError),
        ({"timeout": -1}, ConfigError),
        ({"progress": 3}, ConfigError),
        ({"progress": settle}, ConfigError),
    ],
)
async def test_a_wrong_setting_is_refused_at_the_call(
    fox: FoxSession, options: dict[str, Any], error: type[Exception]
) -> None:
    """No row is read, and nothing is sent."""
    with pytest.raises(error):
        fox.llm.map(range(3), **{"model": MODEL, "messages": count_to, **options})
    assert fox.stats().submits == 0


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ("rows.jsonl", "each character would be a row"),
        (b"rows", "each character would be a row"),
        (5, "got int: pass a list"),
        (None, "got NoneType: pass a list"),
        (rows_of, "got function: call it"),
    ],
)
async def test_what_is_no_source_is_refused_at_the_call(
    fox: FoxSession, rows: Any, why: str
) -> None:
    """A name of a file is not billed letter by letter."""
    with pytest.raises(TypeError, match=why):
        fox.llm.map(rows, model=MODEL, messages="a")


@pytest.mark.parametrize("where", ["messages", "key", "progress", "rows", "async rows"])
@pytest.mark.parametrize("ordered", [False, True])
async def test_a_cancellation_by_the_user_does_not_look_like_the_end_of_the_rows(
    fox: FoxSession, where: str, ordered: bool
) -> None:
    """A source that awaits a task that was cancelled raises it: rows are missing then."""

    def cancel(place: str, value: object = None) -> Any:
        if where == place and value != 0:
            raise asyncio.CancelledError
        return value

    def rows() -> Iterator[int]:
        for row in range(3):
            cancel("rows", row)
            yield row

    async def slow_rows() -> AsyncIterator[int]:
        for row in range(3):
            await asyncio.sleep(0)
            cancel("async rows", row)
            yield row

    with pytest.raises(asyncio.CancelledError):
        await outcomes(
            fox,
            slow_rows() if where.startswith("async") else rows(),
            messages=lambda row: count_to(cancel("messages", row)),
            key=lambda row: str(cancel("key", row)),
            progress=lambda seen: cancel("progress", seen.done),
            ordered=ordered,
        )


@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize("ordered", [False, True])
async def test_outcomes_that_were_not_taken_are_in_unclaimed(
    fox: FoxSession, ordered: bool, closes: bool
) -> None:
    """They are paid for, though their tasks have finished."""
    mapped = fox.llm.map(range(6), model=MODEL, messages=count_to, in_flight=6, ordered=ordered)
    first = await anext(mapped)
    while fox.stats().rows_in_flight:
        await asyncio.sleep(0.001)
    if closes:
        await mapped.aclose()
    del mapped
    answers = [await handle for handle in fox.unclaimed]
    assert first.completion is not None
    texts = sorted([first.completion.text, *(answer.text for answer in answers)], key=len)
    assert texts == [numbers(row) for row in range(6)]


def test_an_outcome_shows_no_row_and_no_answer() -> None:
    """Its ``repr`` may be logged."""
    outcome = RowOutcome(
        input="a secret row",
        index=3,
        key="a secret key",
        completion=None,
        error=ZeroDivisionError("a secret error"),
        handle=None,
        attempts=1,
        seconds=0.5,
    )
    assert repr(outcome) == "<RowOutcome 3 ZeroDivisionError attempts=1>"


# Adaptive concurrency


def play(capacity: int, results: int, seconds: float = 1.0) -> AdaptiveConcurrency:
    """Feed the results of a service that works on ``capacity`` rows at a time."""
    adaptive, now = AdaptiveConcurrency(), 0.0
    while results > 0:
        limit = adaptive.limit
        now += seconds / min(limit, capacity)
        adaptive.finished(now, seconds * max(1.0, limit / capacity), 0)
        results -= 1
    return adaptive


@settings(max_examples=25)
@given(capacity=st.integers(min_value=32, max_value=700))
def test_the_limit_finds_the_capacity_of_a_service(capacity: int) -> None:
    """The limit settles between half the capacity and little more than twice as much."""
    limit = play(capacity, 15_000).limit
    assert capacity / 2 - 32 <= limit <= 2.5 * capacity + 32


@given(limits=st.integers(min_value=1, max_value=12))
def test_each_429_halves_the_limit(limits: int) -> None:
    """The limit never falls below one."""
    adaptive = AdaptiveConcurrency()
    before = adaptive.limit
    for number in range(1, limits + 1):
        adaptive.finished(float(number), 1.0, number)
    assert adaptive.limit == max(before >> limits, 1)


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10), st.booleans())))
def test_the_limit_stays_within_its_bounds(steps: list[tuple[float, float, bool]]) -> None:
    """Any results, even such as take no time, leave a limit from 1 to 4,096."""
    adaptive, now, rate_limits = AdaptiveConcurrency(), 0.0, 0
    for elapsed, seconds, is_limited in steps:
        now += elapsed
        rate_limits += is_limited
        adaptive.finished(now, seconds, rate_limits)
        assert 1 <= adaptive.limit <= 4096
