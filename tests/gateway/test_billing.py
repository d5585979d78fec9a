"""Prices of models, what tasks reserve and cost, and the pages that show it."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from foxapi_async._clock import ManualClock
from foxapi_async.errors import ConfigError
from foxapi_async.gateway import TokenPrice, make_app
from foxapi_async.gateway.prices import show_credits

if TYPE_CHECKING:
    from tests.gateway.conftest import Serve, Service

PROMPT = "count 1 to 3"
HELLO: dict[str, Any] = {"model": "gpt-5.5", "messages": [{"role": "user", "content": PROMPT}]}
# The prompt has four words and its answer three.
BY_TOKENS = TokenPrice(prompt=1, completion=10)


async def balance(service: "Service", key: str) -> tuple[float, float]:
    """Return the limit of a key and what it has spent."""
    limit = await service.call("GET", "/dashboard/billing/subscription", key=key)
    used = await service.call("GET", "/dashboard/billing/usage", key=key)
    return limit.json["hard_limit_usd"], round(used.json["total_usage"] / 100, 9)


async def test_sums_of_fractions_are_shown_without_noise(
    serve: "Serve", store_settings: dict[str, Any]
) -> None:
    """Amounts are shown to a billionth in every place, and in messages without an exponent."""
    prices = {"gpt-5.4": TokenPrice(prompt=0.1, completion=0.7), "kimi-k2.6": 0.0000001}
    service = await serve(
        api_keys={"sk-poor": 0.3 + 0.6 + 3000000}, price=0.1, prices=prices, **store_settings
    )
    for _ in range(3):
        assert (await service.post("sk-poor", **HELLO)).status == 200
    used = await service.call("GET", "/dashboard/billing/usage", key="sk-poor")
    assert used.body == b'{"total_usage":30.0}'
    task = (await service.post("sk-poor", **HELLO | {"model": "gpt-5.4", "max_tokens": 17})).json
    assert task["usage"]["credits_reserved"] == 0.0123
    listed = (await service.call("GET", "/api/pricing", key=None)).json["data"]
    assert [item["completion_ratio"] for item in listed if item["quota_type"] == 0] == [7.0]
    assert show_credits(0.1 + 0.2) == "0.3"
    assert show_credits(1234567.8) == "1234567.8"
    assert show_credits(1e-7) == "0.0000001"
    assert show_credits(3_000_000) == "3000000"


async def test_a_refusal_says_what_is_left_and_what_it_costs(serve: "Serve") -> None:
    """Both amounts of a 402 have no noise of sums and no exponent."""
    service = await serve(api_keys={"sk-poor": 1.0}, price=0.3, prices={"gpt-5.4": 1234567.5})
    for _ in range(3):
        assert (await service.post("sk-poor", **HELLO)).status == 200
    for members, cost in ((HELLO, "0.3"), (HELLO | {"model": "gpt-5.4"}, "1234567.5")):
        message = (await service.post("sk-poor", **members)).json["error"]["message"]
        assert message.endswith(f"0.1 credits are left, and this generation costs {cost}")


@pytest.fixture(params=["memory", "file"])
def store_settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Return the settings of each kind of store."""
    return {} if request.param == "memory" else {"data": tmp_path / "fox.db"}


async def test_each_model_has_its_price(serve: "Serve") -> None:
    """A task reserves the price of its model, or the price of all models."""
    service = await serve(price=0.5, prices={"kimi-k2.6": 3})
    for model, price in (("gpt-5.5", 0.5), ("kimi-k2.6", 3)):
        task = await service.submit(model=model)
        assert task["usage"] == {"credits_reserved": price}
        assert (await service.finished(task["id"]))["usage"] == task["usage"]


async def test_a_key_is_charged_by_the_price_of_each_model(serve: "Serve") -> None:
    """A key with too few credits for one model may still use a cheaper one."""
    service = await serve(api_keys={"sk-poor": 4}, prices={"kimi-k2.6": 3})
    assert (await service.post("sk-poor", **HELLO | {"model": "kimi-k2.6"})).status == 200
    reply = await service.post("sk-poor", **HELLO | {"model": "kimi-k2.6"})
    assert (reply.status, "1 credits are left" in reply.json["error"]["message"]) == (402, True)
    assert "costs 3" in reply.json["error"]["message"]
    assert (await service.post("sk-poor", **HELLO)).status == 200
    assert (await service.post("sk-poor", **HELLO)).status == 402
    assert await balance(service, "sk-poor") == (4, 4)


async def test_a_sum_of_fractions_reaches_its_limit(serve: "Serve") -> None:
    """Three tasks of 0.1 credits fit into 0.3 credits, although 0.1 is no exact number."""
    service = await serve(api_keys={"sk-poor": 0.3}, price=0.1)
    statuses = [(await service.post("sk-poor", **HELLO)).status for _ in range(4)]
    assert statuses == [200, 200, 200, 402]


