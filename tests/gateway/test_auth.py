"""API keys: authentication, owners and credits (contract §1)."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from foxapi_async.errors import ConfigError
from foxapi_async.gateway import Gateway
from foxapi_async.gateway.api_errors import APIError
from foxapi_async.gateway.auth import ANONYMOUS, APIKeys

if TYPE_CHECKING:
    from tests.gateway.conftest import Serve

SUBMIT = "/v1/llm/generations"
MODELS = "/v1/configs/llm_generations_models"
HELLO: dict[str, Any] = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hello"}]}


async def test_a_key_cannot_see_the_tasks_of_another_key(serve: "Serve") -> None:
    """A task and its stream are 404 for another key, like an unknown task."""
    service = await serve(api_keys=["sk-one", "sk-two"])
    task = (await service.post("sk-one", **HELLO, stream=True)).json
    for path in (f"/v1/tasks/{task['id']}", f"{SUBMIT}/{task['id']}/stream"):
        assert (await service.call("GET", path, key="sk-one")).status == 200
        reply = await service.call("GET", path, key="sk-two")
        assert (reply.status, reply.json["error"]["type"]) == (404, "not_found")


async def test_without_keys_all_tokens_share_the_tasks(serve: "Serve") -> None:
    """Without configured keys, every token sees every task."""
    service = await serve()
    task = (await service.post("sk-one", **HELLO)).json
    assert (await service.call("GET", f"/v1/tasks/{task['id']}", key="sk-two")).status == 200


async def test_credits_are_spent(serve: "Serve") -> None:
    """Each accepted generation costs its price, and too few credits are a 402."""
    service = await serve(api_keys={"sk-poor": 5, "sk-rich": None}, price=2)
    statuses = [(await service.post("sk-poor", **HELLO)).status for _ in range(3)]
    assert statuses == [200, 200, 402]
    reply = await service.post("sk-poor", **HELLO)
    assert reply.json["error"]["type"] == "insufficient_quota"
    assert "1 credits are left" in reply.json["error"]["message"]
    assert (await service.post("sk-poor", model="gpt-5.5")).status == 422
    assert (await service.post("sk-rich", **HELLO)).status == 200
    assert service.gateway.stats.tasks == 3


async def test_only_a_created_task_is_charged(serve: "Serve") -> None:
    """Refused requests, queries and streams cost no credits."""
    service = await serve(api_keys={"sk-poor": 1})
    for _ in range(3):
        assert (await service.post("sk-poor", model="gpt-5.5", messages=[])).status == 422
    task = (await service.post("sk-poor", **HELLO, stream=True)).json
    for _ in range(3):
        reply = await service.call("GET", f"{SUBMIT}/{task['id']}/stream", key="sk-poor")
        assert reply.status == 200


async def test_concurrent_submits_do_not_overdraw(serve: "Serve") -> None:
    """Concurrent submits spend no more than the credits of the key."""
    service = await serve(api_keys={"sk-poor": 7})
    replies = await asyncio.gather(*(service.post("sk-poor", **HELLO) for _ in range(20)))
    assert sorted(reply.status for reply in replies) == [200] * 7 + [402] * 13


def test_an_owner_does_not_reveal_its_key() -> None:
    """The owner that stores use for a key does not contain the key, and is unique to it."""
    keys = APIKeys({"sk-one": None, "sk-two": None})
    one, two = keys.authenticate("Bearer sk-one"), keys.authenticate("Bearer sk-two")
    assert one != two
    assert "sk-one" not in one
    assert APIKeys({}).authenticate("Bearer whatever") == ANONYMOUS
    with pytest.raises(APIError):
        keys.authenticate("Bearer sk-three")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "gateway.example"])
def test_other_machines_need_a_key(host: str) -> None:
    """A gateway that other machines can reach needs keys."""
    with pytest.raises(ConfigError, match="api_keys"):
        Gateway(host)
    assert Gateway(host, api_keys=["sk-one"]).host == host
