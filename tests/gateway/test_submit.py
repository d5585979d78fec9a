"""Submitting a generation (seed, contract §3.5)."""

import re
from typing import TYPE_CHECKING

from foxapi_async._clock import ManualClock
from foxapi_async._wire.request import GenerationRequest, Message
from foxapi_async.gateway.engine import Engine
from foxapi_async.gateway.models import make_models
from foxapi_async.gateway.settings import GatewaySettings
from foxapi_async.gateway.stats import GatewayStats
from foxapi_async.gateway.store import MemoryStore

if TYPE_CHECKING:
    from tests.gateway.conftest import Serve, Service

HELLO = [{"role": "user", "content": "hello"}]


async def test_a_submit_answers_the_ten_members_of_the_seed(service: "Service") -> None:
    """The response is the "Task created" of the seed, then the usage; ``stream`` is null."""
    reply = await service.post(model="claude-opus-4-7", messages=HELLO, max_tokens=64)
    assert reply.status == 200
    assert reply.headers["Content-Type"].partition(";")[0] == "application/json"
    task = reply.json
    found = re.fullmatch(r"task-llm-(\d+)-[a-z0-9]{8}", task["id"])
    assert found
    assert task == {
        "id": task["id"],
        "object": "llm.generation.task",
        "type": "llm",
        "model": "claude-opus-4-7",
        "status": "pending",
        "progress": 0,
        "created": int(found[1]),
        "stream": None,
        "results": None,
        "error": None,
        "usage": {"credits_reserved": 1.0},
    }
    assert [*task][-1] == "usage"


async def test_a_streamed_submit_names_its_stream(service: "Service") -> None:
    """With ``stream=true`` the response has the relative path of the stream."""
    task = (await service.post(model="gpt-5.4", messages=HELLO, stream=True)).json
    assert task["stream"] == {"url": f"/v1/llm/generations/{task['id']}/stream"}
    assert len(task) == 11


async def test_created_is_the_time_of_the_clock(serve: "Serve") -> None:
    """``created`` and the id have the Unix time of the gateway's clock."""
    service = await serve(clock=ManualClock(unix=1_776_874_565.9))
    task = await service.submit()
    assert task["created"] == 1_776_874_565
    assert task["id"].startswith("task-llm-1776874565-")


async def test_every_openai_parameter_is_accepted(service: "Service") -> None:
    """OpenAI parameters without a rule are accepted, and unknown ones too."""
    reply = await service.post(
        model="gemini-3-pro-preview",
        messages=[{"role": "developer", "content": "be kind"}, *HELLO],
        temperature=0.2,
        top_p=1,
        frequency_penalty=0,
        logit_bias={"50256": -100},
        seed=7,
        user="someone",
        sync=False,
        reasoning=True,
        something_new={"nested": [1, None]},
    )
    assert reply.status == 200


async def test_a_seed_repeats_the_ids_of_a_run(serve: "Serve") -> None:
    """Two gateways with one seed and one time create the same ids; another seed creates others."""
    ids = [
        [(await service.submit())["id"] for _ in range(3)]
        for service in [await serve(seed=seed, clock=ManualClock()) for seed in (1, 1, 2)]
    ]
    assert ids[0] == ids[1]
    assert not set(ids[0]) & set(ids[2])


async def test_no_id_is_given_twice() -> None:
    """An id in the store is not used again, even if the random generator repeats it."""
    settings = GatewaySettings(seed=1, clock=ManualClock())
    store = MemoryStore(settings.clock, retention=900, task_retention=900)
    request = GenerationRequest(model="gpt-5.5", messages=(Message(role="user", content="hi"),))
    ids: list[str] = []
    for _ in range(2):
        engine = Engine(
            settings=settings, models=make_models(settings), store=store, stats=GatewayStats()
        )
        ids += [(await engine.submit(request)).id for _ in range(5)]
        await engine.aclose()
    assert len(set(ids)) == 10


async def test_stats_count_submits_and_tasks(service: "Service") -> None:
    """Every POST is a submit; only created tasks, which are billed, count as tasks."""
    await service.submit()
    assert (await service.post(model="unknown", messages=HELLO)).status == 422
    assert (await service.post(model="gpt-5.5", messages=HELLO, key=None)).status == 401
    stats = service.gateway.stats
    assert (stats.submits, stats.tasks) == (3, 1)
    assert stats.as_dict()["tasks"] == 1
