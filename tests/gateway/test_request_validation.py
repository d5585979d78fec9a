"""Requests with errors, each answered in the envelope of contract §8.1."""

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from foxapi_async.gateway import Gateway

if TYPE_CHECKING:
    from tests.gateway.conftest import Serve, Service

SUBMIT = "/v1/llm/generations"
ROUTES = [
    ("POST", SUBMIT),
    ("GET", "/v1/tasks/task-llm-1-abcdefgh"),
    ("GET", f"{SUBMIT}/task-llm-1-abcdefgh/stream"),
    ("GET", "/v1/configs/llm_generations_models"),
]
JSON = {"Content-Type": "application/json"}


def hello(content: Any = "hello") -> list[dict[str, Any]]:
    """Build a conversation of one message."""
    return [{"role": "user", "content": content}]


@pytest.mark.parametrize(
    ("members", "code", "param"),
    [
        ({"messages": hello()}, "invalid_param", "model"),
        ({"model": "gpt-5.5"}, "invalid_param", "messages"),
        ({"model": "gpt-5.5", "messages": []}, "invalid_param", "messages"),
        ({"model": "", "messages": hello()}, "invalid_param", "model"),
        ({"model": 5, "messages": hello()}, "invalid_param", "model"),
        ({"model": "gpt-5.5", "messages": "hello"}, "invalid_param", "messages"),
        ({"model": "gpt-5.5", "messages": [{}]}, "invalid_param", "messages[0].role"),
        ({"model": "gpt-5.5", "messages": hello(5)}, "invalid_param", "messages[0].content"),
        ({"model": "gpt-5.5", "messages": hello(" ")}, "invalid_param", "messages"),
        (
            {"model": "gpt-5.5", "messages": [{"role": "usr", "content": "hello"}]},
            "invalid_param",
            "messages[0].role",
        ),
        (
            {"model": "gpt-5.5", "messages": [{"role": "user", "contents": "hello"}]},
            "invalid_param",
            "messages[0].content",
        ),
        (
            {"model": "gpt-5.5", "messages": hello([{"type": "text"}])},
            "invalid_param",
            "messages[0].content[0].text",
        ),
        (
            {"model": "gpt-5.5", "messages": hello([{"type": "image_url", "image_url": "u"}])},
            "invalid_param",
            "messages[0].content[0].image_url",
        ),
        (
            {"model": "gpt-5.5", "messages": hello(), "stream": "yes"},
            "invalid_param",
            "stream",
        ),
        (
            {"model": "gpt-5.5", "messages": hello(), "max_tokens": "64", "new": 1},
            "invalid_param",
            "max_tokens",
        ),
        ({"model": "gpt-5.5", "messages": hello(), "sync": True}, "invalid_param", "sync"),
        ({"model": "gpt-5.5", "messages": hello(), "n": 0}, "invalid_param", "n"),
        ({"model": "gpt-5.5", "messages": hello(), "n": 10**9}, "invalid_param", "n"),
        ({"model": "gpt-9", "messages": hello()}, "model_not_supported", "model"),
        ({"model": "gpt-5.5 ", "messages": hello()}, "model_not_supported", "model"),
        (
            {
                "model": "claude-opus-4-7",
                "messages": hello([{"type": "video_url", "video_url": {"url": "https://x/v"}}]),
            },
            "unsupported_content_type",
            "messages[0].content[0].type",
        ),
        (
            {"model": "gemini-3-pro-preview", "messages": hello([{"type": "smell"}])},
            "unsupported_content_type",
            "messages[0].content[0].type",
        ),
        ({"model": "claude-opus-4-6", "messages": hello()}, "invalid_param", "max_tokens"),
        (
            {"model": "gpt-5.4", "messages": hello(), "max_tokens": 15},
            "invalid_param",
            "max_tokens",
        ),
    ],
)
async def test_a_broken_rule_is_named(
    service: "Service", members: dict[str, Any], code: str, param: str
) -> None:
    """A request that breaks a rule gets a 422 with the code of the seed and the member."""
    reply = await service.post(**members)
    error = reply.json["error"]
    assert reply.status == 422
    assert reply.json == {
        "error": {
            "message": error["message"],
            "type": "invalid_request_error",
            "code": code,
            "param": param,
        }
    }
    assert error["message"]
    assert service.gateway.stats.tasks == 0


