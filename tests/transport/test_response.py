"""Decoding of responses, and the error that each status stands for."""

import json
import re
from typing import TYPE_CHECKING

import pytest

from foxapi_async import errors
from foxapi_async._protocol.retry import Effect
from foxapi_async._transport import (
    Account,
    HTTPResponse,
    RequestSpec,
    Transport,
    decode,
    status_error,
)
from foxapi_async._wire.task import task_decoder
from tests.transport.conftest import ONCE, fetch

if TYPE_CHECKING:
    from tests.transport.conftest import Server

KEY = "sk-0123456789abcdef"
ACCOUNT = Account.resolve(KEY)


def answered(
    status: int, body: bytes | object = b"", request_id: str | None = None
) -> HTTPResponse:
    """Return a response of the service."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HTTPResponse(ACCOUNT, status, data, request_id)


# status_error


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            {"error": {"code": "service_unavailable"}},
            "503 service_unavailable: the service sent",
        ),
        ({"error": {"code": 503, "message": "busy"}}, "503: busy"),
        ({"error": {"code": 1305, "message": "busy"}}, "503 1305: busy"),
        ({"error": ["busy", "come back"]}, "503: busy; come back"),
        ({"detail": [{"loc": ["body", "n"], "msg": "wrong"}]}, "503: body.n: wrong"),
        ({"message": KEY}, "503: sk-"),
        (b"<html>", "it may come from a proxy"),
    ],
)
def test_status_error_reasons(body: bytes | object, text: str) -> None:
    """The service's message is in the text, wherever the body has it."""
    error = status_error(answered(503, body))
    assert text in str(error)
    assert KEY not in str(error)
    assert ("proxy" in str(error)) == isinstance(body, bytes)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (304, errors.APIStatusError),
        (400, errors.BadRequestError),
        (401, errors.AuthenticationError),
        (402, errors.InsufficientQuotaError),
        (403, errors.PermissionDeniedError),
        (404, errors.NotFoundError),
        (409, errors.APIStatusError),
        (413, errors.ContentTooLargeError),
        (418, errors.APIStatusError),
        (422, errors.UnprocessableEntityError),
        (429, errors.RateLimitError),
        (500, errors.InternalServerError),
        (502, errors.InternalServerError),
        (503, errors.ServiceUnavailableError),
        (529, errors.InternalServerError),
        (999, errors.APIStatusError),
    ],
)
def test_status_error_statuses(status: int, expected: type[errors.APIStatusError]) -> None:
    """The status decides the class, with or without an error object."""
    for body in (b"", b"<html>", {"error": {"message": "no", "type": "t", "code": "c"}}):
        error = status_error(answered(status, body))
        assert type(error) is expected
        assert error.status == status


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("model_not_supported", errors.ModelNotSupportedError),
        ("no_available_model", errors.ModelNotSupportedError),
        ("unsupported_content_type", errors.UnsupportedContentTypeError),
        ("model_not_support_capability", errors.UnsupportedContentTypeError),
        ("invalid_param", errors.InvalidParameterError),
        ("never_heard_of", errors.UnprocessableEntityError),
        (None, errors.UnprocessableEntityError),
    ],
)
def test_codes_of_a_422(code: str | None, expected: type[errors.UnprocessableEntityError]) -> None:
    """The code of a 422 decides the class; old and new codes mean the same."""
    error = status_error(answered(422, {"error": {"message": "no", "code": code}}))
    assert type(error) is expected
    assert error.code == code


def test_status_error_facts_are_kept() -> None:
    """The error has the code, type, param, request id and body."""
    body = {"error": {"message": "too few", "type": "t", "code": "c", "param": "max_tokens"}}
    error = status_error(answered(400, body, "req-1"))
    assert str(error) == "400 c: too few"
    assert (error.code, error.type, error.param) == ("c", "t", "max_tokens")
    assert error.request_id == "req-1"
    assert json.loads(error.body) == body
    assert error.enveloped


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "out of credits"}},
        {"error": "out of credits"},
        {"success": False, "message": "out of credits"},
        "out of credits",
    ],
)
def test_the_reason_in_a_2xx_is_in_its_error(body: object) -> None:
    """A 2xx that has an error in place of a task raises with the reason that the error gives."""
    with pytest.raises(errors.InvalidResponseError, match="it says: out of credits"):
        decode(task_decoder, answered(200, body))


def test_a_key_in_the_reason_of_a_2xx_is_masked() -> None:
    """An API key that the reason in a 2xx repeats is masked before the text is cut."""
    for before in range(300, 400):
        with pytest.raises(errors.InvalidResponseError) as caught:
            decode(task_decoder, answered(200, {"error": "x" * before + KEY}))
        assert KEY[:8] not in str(caught.value)


