"""Laws of budgets: what would exceed one is not sent, and what is billed counts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from hypothesis import given
from hypothesis import strategies as st

from foxapi_async import Budget, ConfigError, FoxSession, PollPolicy
from foxapi_async._protocol.spent import Spent, TaskCost, find_exceeded
from foxapi_async.errors import (
    BudgetExceededError,
    FoxAPIError,
    SessionClosedError,
    SubmitOutcomeUnknownError,
    TaskFailedError,
)
from foxapi_async.gateway import Gateway
from foxapi_async.hooks import BudgetExceeded, BudgetNearlyUsed, Event
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


def without_credits(*methods: str) -> Any:
    """Answer requests of these methods as a service does that tells no credits in them."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if request.method not in methods or not isinstance(response, web.Response):
            return response
        assert isinstance(response.body, bytes)
        task = msgspec.json.decode(response.body)
        task.pop("usage", None)
        return web.json_response(task)

    return answer


@pytest.fixture
async def late_prices() -> AsyncIterator[Gateway]:
    """Run a gateway that tells what a task costs when it has ended."""
    gateway = Gateway(prices={"gpt-5.5": 2.0, "kimi-k2.6": 1.0}, queue_delay=0, token_delay=0)
    gateway.app.middlewares.append(without_credits("POST"))
    async with gateway:
        yield gateway


@pytest.mark.parametrize("is_durable", [False, True])
async def test_the_first_task_of_a_model_is_alone_until_it_ends(
    late_prices: Gateway, fast_polling: PollPolicy, tmp_path: Path, is_durable: bool
) -> None:
    """A budget of credits is kept although no response to a submit has them, without an await."""
    journal = tmp_path / "tasks.db" if is_durable else None
    async with session(
        late_prices.url, Budget(credits=7), polling=fast_polling, journal=journal
    ) as fox:
        results = await asyncio.gather(
            *(fox.llm.submit(**ASK) for _ in range(10)), return_exceptions=True
        )
        refused = [result for result in results if isinstance(result, BudgetExceededError)]
        assert len(refused) == 7
        assert late_prices.stats.tasks == 3
        assert fox.budget is not None
        assert fox.budget.credits == 6


async def test_a_session_that_is_closed_waits_for_no_price(fast_polling: PollPolicy) -> None:
    """The submissions behind the first one end with the session."""
    gateway = Gateway(queue_delay=3600)
    gateway.app.middlewares.append(without_credits("POST", "GET"))
    async with gateway:
        async with session(gateway.url, Budget(credits=7), polling=fast_polling) as fox:
            await fox.llm.submit(**ASK)
            waiting = [asyncio.create_task(fox.llm.submit(**ASK)) for _ in range(3)]
            # Another model does not wait.
            await fox.llm.submit(model="kimi-k2.6", messages="count 1 to 3")
            assert not any(task.done() for task in waiting)
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results] == [SessionClosedError] * 3
        assert gateway.stats.tasks == 2


async def test_a_cancelled_first_submission_makes_none_wait(
    late_prices: Gateway, fast_polling: PollPolicy
) -> None:
    """Cancelled before it is sent or while it waits, the next one takes its place."""
    async with session(late_prices.url, Budget(credits=7), polling=fast_polling) as fox:
        first, second, third = (asyncio.create_task(fox.llm.submit(**ASK)) for _ in range(3))
        first.cancel()
        await asyncio.sleep(0)
        second.cancel()
        with pytest.warns(RuntimeWarning, match="its handle is in fox.unclaimed"):
            assert (await (await third)).text == "1, 2, 3"
        for task in (first, second):
            with pytest.raises(asyncio.CancelledError):
                await task


async def test_a_model_without_credits_is_not_limited_by_them(fast_polling: PollPolicy) -> None:
    """Once a task of it is completed without them."""
    gateway = Gateway(queue_delay=0, token_delay=0)
    gateway.app.middlewares.append(without_credits("POST", "GET"))
    async with (
        gateway,
        session(gateway.url, Budget(credits=1), polling=fast_polling) as fox,
    ):
        await asyncio.gather(*(fox.llm.generate(**ASK) for _ in range(5)))
        assert fox.budget is not None
        assert (fox.budget.credits, fox.budget.tasks) == (0, 5)


async def test_a_submission_of_unknown_outcome_counts_at_the_price_that_is_known_later(
    fault_proxy: FaultProxy, fast_polling: PollPolicy
) -> None:
    """It may be billed, although no price was known when it was sent."""
    task = b'{"id":"t-%d","object":"task","status":"pending","model":"gpt-5.5","usage":%s}'
    async with session(fault_proxy.url, Budget(credits=5), polling=fast_polling) as fox:
        fault_proxy.on("POST", "*", CannedResponse.http(504, b"<html>"))
        with pytest.raises(SubmitOutcomeUnknownError):
            await fox.llm.submit(**ASK)
        assert fox.budget is not None
        assert fox.budget.credits == 0
        fault_proxy.clear()
        fault_proxy.on("POST", "*", CannedResponse.http(200, task % (1, b'{"credits_reserved":2}')))
        await fox.llm.submit(**ASK)
        assert fox.budget.credits == 4
        with pytest.raises(BudgetExceededError):
            await fox.llm.submit(**ASK)