async def test_a_likely_typo_is_accepted_and_logged(
    service: "Service", caplog: pytest.LogCaptureFixture
) -> None:
    """The service accepts unknown members, so the gateway accepts and logs them."""
    message = {"role": "user", "content": "hello", "tool_call\n": []}
    reply = await service.post(model="gpt-5.5", messages=[message])
    assert reply.status == 200
    assert "did you mean 'tool_calls'" in caplog.text
    assert "\n" not in caplog.messages[-1]


async def test_stream_may_be_null(service: "Service") -> None:
    """``stream: null`` means that no stream is requested."""
    task = await service.submit(stream=None)
    assert (task["status"], task["stream"]) == ("pending", None)
    assert (await service.finished(task["id"]))["status"] == "completed"


@pytest.mark.parametrize(
    ("path", "members"),
    [
        (SUBMIT, {"model": "m" * 100_000, "messages": hello()}),
        (SUBMIT, {"model": "gpt-5.5", "messages": hello([{"type": "t" * 100_000}])}),
        (SUBMIT, {"model": "gpt-5.5", "messages": hello(), "logit_bias": {"k" * 100_000: "x"}}),
        (SUBMIT, {"model": "gpt-5.5", "messages": hello(), "metadata": {"k" * 100_000: 5}}),
        ("/_gateway/faults", {"on": "o" * 100_000, "fault": "status"}),
        ("/_gateway/faults", {"on": "submit", "fault": "f" * 100_000}),
        ("/_gateway/faults", {"on": "submit", "fault": "status", "n" * 100_000: 1}),
    ],
)
async def test_a_long_name_is_cut_in_the_error(
    service: "Service", path: str, members: dict[str, Any]
) -> None:
    """The error names the wrong member and repeats only the beginning of a long name."""
    reply = await service.call("POST", path, json=members)
    assert (reply.status, len(reply.body) < 3000) == (422, True)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"not json", b'{"model": 5, "messages": [', b'"\xff"', b'{"a":1} {}', b"[" * 9999],
)
async def test_malformed_json_is_a_bad_request(service: "Service", body: bytes) -> None:
    """A body that is not JSON gets a 400, even if a member before the mistake has a wrong type."""
    reply = await service.call("POST", SUBMIT, data=body, headers=JSON)
    assert reply.status == 400
    assert reply.json["error"]["type"] == "invalid_request_error"
    assert set(reply.json["error"]) == {"message", "type"}


@pytest.mark.parametrize("body", [b"[]", b"5", b"null", b'"text"'])
async def test_json_that_is_not_an_object_is_invalid(service: "Service", body: bytes) -> None:
    """JSON other than an object gets a 422."""
    reply = await service.call("POST", SUBMIT, data=body, headers=JSON)
    assert reply.status == 422
    assert reply.json["error"]["param"] == "body"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "nonsense"])
async def test_only_json_is_accepted(service: "Service", kind: str) -> None:
    """Another ``Content-Type`` than JSON gets a 400; its parameters do not matter."""
    body = b'{"model": "gpt-5.5", "messages": [{"role": "user", "content": "hi"}]}'
    reply = await service.call("POST", SUBMIT, data=body, headers={"Content-Type": kind})
    assert reply.status == 400
    assert reply.json["error"]["type"] == "invalid_request_error"
    json = {"Content-Type": "application/json; charset=utf-8"}
    assert (await service.call("POST", SUBMIT, data=body, headers=json)).status == 200


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer  ", "Basic abc", "sk-local"])
async def test_every_endpoint_needs_a_token(
    service: "Service", method: str, path: str, header: str | None
) -> None:
    """Without a bearer token every endpoint answers 401."""
    headers = {} if header is None else {"Authorization": header}
    body = {"json": {"model": "x"}} if method == "POST" else {}
    reply = await service.call(method, path, key=None, headers=headers, **body)
    assert reply.status == 401
    assert reply.json["error"]["type"] == "authentication_error"
    assert set(reply.json["error"]) == {"message", "type"}


async def test_only_configured_keys_are_valid(serve: "Serve") -> None:
    """With configured keys every other key is a 401, and the response does not repeat it."""
    service = await serve(api_keys=["sk-first", "sk-second"])
    models = "/v1/configs/llm_generations_models"
    for key, status in [
        ("sk-first", 200),
        ("sk-second", 200),
        ("sk-third", 401),
        ("sk-fürst", 401),
    ]:
        reply = await service.call("GET", models, key=key)
        assert reply.status == status
        assert key.encode() not in reply.body
    lower = {"Authorization": "bearer sk-first"}
    assert (await service.call("GET", models, key=None, headers=lower)).status == 200