def test_the_request_id_may_hide_in_the_message() -> None:
    """Without the header, the id is read from the message (contract Q5)."""
    body = {"error": {"message": "no channel (request_id: 2026-abc_1)", "type": "t"}}
    assert status_error(answered(503, body)).request_id == "2026-abc_1"
    assert status_error(answered(503, body, "header")).request_id == "header"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"error code: 1010", "403: https://api.foxapi.cc sent no error object"),
        (b'{"detail":"no entry"}', "403: no entry"),
        (b'{"message":"no entry"}', "403: no entry"),
        (b'{"error":"no entry"}', "403: no entry"),
        (b"[1]", "403: https://api.foxapi.cc sent no error object"),
        (b"\xff\xfe", "403: https://api.foxapi.cc sent no error object"),
        (b"", "403: https://api.foxapi.cc sent no error object"),
    ],
)
def test_status_error_other_bodies(body: bytes, text: str) -> None:
    """Bodies of proxies and frameworks are accepted (contract §8.1, Q6)."""
    error = status_error(answered(403, body))
    assert str(error).startswith(text)
    assert not error.enveloped
    assert error.body == body.decode(errors="replace")


def test_the_key_is_masked_everywhere() -> None:
    """A key that the response repeats is masked in every attribute of the error."""
    error = status_error(
        answered(
            401,
            {"error": {"message": f"bad key {KEY}", "code": KEY, "type": KEY, "param": KEY}},
        )
    )
    assert KEY not in f"{error} {error!r} {vars(error)}"
    edge = status_error(answered(401, b"x" * 390 + KEY.encode()))
    assert edge.body == "x" * 390 + "sk-0…cdef"


# decode


def test_decode_a_task() -> None:
    """A body by the contract is decoded to its struct."""
    assert decode(task_decoder, answered(200, {"id": "t", "status": "pending"})).id == "t"


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "an empty body"),
        (b" \n<!doctype html>", "HTML"),
        (b'{"id": "t', "an unexpected body"),
        (b"[]", "an unexpected body"),
        (b"null", "an unexpected body"),
        (b'{"id": 7, "status": "pending"}', "an unexpected body"),
        (b"[" * 100_000, "an unexpected body"),
        (b"\xff", "an unexpected body"),
    ],
)
def test_decode_anything_else(body: bytes, what: str) -> None:
    """The error has the status and the start of the body."""
    with pytest.raises(errors.InvalidResponseError, match=what) as failed:
        decode(task_decoder, answered(200, body))
    assert failed.value.status == 200
    assert failed.value.body == body.decode(errors="replace")[:400]
    assert failed.value.__cause__ is None


def test_the_body_is_not_in_the_text() -> None:
    """The repr of a response does not show its body."""
    with pytest.raises(errors.InvalidResponseError) as failed:
        decode(task_decoder, answered(200, {"content": "a secret prompt", "id": KEY}))
    assert "prompt" not in f"{failed.value} {failed.value!r}"
    assert KEY not in failed.value.body
    assert repr(answered(200, b"a secret prompt")) == "<HTTPResponse 200, 15 bytes>"


@pytest.mark.parametrize("path", ["/v1/tasks/1", f"/v1/{KEY}"])
async def test_the_error_of_a_call_says_what_was_asked(
    server: "Server", transport: Transport, path: str
) -> None:
    """Every error of a request has its method and URL, without the query and the key."""
    account = Account.resolve(KEY, f"{server.url}/base/v1")
    shown = path.replace(KEY, "…")
    seen = f" [GET {server.url}/base{shown}]"
    call = RequestSpec(effect=Effect.READ, method="GET", path=path)
    server.answers(404, {})
    with pytest.raises(errors.NotFoundError, match="check the base URL") as refused:
        await fetch(transport, account, call, retry=ONCE)
    server.answers(404, {})
    with pytest.raises(errors.NotFoundError) as attempted:
        await fetch(transport, account, call, retry=ONCE)
    server.answers(200, b"<html>")
    with pytest.raises(errors.InvalidResponseError) as misread:
        await fetch(transport, account, call, retry=ONCE)
    server.answers(500, {})
    with pytest.raises(errors.InternalServerError) as polled:
        await transport.poll(account, path, {"token": "hidden"})
    server.answers(404, {})
    with pytest.raises(errors.NotFoundError) as streamed:
        await transport.open_stream(account, path, {"token": "hidden"})
    for caught in (refused, attempted, misread, polled, streamed):
        text = str(caught.value)
        assert re.sub(r"sk-.*?…[a-z0-9]*", "…", text).endswith(seen)
        assert text.count(" [GET ") == 1
        assert "hidden" not in text
