"""The admin endpoints under ``/_gateway``."""

from typing import TYPE_CHECKING, Any

import pytest

from foxapi_async._clock import ManualClock

if TYPE_CHECKING:
    from tests.gateway.conftest import Serve, Service

FAULTS = "/_gateway/faults"
CLOCK = "/_gateway/clock"
MODELS = "/v1/configs/llm_generations_models"


async def test_stats_are_counted(service: "Service") -> None:
    """``/_gateway/stats`` returns the counters, without a token."""
    task = await service.submit("count 1 to 3", stream=True)
    await service.stream(task["id"])
    await service.task(task["id"])
    await service.call("POST", FAULTS, json="models:500")
    await service.call("GET", MODELS)
    reply = await service.call("GET", "/_gateway/stats", key=None)
    assert reply.json == service.gateway.stats.as_dict()
    counted = {
        name: reply.json[name] for name in ("submits", "tasks", "polls", "streams", "faults")
    }
    assert counted == dict.fromkeys(counted, 1)


async def test_faults_are_set_over_http(service: "Service") -> None:
    """Rules are added, listed with their counters and cleared; they act at once."""
    added = await service.call("POST", FAULTS, json={"faults": ["models:503"], "seed": 7})
    assert added.json == {
        "seed": 7,
        "faults": [
            {
                "rule": "models:503",
                "on": "models",
                "fault": "status",
                "status": 503,
                "seen": 0,
                "hits": 0,
            }
        ],
    }
    assert (await service.call("GET", MODELS)).status == 503
    await service.call("POST", FAULTS, json={"on": "query", "fault": "html", "nth": 2})
    listed = (await service.call("GET", FAULTS)).json["faults"]
    assert [(item["rule"], item["hits"]) for item in listed] == [
        ("models:503", 1),
        ("query:html:nth=2", 0),
    ]
    assert (await service.call("DELETE", FAULTS)).json == {"seed": 7, "faults": []}
    assert (await service.call("GET", MODELS)).status == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[" * 50_000, 400),
        (b'"submit:rest"', 422),
        (b'["submit:503", "submit:rest"]', 422),
        (b"5", 422),
        (b'{"faults": 5}', 422),
        (b'{"faults": [], "seed": "x"}', 422),
        (b'{"faults": [], "sed": 1}', 422),
        (b'"%s"' % (b"a" * 300_000), 413),
    ],
)
async def test_invalid_rules_change_nothing(service: "Service", body: bytes, status: int) -> None:
    """An invalid body is an error in the envelope, and none of its rules is added."""
    reply = await service.call(
        "POST", FAULTS, data=body, headers={"Content-Type": "application/json"}
    )
    assert (reply.status, service.gateway.faults.rules) == (status, ())
    assert reply.json["error"]["message"]


async def test_a_manual_clock_is_advanced_over_http(serve: "Serve") -> None:
    """``POST /_gateway/clock`` advances a manual clock and answers when all due timers ran."""
    service = await serve(clock=ManualClock(unix=1000), queue_delay=3600)
    task = await service.submit()
    assert (await service.call("GET", CLOCK)).json == {"manual": True, "time": 0, "unix": 1000}
    moved = await service.call("POST", CLOCK, json={"advance": 3600})
    assert moved.json == {"manual": True, "time": 3600, "unix": 4600}
    assert (await service.task(task["id"]))["status"] == "completed"


@pytest.mark.parametrize("advance", [-1, "5", None, True, 1e300, [], float("inf")])
async def test_the_clock_advances_by_seconds_only(serve: "Serve", advance: Any) -> None:
    """Any value but a number of seconds from 0 on does not advance the clock."""
    clock = ManualClock()
    service = await serve(clock=clock)
    reply = await service.call("POST", CLOCK, json={"advance": advance})
    assert reply.status in {400, 422}
    assert (await service.call("POST", CLOCK, json=[5])).status == 422
    assert clock.time() == 0


async def test_real_time_cannot_be_advanced(service: "Service") -> None:
    """A gateway in real time reports that, and refuses to advance its clock."""
    assert (await service.call("GET", CLOCK)).json["manual"] is False
    reply = await service.call("POST", CLOCK, json={"advance": 1})
    assert reply.status == 409
    assert "manual clock" in reply.json["error"]["message"]


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "X-Real-IP"])
async def test_admin_requests_of_other_machines_need_a_key(serve: "Serve", header: str) -> None:
    """A request through a proxy counts as one of another machine and needs a key."""
    through = {header: "203.0.113.9"}
    guarded = await serve(api_keys=["sk-one"])
    for key, status in ((None, 401), ("sk-two", 401), ("sk-one", 200)):
        reply = await guarded.call("GET", "/_gateway/stats", key=key, headers=through)
        assert reply.status == status
    open_to_all = await serve()
    reply = await open_to_all.call("GET", "/_gateway/stats", headers=through)
    assert reply.status == 403