async def test_checks_run_in_the_order_of_the_contract(serve: "Serve") -> None:
    """JSON comes before the key, the key before the fields, then model, content and limit."""
    service = await serve(api_keys=["sk-one"])
    everything_wrong: dict[str, Any] = {
        "model": "gpt-9",
        "messages": hello([{"type": "video_url", "video_url": {"url": "https://x/v"}}]),
    }
    bad = await service.call("POST", SUBMIT, key="sk-two", data=b"{", headers=JSON)
    assert bad.status == 400
    assert (await service.post("sk-two", messages=5)).status == 401
    missing = await service.post("sk-one", messages=5)
    assert missing.json["error"]["code"] == "invalid_param"
    unknown = await service.post("sk-one", **everything_wrong)
    assert unknown.json["error"]["code"] == "model_not_supported"
    content = await service.post("sk-one", **(everything_wrong | {"model": "claude-opus-4-7"}))
    assert content.json["error"]["code"] == "unsupported_content_type"


async def test_unknown_routes_and_methods_use_the_envelope(service: "Service") -> None:
    """An unknown route is a 404, a wrong method a 405 with ``Allow``, both in the envelope."""
    reply = await service.call("GET", "/v2/nothing")
    assert reply.status == 404
    assert reply.json == {
        "error": {"message": "there is nothing at /v2/nothing", "type": "not_found"}
    }
    reply = await service.call("PUT", SUBMIT)
    assert reply.status == 405
    assert reply.headers["Allow"] == "POST"
    assert reply.json["error"]["type"] == "invalid_request_error"
    assert (await service.call("HEAD", "/v1/tasks/x")).status == 405


async def test_a_large_body_is_refused(serve: "Serve") -> None:
    """A body over the limit is a 413 in the envelope and creates no task."""
    service = await serve(body_limit=1000)
    reply = await service.post(model="gpt-5.5", messages=hello("x" * 1000))
    assert reply.status == 413
    assert reply.json["error"]["type"] == "file_too_large_error"
    assert "larger than 1000 bytes" in reply.json["error"]["message"]
    assert service.gateway.stats.tasks == 0


async def test_a_crash_is_reported_without_details(
    serve: "Serve", caplog: pytest.LogCaptureFixture
) -> None:
    """A crash of the gateway is a 500 in the envelope, and its traceback is logged."""
    service = await serve()

    @web.middleware
    async def crash(request: web.Request, handler: Handler) -> web.StreamResponse:
        raise RuntimeError(f"a secret detail of {request.path} before {handler}")

    gateway = Gateway()
    gateway.app.middlewares.append(crash)
    async with gateway:
        service.gateway = gateway
        reply = await service.call("GET", "/healthz")
    assert reply.status == 500
    assert reply.json["error"]["type"] == "server_error"
    assert b"secret" not in reply.body
    assert "a secret detail" in caplog.text


async def test_every_response_has_a_unique_id(service: "Service") -> None:
    """Every response, also an error, has a different ``x-request-id``."""
    replies = [
        await service.call(method, path, key=key)
        for method, path in [*ROUTES, ("GET", "/nothing"), ("GET", "/healthz")]
        for key in ("sk-any", None)
    ]
    task = await service.submit(stream=True)
    replies.append(await service.stream(task["id"]))
    ids = [reply.headers["x-request-id"] for reply in replies]
    assert len(set(ids)) == len(ids)


async def test_health_needs_no_token(service: "Service") -> None:
    """``/healthz`` answers without a token."""
    reply = await service.call("GET", "/healthz", key=None)
    assert (reply.status, reply.json) == (200, {"status": "ok"})


async def test_models_are_those_of_the_seed(service: "Service") -> None:
    """The list of models is the catalog, capabilities in the service's order."""
    reply = await service.call("GET", "/v1/configs/llm_generations_models")
    listed = {item["id"]: item["capabilities"] for item in reply.json["data"]}
    assert reply.json["object"] == "list"
    assert len(listed) == 8
    assert listed["gpt-5.4"] == ["text", "vision"]
    assert listed["claude-opus-4-7"] == ["text", "vision", "file"]
    assert listed["gemini-3-pro-preview"] == ["text", "vision", "video", "audio", "file"]
    assert all(set(item) == {"id", "object", "capabilities"} for item in reply.json["data"])