async def test_a_budget_says_once_that_it_ends(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    """Each of the two events comes once, with one warning in the log."""
    events: list[Event] = []
    async with session(gateway.url, Budget(tasks=5), hooks=[events.append]) as fox:
        for number in range(8):
            with suppress(BudgetExceededError):
                await fox.llm.submit(**ASK)
            said = [event for event in events if isinstance(event, BudgetNearlyUsed)]
            assert len(said) == (number >= 3)
    assert [event for event in events if type(event).__name__.startswith("Budget")] == [
        BudgetNearlyUsed(unit="tasks", limit=5, used=4),
        BudgetExceeded(unit="tasks", limit=5, used=5, needed=1),
    ]
    warnings = [it.message for it in caplog.records if it.levelname == "WARNING"]
    assert len(warnings) == 2
    assert "4 of the 5 tasks" in warnings[0]
    assert "used up" in warnings[1]


MODELS = st.sampled_from(["gpt-5.5", "kimi-k2.6"])
USED = st.one_of(st.none(), st.floats(min_value=0, max_value=5))
COUNTS = st.integers(min_value=0, max_value=50)
CHANGES = st.one_of(
    st.none(),
    st.tuples(st.just("accepted"), USED),
    st.tuples(st.just("opened")),
    st.tuples(st.just("ended"), USED, COUNTS, COUNTS, st.booleans()),
)


def changed(cost: TaskCost, change: tuple[Any, ...] | None) -> TaskCost | None:
    """Return the cost after a change; ``None`` after its release."""
    match change:
        case ("accepted", credits_):
            return cost.accepted(credits_)
        case ("opened",):
            return cost.opened()
        case ("ended", credits_, prompt, answer, is_completed):
            return cost.ended(
                credits_=credits_,
                prompt_tokens=prompt,
                answer_tokens=answer,
                is_completed=is_completed,
            )
        case _:
            return None


@given(st.lists(st.tuples(MODELS, COUNTS, CHANGES), max_size=60))
def test_what_is_counted_is_the_sum_of_the_costs(steps: list[tuple[str, int, Any]]) -> None:
    """Whatever becomes of submissions, one is admitted only if it fits, and sums never drift."""
    limit, spent = Budget(credits=20, tokens=200, tasks=15), Spent()
    costs: list[tuple[str, TaskCost]] = []
    for model, tokens, change in steps:
        needed = spent.needed(model, tokens)
        if find_exceeded([limit], spent.total(), needed) is not None:
            continue
        cost = TaskCost(tokens=tokens)
        spent.change(model, None, cost)
        total = spent.total()
        assert total.credits <= 20 + 1e-6
        assert total.tokens <= 200
        assert total.tasks <= 15
        after = changed(cost, change)
        if after is not None and (after.credits or 0) > needed.credits:
            # More than was expected may exceed the budget.
            after = None
        if after is not None and after.tokens > tokens:
            after = None
        spent.change(model, cost, after)
        if after is not None:
            costs.append((model, after))
        if change is not None and spent.price(model) is None:
            # Gives the model a price, as the first task of it does.
            spent.change(model, None, first := TaskCost(tokens=0, credits=0.5))
            costs.append((model, first))
    again = Spent()
    for model, cost in costs:
        again.change(model, None, cost)
    assert spent.total() == pytest.approx(again.total())
    for model, cost in costs:
        spent.change(model, cost, None)
    assert spent.total() == (0, 0, 0)


def test_a_submission_without_a_price_counts_as_the_mean_of_its_model() -> None:
    """Also if the price is known only later, and of the models with a price alone."""
    spent = Spent()
    spent.change("a", None, TaskCost(tokens=1))
    assert spent.total() == (0, 1, 1)
    assert spent.price("a") is None
    spent.change("a", None, TaskCost(tokens=1, credits=2.0))
    spent.change("a", None, TaskCost(tokens=1, credits=4.0))
    spent.change("b", None, TaskCost(tokens=1))
    assert spent.total() == (9, 4, 4)
    silent = TaskCost(tokens=1).ended(
        credits_=None, prompt_tokens=1, answer_tokens=1, is_completed=True
    )
    spent.change("b", None, silent)
    assert spent.price("b") == 0


@pytest.mark.parametrize("credits_", [-1e300, 1e300])
def test_credits_are_bounded(credits_: float) -> None:
    """Negative ones count as not said, and no sum overflows."""
    cost = TaskCost(tokens=0).accepted(credits_)
    assert cost.credits in {None, 1e12}