async def test_a_price_by_tokens_is_reserved_and_settled(
    serve: "Serve", store_settings: dict[str, Any]
) -> None:
    """The reservation assumes the longest answer; the end gives back what was not used."""
    service = await serve(api_keys={"sk-poor": 1}, price=BY_TOKENS, **store_settings)
    reply = await service.post("sk-poor", **HELLO)
    assert reply.status == 402
    assert "costs 10.004" in reply.json["error"]["message"]
    for spent in (0.034, 0.068):
        reply = await service.post("sk-poor", **HELLO, max_tokens=50)
        assert reply.json["usage"] == {"credits_reserved": 0.504}
        task_id = reply.json["id"]
        while True:
            task = (await service.call("GET", f"/v1/tasks/{task_id}", key="sk-poor")).json
            if task["status"] == "completed":
                break
        assert task["usage"] == {"credits_reserved": 0.504, "credits_consumed": 0.034}
        assert await balance(service, "sk-poor") == (1, spent)
    # The credits that were given back buy more tasks than two reservations of 0.504.
    reply = await service.post("sk-poor", **HELLO, max_tokens=90)
    assert reply.status == 200


async def test_a_reservation_holds_while_its_task_runs(serve: "Serve") -> None:
    """Running tasks with a price by tokens cannot overdraw the key together."""
    service = await serve(api_keys={"sk-poor": 1.5}, price=BY_TOKENS, queue_delay=3600)
    replies = await asyncio.gather(
        *(service.post("sk-poor", **HELLO, max_tokens=50) for _ in range(5))
    )
    assert sorted(reply.status for reply in replies) == [200, 200, 402, 402, 402]


async def test_a_failed_task_costs_its_price_but_no_tokens(
    serve: "Serve", store_settings: dict[str, Any]
) -> None:
    """A price by call is charged for each accepted task, a price by tokens for a result."""
    prices = {"gpt-5.4": BY_TOKENS}
    service = await serve(prices=prices, **store_settings)
    prompt = "[[fail:timeout:2]]"
    by_call = await service.finished((await service.submit(prompt))["id"])
    by_tokens = await service.finished((await service.submit(prompt, model="gpt-5.4"))["id"])
    assert by_call["usage"] == {"credits_reserved": 1.0}
    assert by_tokens["usage"]["credits_consumed"] == 0
    assert await balance(service, "sk-any") == (100_000_000, 1)


async def test_each_choice_is_reserved(serve: "Serve") -> None:
    """The reservation counts ``max_tokens`` for each of ``n`` choices, and bounds huge numbers."""
    service = await serve(price=BY_TOKENS)
    task = await service.submit(PROMPT, max_tokens=100, n=3)
    assert task["usage"]["credits_reserved"] == 3.004
    task = await service.submit(PROMPT, max_completion_tokens=2**62)
    assert task["usage"]["credits_reserved"] == 10_000_000_000.004


async def test_costs_outlive_a_restart(serve: "Serve", tmp_path: Path) -> None:
    """Charged and settled credits of running, ended and expired tasks are there after a restart."""
    data = tmp_path / "fox.db"
    options: dict[str, Any] = {
        "data": data,
        "api_keys": {"sk-poor": 5},
        "prices": {"gpt-5.4": BY_TOKENS, "kimi-k2.6": 0.25},
        "task_retention": 0,
    }
    first = await serve(**options)
    for model in ("gpt-5.4", "kimi-k2.6"):
        reply = await first.post("sk-poor", **HELLO | {"model": model}, max_tokens=50)
        assert reply.status == 200
    while first.gateway.stats.completed < 2:
        await asyncio.sleep(0)
    assert await balance(first, "sk-poor") == (5, 0.284)
    await first.gateway.__aexit__(None, None, None)
    second = await serve(**options, queue_delay=3600)
    assert await balance(second, "sk-poor") == (5, 0.284)
    reply = await second.post("sk-poor", **HELLO | {"model": "gpt-5.4"}, max_tokens=50)
    assert reply.json["usage"] == {"credits_reserved": 0.504}
    assert await balance(second, "sk-poor") == (5, 0.788)
    await second.gateway.__aexit__(None, None, None)
    third = await serve(**options)
    while not third.gateway.stats.completed:
        await asyncio.sleep(0)
    assert await balance(third, "sk-poor") == (5, 0.318)


async def test_the_pages_of_a_limited_key(serve: "Serve") -> None:
    """One credit is one USD, and 500,000 quota units."""
    service = await serve(api_keys={"sk-poor": 4, "sk-rich": None}, price=1.5)
    assert (await service.post("sk-poor", **HELLO)).status == 200
    reply = await service.call("GET", "/dashboard/billing/subscription", key="sk-poor")
    assert reply.json == {"hard_limit_usd": 4.0, "soft_limit_usd": 4.0, "access_until": 0}
    reply = await service.call("GET", "/dashboard/billing/usage", key="sk-poor")
    assert reply.json == {"total_usage": 150.0}
    reply = await service.call("GET", "/api/usage/token/", key="sk-poor")
    assert reply.json["data"] == {
        "name": "default",
        "total_granted": 2_000_000,
        "total_used": 750_000,
        "total_available": 1_250_000,
        "unlimited_quota": False,
        "expires_at": 0,
    }
    reply = await service.call("GET", "/api/usage/token/", key="sk-rich")
    assert (reply.json["data"]["total_used"], reply.json["data"]["unlimited_quota"]) == (0, True)
    assert await balance(service, "sk-rich") == (100_000_000, 0)


