"""Laws of budgets: what would exceed one is not sent, and what is billed counts."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxapi_async import Budget, ConfigError, FoxSession, PollPolicy
from foxapi_async._client.budget_meter import BudgetMeter, Cost, Reservation
from foxapi_async.errors import (
    BudgetExceededError,
    FoxAPIError,
    SubmitOutcomeUnknownError,
    TaskFailedError,
)
from foxapi_async.gateway import Gateway
from foxapi_async.testing import CannedResponse, FaultProxy

KEY = "the-key-of-the-tests"
ASK: dict[str, Any] = {"model": "gpt-5.5", "messages": "count 1 to 3"}


def session(url: str, budget: Budget | None, **options: Any) -> FoxSession:
    """Return a session with a budget."""
    return FoxSession(KEY, base_url=url, budget=budget, **options)


async def test_a_budget_of_tasks_ends_the_submits(
    gateway: Gateway, fast_polling: PollPolicy
) -> None:
    """The submit that would exceed it raises before anything is sent."""
    async with session(gateway.url, Budget(tasks=3), polling=fast_polling) as fox:
        handles = [await fox.llm.submit(**ASK) for _ in range(3)]
        with pytest.raises(BudgetExceededError) as caught:
            await fox.llm.submit(**ASK)
        assert (caught.value.unit, caught.value.limit, caught.value.used) == ("tasks", 3, 3)
        assert [(await handle).text for handle in handles] == ["1, 2, 3"] * 3
        assert fox.budget is not None
        assert fox.budget.tasks == gateway.stats.tasks == 3


async def test_a_budget_of_credits_counts_what_the_service_reserves(
    fast_polling: PollPolicy,
) -> None:
    """Parallel submits stay below it: the first one tells what a task costs."""
    async with (
        Gateway(prices={"gpt-5.5": 2.0}) as gateway,
        session(gateway.url, Budget(credits=7), polling=fast_polling) as fox,
    ):
        results = await asyncio.gather(
            *(fox.llm.generate(**ASK) for _ in range(10)), return_exceptions=True
        )
        refused = [result for result in results if isinstance(result, BudgetExceededError)]
        assert len(refused) == 7
        assert gateway.stats.tasks == 3
        assert fox.budget is not None
        assert fox.budget.credits == 6


async def test_negative_credits_make_no_room(fault_proxy: FaultProxy, tmp_path: Path) -> None:
    """A service that says them cannot free a budget that is used up, nor can the journal."""
    task = (
        b'{"id":"task-%s","object":"task","status":"pending","model":"gpt-5.5",'
        b'"usage":{"credits_reserved":%s}}'
    )
    fault_proxy.on("POST", "*", CannedResponse.http(200, task % (b"1", b"-1e300")))
    for expected in (1, 2):
        async with session(
            fault_proxy.url, Budget(credits=5, tasks=9), journal=tmp_path / "tasks.db"
        ) as fox:
            await fox.llm.submit(**ASK)
            assert fox.budget is not None
            assert fox.budget.tasks == expected
            fault_proxy.clear()
            fault_proxy.on("POST", "*", CannedResponse.http(200, task % (b"2", b"3")))
    with pytest.raises(BudgetExceededError):
        async with session(
            fault_proxy.url, Budget(credits=5), journal=tmp_path / "tasks.db"
        ) as fox:
            for _ in range(3):
                await fox.llm.submit(**ASK)


async def test_a_budget_of_tokens_counts_the_real_usage(
    gateway: Gateway, fast_polling: PollPolicy
) -> None:
    """Finished tasks count by their usage, and the next ones by that of the finished ones."""
    async with session(gateway.url, Budget(tokens=60), polling=fast_polling) as fox:
        used = 0
        with pytest.raises(BudgetExceededError) as caught:
            while True:
                completion = await fox.llm.generate(**ASK)
                assert completion.usage is not None
                used += completion.usage.total_tokens
                assert fox.budget is not None
                assert fox.budget.tokens == used <= 60
        assert caught.value.used == used
        assert caught.value.needed > 60 - used


async def test_a_task_that_is_not_accepted_does_not_count(
    fault_proxy: FaultProxy, fast_polling: PollPolicy
) -> None:
    """A refused submission, or an invalid one, gives its reservation back."""
    async with session(fault_proxy.url, Budget(tasks=1), polling=fast_polling) as fox:
        fault_proxy.on("POST", "*", CannedResponse.http(422, b'{"error":{"message":"no"}}'))
        with pytest.raises(FoxAPIError):
            await fox.llm.submit(**ASK)
        fault_proxy.clear()
        assert fox.budget is not None
        assert fox.budget.tasks == 0
        assert (await fox.llm.generate(**ASK)).text == "1, 2, 3"


async def test_a_submission_of_unknown_outcome_counts(fault_proxy: FaultProxy) -> None:
    """It may be billed."""
    async with session(fault_proxy.url, Budget(tasks=1)) as fox:
        fault_proxy.on("POST", "*", CannedResponse.http(504, b"<html>"))
        with pytest.raises(SubmitOutcomeUnknownError):
            await fox.llm.submit(**ASK)
        fault_proxy.clear()
        with pytest.raises(BudgetExceededError):
            await fox.llm.submit(**ASK)


async def test_a_key_that_is_known_costs_nothing(
    gateway: Gateway, fast_polling: PollPolicy
) -> None:
    """The same handle is returned under a budget that is used up."""
    async with session(gateway.url, Budget(tasks=1), polling=fast_polling) as fox:
        first = await fox.llm.submit(**ASK, key="one")
        again = await fox.llm.submit(**ASK, key="one")
        assert first is again


async def test_a_failed_task_counts(gateway: Gateway, fast_polling: PollPolicy) -> None:
    """The contract does not say that it is refunded."""
    gateway.replies.add({"error": "timeout"})
    async with session(gateway.url, Budget(tasks=1), polling=fast_polling) as fox:
        with pytest.raises(TaskFailedError):
            await fox.llm.generate(**ASK)
        with pytest.raises(BudgetExceededError):
            await fox.llm.generate(**ASK)


async def test_a_second_run_on_one_journal_does_not_begin_anew(
    fast_polling: PollPolicy, tmp_path: Path
) -> None:
    """The entries of the journal count before the first submit."""
    budget = Budget(credits=7, tasks=10, tokens=10_000)
    async with Gateway(prices={"gpt-5.5": 2.0}) as gateway:
        for tasks in (2, 1, 0):
            async with session(
                gateway.url, budget, polling=fast_polling, journal=tmp_path / "tasks.db"
            ) as fox:
                for _ in range(tasks):
                    await fox.llm.generate(**ASK)
                assert tasks == 0 or fox.budget is not None
        assert gateway.stats.tasks == 3
        async with session(
            gateway.url, budget, polling=fast_polling, journal=tmp_path / "tasks.db"
        ) as fox:
            with pytest.raises(BudgetExceededError) as caught:
                await fox.llm.submit(**ASK)
            assert (caught.value.unit, caught.value.used, caught.value.needed) == ("credits", 6, 2)
            assert fox.budget is not None
            assert fox.budget.tasks == 3
            assert fox.budget.tokens > 0


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_map_ends_at_its_budget(
    gateway: Gateway, fast_polling: PollPolicy, ordered: bool
) -> None:
    """Rows in flight are answered, then it is raised. The budget of the session counts too."""
    async with session(gateway.url, Budget(tasks=9), polling=fast_polling) as fox:
        for count, used in ((5, 5), (5, 9)):
            answered = 0
            mapped = fox.llm.map(
                range(1000), **ASK, in_flight=4, ordered=ordered, budget=Budget(tasks=count)
            )
            with pytest.raises(BudgetExceededError):
                while await anext(mapped):
                    answered += 1
            assert fox.budget is not None
            assert fox.budget.tasks == gateway.stats.tasks == used
        assert answered == 4


async def test_a_copy_shares_the_budget_or_has_its_own(gateway: Gateway) -> None:
    """``with_options`` without ``budget`` counts against the same one."""
    async with session(gateway.url, Budget(tasks=1)) as fox:
        await fox.with_options(validation="off").llm.submit(**ASK)
        with pytest.raises(BudgetExceededError):
            await fox.llm.submit(**ASK)
        free = fox.with_options(budget=None)
        assert free.budget is None
        await free.llm.submit(**ASK)


@pytest.mark.parametrize(
    "values",
    [{}, {"credits": -1}, {"tokens": 1.5}, {"tasks": True}, {"credits": float("nan")}],
)
def test_a_budget_that_limits_nothing_is_refused(values: dict[str, Any]) -> None:
    """A wrong value is a ``ConfigError`` that names the setting."""
    with pytest.raises(ConfigError, match="Budget"):
        Budget(**values)


@pytest.mark.parametrize("name", ["budget", "budgets"])
async def test_a_wrong_budget_is_refused(gateway: Gateway, name: str) -> None:
    """A number is no budget, and the inner name of the setting is no option."""
    async with FoxSession(KEY, base_url=gateway.url) as fox:
        with pytest.raises((ConfigError, TypeError)):
            fox.with_options(**{name: 5})


COSTS = st.builds(
    Cost,
    credits=st.floats(min_value=0, max_value=5),
    tokens=st.integers(min_value=0, max_value=50),
    tasks=st.just(1),
)


@given(st.lists(st.tuples(COSTS, COSTS, st.booleans()), max_size=60))
def test_reservations_never_exceed_a_budget(steps: list[tuple[Cost, Cost, bool]]) -> None:
    """Each admitted submission fits, and what is counted is the sum of its reservations."""
    meter = BudgetMeter(Budget(credits=20, tokens=200, tasks=15))
    counted: list[Cost] = []
    for expected, real, is_released in steps:
        try:
            reservation = Reservation("m", expected, (meter,))
        except BudgetExceededError:
            continue
        use = meter.use
        assert use.credits <= 20 + 1e-6
        assert use.tokens <= 200
        assert use.tasks <= 15
        if is_released:
            reservation.release()
        else:
            # The real cost is never more than was expected here, or the sum may exceed the budget.
            cost = Cost(min(real.credits, expected.credits), min(real.tokens, expected.tokens), 1)
            reservation.update(cost)
            counted.append(cost)
    assert meter.use.tasks == len(counted)
    assert meter.use.tokens == sum(cost.tokens for cost in counted)
    assert meter.use.credits == pytest.approx(sum(cost.credits for cost in counted), abs=1e-6)
