"""Balance, usage and prices (contract §2, rows 17 to 19)."""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.gateway.conformance.conftest import Target

SUBSCRIPTION = "/dashboard/billing/subscription"
USAGE = "/dashboard/billing/usage"
TOKEN = "/api/usage/token/"
PRICING = "/api/pricing"


def is_number(value: Any) -> bool:
    """Tell whether a value is a JSON number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


async def read(target: "Target", path: str) -> Any:
    """Read one of the pages of numbers."""
    reply = await target.call("GET", path)
    assert reply.status == 200, reply
    return reply.json


@pytest.mark.parametrize("path", [SUBSCRIPTION, USAGE, TOKEN])
@pytest.mark.parametrize("key", [None, "", "sk-no-such-key-0123456789"])
async def test_a_balance_needs_its_key(target: "Target", path: str, key: str | None) -> None:
    """The balance is a 401 for a missing or unknown key."""
    reply = await target.call("GET", path, key=key)
    assert (reply.status, reply.error["type"]) == (401, "authentication_error")


async def test_the_limits_and_the_usage_are_numbers(target: "Target") -> None:
    """Limits, the end of access and the usage are numbers; the usage is not negative."""
    subscription = await read(target, SUBSCRIPTION)
    for name in ("hard_limit_usd", "soft_limit_usd", "access_until"):
        assert is_number(subscription[name])
    usage = await read(target, USAGE)
    assert is_number(usage["total_usage"])
    assert usage["total_usage"] >= 0


async def test_the_usage_of_a_key_is_counted_in_quota_units(target: "Target") -> None:
    """``/api/usage/token/`` has the name, the three sums, whether they are limited, and the end."""
    data = (await read(target, TOKEN))["data"]
    assert isinstance(data["name"], str)
    for name in ("total_granted", "total_used", "total_available", "expires_at"):
        assert isinstance(data[name], int)
    assert isinstance(data["unlimited_quota"], bool)


async def test_an_accepted_task_is_in_the_usage(target: "Target") -> None:
    """What a task reserves is a number, at submit and at each query, and the usage grows by it."""
    before = await read(target, USAGE)
    task = await target.submit()
    reserved = task["usage"]["credits_reserved"]
    assert is_number(reserved)
    for snapshot in await target.snapshots(task["id"]):
        assert snapshot["usage"]["credits_reserved"] == reserved
    after = await read(target, USAGE)
    assert after["total_usage"] >= before["total_usage"]
    assert reserved == 0 or after["total_usage"] > before["total_usage"]


@pytest.mark.parametrize("key", [None, "sk-no-such-key-0123456789"])
async def test_prices_need_no_key(target: "Target", key: str | None) -> None:
    """The prices are public: a price by tokens has two ratios, a price by call one number."""
    reply = await target.call("GET", PRICING, key=key)
    assert reply.status == 200
    groups = reply.json["group_ratio"]
    assert all(map(is_number, groups.values()))
    assert reply.json["data"]
    for item in reply.json["data"]:
        assert isinstance(item["model_name"], str)
        assert item["quota_type"] in {0, 1}
        for name in ("model_ratio", "model_price", "completion_ratio"):
            assert is_number(item[name])
        assert isinstance(item["enable_groups"], list)
        assert isinstance(item["supported_endpoint_types"], list)