async def test_the_log_of_a_key_has_its_tasks(
    serve: "Serve", store_settings: dict[str, Any]
) -> None:
    """The log has what each task of the key cost, the newest first, and no task of another key."""
    clock = ManualClock(unix=1_000_000)
    settings: dict[str, Any] = {
        "api_keys": {"sk-own": 5, "sk-other": None},
        "price": 0.25,
        "prices": {"gpt-5.4": BY_TOKENS},
        "queue_delay": 0,
        "token_delay": 0,
        "task_retention": 60,
        "clock": clock,
        **store_settings,
    }
    service = await serve(**settings)

    async def log(key: str | None) -> Any:
        return await service.call("GET", "/api/log/token", key=key)

    assert (await log("sk-own")).json == {"data": []}
    for key, model in (("sk-own", "gpt-5.4"), ("sk-other", "gpt-5.5"), ("sk-own", "kimi-k2.6")):
        assert (await service.post(key, **HELLO | {"model": model, "max_tokens": 50})).status == 200
        await clock.advance(1)
    while service.gateway.stats.completed < 3:
        await clock.advance(0)
    rows = (await log("sk-own")).json["data"]
    shown = {"group": "default"}
    assert rows == [
        {"id": rows[0]["id"], "created_at": 1_000_002, "model_name": "kimi-k2.6", "quota": 125_000}
        | shown,
        {"id": rows[1]["id"], "created_at": 1_000_000, "model_name": "gpt-5.4", "quota": 17_000}
        | shown,
    ]
    assert rows[0]["id"] > rows[1]["id"]
    assert [row["model_name"] for row in (await log("sk-other")).json["data"]] == ["gpt-5.5"]
    assert (await log("sk-unknown")).status == 401
    if store_settings:
        await service.gateway.__aexit__(None, None, None)
        service = await serve(**settings)
        assert (await log("sk-own")).json["data"] == rows
    await clock.advance(61)
    assert (await log("sk-own")).json == {"data": []}


async def test_the_log_is_bounded(serve: "Serve", store_settings: dict[str, Any]) -> None:
    """The log has the newest hundred tasks, running ones with what they reserve."""
    service = await serve(queue_delay=3600, **store_settings)
    for _ in range(101):
        assert (await service.post(**HELLO)).status == 200
    rows = (await service.call("GET", "/api/log/token")).json["data"]
    assert len(rows) == 100
    assert len({row["id"] for row in rows}) == 100
    assert {row["quota"] for row in rows} == {500_000}


async def test_the_log_leaves_damaged_tasks_out(serve: "Serve", tmp_path: Path) -> None:
    """A task whose row cannot be read is missing in the log; the others are there."""
    data = tmp_path / "fox.db"
    first = await serve(data=data)
    for model in ("gpt-5.5", "gpt-5.4", "kimi-k2.6"):
        await first.finished((await first.submit(model=model))["id"])
    await first.gateway.__aexit__(None, None, None)

    def damage() -> None:
        with closing(sqlite3.connect(data)) as connection, connection:
            connection.execute("UPDATE task SET answer = CAST('{\"id\":' AS BLOB) WHERE key = 1")
            connection.execute("UPDATE task SET answer = 5 WHERE key = 2")

    await asyncio.to_thread(damage)
    second = await serve(data=data)
    rows = (await second.call("GET", "/api/log/token")).json["data"]
    assert [row["model_name"] for row in rows] == ["kimi-k2.6"]


async def test_prices_are_listed_by_call_and_by_tokens(serve: "Serve") -> None:
    """``/api/pricing`` has all models; a ratio of 1 is 0.002 credits for 1,000 tokens."""
    service = await serve(
        price=0.5, prices={"own": TokenPrice(prompt=0.01, completion=0.04)}, models=["own"]
    )
    reply = await service.call("GET", "/api/pricing", key=None)
    listed = {item["model_name"]: item for item in reply.json["data"]}
    models = (await service.call("GET", "/v1/models")).json["data"]
    assert [*listed] == [item["id"] for item in models]
    assert (listed["gpt-5.5"]["quota_type"], listed["gpt-5.5"]["model_price"]) == (1, 0.5)
    own = listed["own"]
    assert (own["quota_type"], own["model_ratio"], own["completion_ratio"]) == (0, 5.0, 4.0)
    assert reply.json["group_ratio"] == dict.fromkeys(own["enable_groups"], 1)


def test_a_price_needs_a_model_of_the_gateway() -> None:
    """A price of an unknown model is an error that names the models that there are."""
    with pytest.raises(ConfigError, match=r"'gpt-9' is no model of this gateway.*gpt-5\.5"):
        make_app(prices={"gpt-9": 2})
