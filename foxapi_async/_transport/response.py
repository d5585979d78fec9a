"""What the service answered, and what it means."""

import re
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec import DecodeError, Struct

from foxapi_async._protocol.status_errors import error_class_for, is_success
from foxapi_async._wire.base import Decoder, WireStruct
from foxapi_async._wire.error_body import decode_error
from foxapi_async.errors import APIStatusError, InvalidResponseError

if TYPE_CHECKING:
    from foxapi_async._transport.account import Account

EXCERPT_LENGTH: Final = 400
_MESSAGE: Final = 1000
_NO_MESSAGE: Final = "the service gave this code and no message; see .body"
_REQUEST_ID = re.compile(r"request_id:\s*([\w-]+)")

S = TypeVar("S", bound=WireStruct)


class HTTPResponse(Struct, frozen=True):
    """A whole HTTP answer. ``retry_after`` is in seconds; the account masks its key in errors."""

    account: "Account"
    status: int
    body: bytes
    request_id: str | None = None
    retry_after: float | None = None

    @property
    def is_success(self) -> bool:
        """Whether the status is a 2xx; all of them count (contract §1)."""
        return is_success(self.status)

    def __repr__(self) -> str:
        # The body may hold a completion, which is nobody's business but the user's.
        return f"<Answer {self.status}, {len(self.body)} bytes>"


def excerpt(account: "Account", body: bytes) -> str:
    """Return how ``body`` begins, for an error to keep: text, the key masked, 400 characters."""
    # Masked before it is cut: half a key at the edge would not be recognised.
    return account.redact(body[: 16 * EXCERPT_LENGTH].decode(errors="replace"))[:EXCERPT_LENGTH]


def decode(reader: Decoder[S], answer: HTTPResponse) -> S:
    """Return the shape that the answer holds, or raise ``InvalidResponseError``.

    Should the answer repeat the key, it is masked in every text of the shape, for they end up in
    errors, events and logs. Raw JSON, such as the results of a task, is the user's and stays.
    """
    try:
        shape = reader.decode(answer.body)
    except DecodeError as error:
        why = str(error)
    else:
        mask = answer.account.mask
        return mask.struct(shape) if mask.may_contain(answer.body) else shape
    # Raised out here, where the decoder's error, which may quote the answer, is no context of ours.
    what = "an empty body" if not answer.body else _describe(answer.body)
    why = answer.account.redact(why)[:EXCERPT_LENGTH]
    raise invalid_response(answer, f"answered {answer.status} with {what}: {why}")


def invalid_response(answer: HTTPResponse, what: str) -> InvalidResponseError:
    """Return the error for an answer that is not what the contract says."""
    return InvalidResponseError(
        f"{answer.account.origin} {what}",
        status=answer.status,
        body=excerpt(answer.account, answer.body),
    )


def status_error(answer: HTTPResponse) -> APIStatusError:
    """Return the error that an answer without success stands for. Unknown codes are data."""
    body, enveloped = decode_error(answer.body)
    account, status = answer.account, answer.status
    told = (body.message, body.code, body.type, body.param) if body else (None,) * 4
    message = told[0] and account.redact(told[0])[:_MESSAGE]
    code, kind, param = (name and account.mask.name(name)[:_MESSAGE] for name in told[1:])
    word = next((word for word in (code, kind) if word and word != str(status)), "")
    return error_class_for(status, code)(
        f"{status} {word}".rstrip()
        + ": "
        + (message or (_hint(account, status) if body is None else _NO_MESSAGE))
        + ("" if answer.retry_after is None else f" (it asks to wait {answer.retry_after:g} s)"),
        status=status,
        code=code,
        type=kind,
        param=param,
        request_id=answer.request_id or _request_id(message or ""),
        body=excerpt(account, answer.body),
        retry_after=answer.retry_after,
        enveloped=enveloped,
    )


def _hint(account: "Account", status: int) -> str:
    if 300 <= status < 400:  # noqa: PLR2004
        return f"{account.origin} redirects, and the key goes nowhere else; check the base URL"
    if status in {404, 405}:
        return f"{account.origin} knows no such address; check the base URL, and see .body"
    return f"{account.origin} gave no error object (a proxy may have answered); see .body"


def _request_id(message: str) -> str | None:
    """Find the id where the service is known to hide it (contract Q5)."""
    found = _REQUEST_ID.search(message)
    return found[1] if found else None


def _describe(body: bytes) -> str:
    start = body[:64].lstrip()[:1]
    return "HTML" if start == b"<" else "something else than the contract says"
