"""Requests of web pages and of other machines."""

import json
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from foxapi_async.gateway import Gateway
from foxapi_async.gateway.api_errors import APIError
from foxapi_async.gateway.auth import APIKeys
from foxapi_async.gateway.origin_check import OriginCheck

if TYPE_CHECKING:
    from tests.gateway.conftest import Serve, Service

SUBMIT = "/v1/llm/generations"
MODELS = "/v1/configs/llm_generations_models"
HELLO: dict[str, Any] = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hello"}]}


def request_from(at: str, *, peer: str = "127.0.0.1", **headers: str) -> web.Request:
    """Return a request with these addresses: tests have no second machine."""
    ends = {"sockname": (at, 8787), "peername": (peer, 50000)}
    transport = Mock(get_extra_info=ends.get)
    return make_mocked_request("GET", MODELS, headers=headers, transport=transport)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "LOCALHOST:8787"}, 200),
        ({"Host": "127.1.2.3:1"}, 200),
        ({"Host": "[::1]:8787"}, 200),
        ({"Host": "known.example"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "localhost.evil.example:8787"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "192.168.1.1"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "[::1]evil.example"}, 403),
        ({"Host": "[::1].evil.example:80"}, 403),
        ({"Host": "evil.example[::1]"}, 403),
        ({"Host": "[localhost"}, 403),
        ({"Host": "::1"}, 403),
        ({"Host": "localhost:evil.example"}, 403),
        ({"Host": "localhost:80:evil.example"}, 403),
        ({"Host": "localhost:"}, 200),
        ({"Host": "localhost@evil.example"}, 403),
        ({"Host": "localhost/evil.example"}, 403),
        ({"Host": "localhost evil.example"}, 403),
        ({"Host": "[::1]"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:8787"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 200),
    ],
)
async def test_a_web_page_is_rejected(serve: "Serve", headers: dict[str, str], status: int) -> None:
    """A page in a browser gets a 403 on every route, whatever host name it uses."""
    service = await serve(hosts=["known.example"])
    for path in (MODELS, "/healthz", "/_gateway/stats", "/nothing"):
        reply = await service.call("GET", path, headers=headers)
        assert reply.status == (404 if (path, status) == ("/nothing", 200) else status)
        assert "Access-Control-Allow-Origin" not in reply.headers
    reply = await service.call("POST", SUBMIT, json=HELLO, headers=headers)
    assert reply.status == status
    assert service.gateway.stats.tasks == (status == 200)
    if status == 403:
        assert reply.json["error"]["type"] == "permission_error"
        assert (await service.call("OPTIONS", SUBMIT, headers=headers)).status == 403


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
@pytest.mark.parametrize("path", [SUBMIT, "/_gateway/faults", "/_gateway/clock"])
async def test_a_form_is_rejected(service: "Service", kind: str, path: str) -> None:
    """Content types that a form can send without a preflight are rejected, JSON or not."""
    reply = await service.call(
        "POST", path, data=json.dumps(HELLO).encode(), headers={"Content-Type": kind}
    )
    assert reply.status in {400, 409}
    assert service.gateway.stats.tasks == 0


async def test_other_machines_may_use_any_host_name() -> None:
    """A request over another interface than loopback may use any host name."""
    gateway = Gateway("0.0.0.0", api_keys=["sk-one"])
    async with gateway, aiohttp.ClientSession() as http:
        for host, status in (("localhost", 200), ("elsewhere.example", 403)):
            url = f"http://127.0.0.1:{gateway.port}{MODELS}"
            headers = {"Host": host, "Authorization": "Bearer sk-one"}
            async with http.get(url, headers=headers) as response:
                assert response.status == status
    away = OriginCheck(APIKeys({"sk-one": None}))
    away.check(request_from("198.51.100.7", Host="elsewhere.example"))
    with pytest.raises(APIError):
        away.check_admin(request_from("198.51.100.7", peer="203.0.113.9"))
    away.check_admin(
        request_from("198.51.100.7", peer="203.0.113.9", Authorization="Bearer sk-one")
    )
