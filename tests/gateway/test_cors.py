"""Web pages of admitted origins."""

from typing import TYPE_CHECKING, Any

import pytest

from foxapi_async.errors import ConfigError
from foxapi_async.gateway import GatewaySettings

if TYPE_CHECKING:
    from tests.gateway.conftest import Reply, Serve, Service

SUBMIT = "/v1/llm/generations"
PAGE = "http://localhost:5173"
OTHER = "http://localhost:5174"
FROM_PAGE = {"Origin": PAGE, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
HELLO: dict[str, Any] = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hello"}]}


def allowed(reply: "Reply") -> str | None:
    """Return the origin that may read the response."""
    assert reply.headers["Vary"] == "Origin"
    origin = reply.headers.get("Access-Control-Allow-Origin")
    exposed = reply.headers.get("Access-Control-Expose-Headers")
    assert exposed == (None if origin is None else "x-request-id, retry-after")
    assert "Access-Control-Allow-Credentials" not in reply.headers
    return origin


async def preflight(service: "Service", path: str, **headers: str) -> "Reply":
    """Send the preflight of a POST."""
    asked = FROM_PAGE | {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    return await service.call("OPTIONS", path, key=None, headers=asked | headers)


async def test_an_admitted_page_reads_every_response(serve: "Serve") -> None:
    """A page of an admitted origin submits, queries, streams and lists models."""
    service = await serve(allow_origins=[PAGE])
    members = HELLO | {"stream": True}
    submitted = await service.call("POST", SUBMIT, json=members, headers=FROM_PAGE)
    assert (submitted.status, allowed(submitted)) == (200, PAGE)
    assert "x-request-id" in submitted.headers
    task_id = submitted.json["id"]
    for path in (
        f"{SUBMIT}/{task_id}/stream",
        f"/v1/tasks/{task_id}",
        "/v1/configs/llm_generations_models",
        "/v1/models",
        "/healthz",
    ):
        reply = await service.call("GET", path, headers=FROM_PAGE)
        assert (reply.status, allowed(reply)) == (200, PAGE)
    stream = await service.call("GET", f"{SUBMIT}/{task_id}/stream", headers=FROM_PAGE)
    assert b"event: done" in stream.body


async def test_an_admitted_page_reads_every_error(serve: "Serve") -> None:
    """A page of an admitted origin can read the errors, those of fault rules included."""
    service = await serve(
        allow_origins=[PAGE], api_keys=["sk-one"], faults=["query:429:retry_after=7"]
    )
    calls: list[tuple[str, str, dict[str, Any], int]] = [
        ("POST", SUBMIT, {"json": HELLO}, 401),
        ("POST", SUBMIT, {"data": b"{"}, 400),
        ("POST", SUBMIT, {"key": "sk-one", "json": HELLO | {"model": "x"}}, 422),
        ("GET", "/v1/tasks/task-llm-1-a", {"key": "sk-one"}, 429),
        ("GET", f"{SUBMIT}/task-llm-1-a/stream", {"key": "sk-one"}, 404),
        ("GET", "/nothing", {}, 404),
        ("DELETE", SUBMIT, {}, 405),
        ("GET", "/healthz", {"headers": FROM_PAGE | {"Expect": "wonders"}}, 417),
    ]
    for method, path, options, status in calls:
        given: dict[str, Any] = {"headers": FROM_PAGE, **options}
        reply = await service.call(method, path, **given)
        assert (reply.status, allowed(reply)) == (status, PAGE)
        assert (reply.headers.get("Retry-After") == "7") == (status == 429)


async def test_a_fault_in_a_stream_keeps_the_headers(serve: "Serve") -> None:
    """A stream that a fault rule changes is readable by the page as well."""
    service = await serve(allow_origins=[PAGE], faults=["stream:crlf"])
    task = await service.submit(stream=True)
    path = f"{SUBMIT}/{task['id']}/stream"
    reply = await service.call("GET", path, headers=FROM_PAGE)
    assert (reply.status, allowed(reply)) == (200, PAGE)
    assert service.gateway.stats.faults == 1


async def test_another_page_is_refused(serve: "Serve") -> None:
    """A page of any other origin gets a 403 that it cannot read, and bills nothing."""
    service = await serve(allow_origins=[PAGE])
    for origin in (OTHER, "https://localhost:5173", f"{PAGE}.evil.example", "null", "", f"{PAGE}/"):
        headers = FROM_PAGE | {"Origin": origin}
        reply = await service.call("POST", SUBMIT, json=HELLO, headers=headers)
        assert (reply.status, allowed(reply)) == (403, None)
        assert "--allow-origin" in reply.json["error"]["message"]
        assert (await preflight(service, SUBMIT, Origin=origin)).status == 403
    twice = await service.send_bytes(
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
        b"Origin: http://localhost:5173\r\nOrigin: http://localhost:5174\r\n\r\n"
    )
    assert twice[0] == 403
    no_origin = {"Sec-Fetch-Site": "cross-site"}
    assert (await service.call("GET", "/healthz", headers=no_origin)).status == 403
    assert service.gateway.stats.tasks == 0


async def test_a_program_is_no_page(serve: "Serve") -> None:
    """A request without an origin has its response as before, marked for caches."""
    service = await serve(allow_origins=[PAGE])
    reply = await service.call("POST", SUBMIT, json=HELLO)
    assert (reply.status, allowed(reply)) == (200, None)


async def test_a_preflight_names_what_is_allowed(serve: "Serve") -> None:
    """The preflight of each endpoint of the service needs no key and names its method."""
    service = await serve(allow_origins=["HTTPS://App.Example:443", PAGE], api_keys=["sk-one"])
    for path, method in (
        (SUBMIT, "POST"),
        ("/v1/tasks/task-llm-1-a", "GET"),
        (f"{SUBMIT}/task-llm-1-a/stream", "GET"),
        ("/v1/configs/llm_generations_models", "GET"),
        ("/v1/models", "GET"),
    ):
        reply = await preflight(service, path, Origin="https://app.example")
        assert (reply.status, reply.body) == (204, b"")
        assert allowed(reply) == "https://app.example"
        assert reply.headers["Access-Control-Allow-Methods"] == method
        assert reply.headers["Access-Control-Allow-Headers"] == "Authorization, Content-Type"
        assert "Access-Control-Allow-Private-Network" not in reply.headers
    asked = {"Access-Control-Request-Private-Network": "true"}
    reply = await preflight(service, SUBMIT, **asked)
    assert reply.headers["Access-Control-Allow-Private-Network"] == "true"
    assert (await preflight(service, "/nothing")).status == 404
    bare = await service.call("OPTIONS", SUBMIT, headers=FROM_PAGE)
    assert (bare.status, allowed(bare)) == (405, PAGE)


@pytest.mark.parametrize(
    ("asked", "allowed_too"),
    [
        ("authorization,content-type", []),
        ("Content-Type, AUTHORIZATION", []),
        (
            "authorization,content-type,x-stainless-lang,x-stainless-os,x-stainless-retry-count",
            ["x-stainless-lang", "x-stainless-os", "x-stainless-retry-count"],
        ),
        (
            "accept, idempotency-key,\tlast-event-id,openai-organization ,openai-project",
            ["accept", "idempotency-key", "last-event-id", "openai-organization", "openai-project"],
        ),
        ("x-a,x-A,,x-b", ["x-A", "x-b"]),
        ("", []),
        ("*,**", ["**"]),
        ('x y,x\u00e4,x:y,x;y,x"y,(x),x/y,x=y,ok', ["ok"]),
        ("x" * 65 + ",ok", ["ok"]),
        (",".join(f"x-{number}" for number in range(200)), [f"x-{n}" for n in range(64)]),
    ],
)
async def test_a_page_may_send_the_headers_it_asks_for(
    serve: "Serve", asked: str, allowed_too: list[str]
) -> None:
    """Valid names are allowed beside the basic two, bounded, and only to an admitted page."""
    service = await serve(allow_origins=[PAGE])
    reply = await preflight(service, SUBMIT, **{"Access-Control-Request-Headers": asked})
    assert (reply.status, allowed(reply)) == (204, PAGE)
    names = reply.headers["Access-Control-Allow-Headers"].split(", ")
    assert names == ["Authorization", "Content-Type", *allowed_too]
    other = await preflight(
        service, SUBMIT, Origin=OTHER, **{"Access-Control-Request-Headers": asked}
    )
    assert (other.status, "Access-Control-Allow-Headers" in other.headers) == (403, False)


@pytest.mark.parametrize("path", ["/_gateway/stats", "/%5Fgateway/stats", "/_gateway/nothing"])
async def test_no_page_reaches_the_admin_endpoints(serve: "Serve", path: str) -> None:
    """An admitted page gets a 403 without CORS headers below `/_gateway`."""
    service = await serve(allow_origins=[PAGE])
    for reply in (
        await service.call("GET", path, headers=FROM_PAGE),
        await preflight(service, path),
    ):
        assert reply.status == 403
        assert not [name for name in reply.headers if name.lower().startswith("access-control")]


async def test_dns_rebinding_is_refused_still(serve: "Serve") -> None:
    """An admitted page addresses the gateway by a host name that it accepts."""
    service = await serve(allow_origins=[PAGE])
    headers = FROM_PAGE | {"Host": "evil.example"}
    assert (await service.call("GET", "/healthz", headers=headers)).status == 403


def test_origins_are_what_browsers_send() -> None:
    """Origins are in lower case and without a default port."""
    given = [
        "HTTP://LocalHost:80",
        "https://a.example:8443",
        "http://[::1]:5173",
        "tauri://localhost",
    ]
    assert GatewaySettings(allow_origins=given).allow_origins == (
        "http://localhost",
        "https://a.example:8443",
        "http://[::1]:5173",
        "tauri://localhost",
    )


@pytest.mark.parametrize(
    ("origin", "reason"),
    [
        ("*", "every web page"),
        ("null", "any page"),
        ("http://localhost:5173/", "without a path"),
        ("http://localhost:5173/app", "without a path"),
        ("http://localhost?x", "without a path"),
        ("http://user@localhost", "without a path"),
        ("localhost:5173", "scheme://"),
        ("http://", "scheme://"),
        ("http://localhost:", "scheme://"),
        ("http://localhost:65536", "scheme://"),
        ("http://*.example", "scheme://"),
        ("http://müller.example", "in ASCII"),
        ("http://a.example\n", "scheme://"),
        ("", "scheme://"),
    ],
)
def test_a_text_that_is_no_origin_is_refused_with_the_reason(origin: str, reason: str) -> None:
    """A wildcard, a null origin and a URL with a path are refused when the gateway is made."""
    with pytest.raises(ConfigError, match=r"allow_origins") as caught:
        GatewaySettings(allow_origins=[origin])
    assert reason in str(caught.value)
