"""The faults, the routes that they work on and their options.

The reference page is generated from these tables, so their texts address its readers.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct

ROUTES: Final = {
    "submit": "every `POST` of a generation: `/v1/llm/generations` and those of media",
    "query": "`GET /v1/tasks/{task_id}`",
    "stream": "`GET /v1/llm/generations/{task_id}/stream`",
    "models": "`GET /v1/configs/llm_generations_models`",
    "upload": "`POST /v1/files/upload/stream`, `/base64` and `/url`",
    "download": "`GET /files/...`, the links of uploads and of results",
    "any": "all routes",
}
"""The routes that a rule can name."""

_EVERYWHERE: Final = tuple(ROUTES)
# Where the response is one JSON object.
_OBJECTS: Final = ("submit", "query", "models", "upload")


class FaultName(StrEnum):
    """The faults. Other modules use these members, so that each word exists once."""

    STATUS = "status"
    HTML = "html"
    EMPTY = "empty"
    RESET = "reset"
    EXPIRED = "expired"
    TRUNCATED = "truncated"
    SLOW = "slow"
    STALL = "stall"
    EMPTY_RESULT = "empty-result"
    MEMBER = "member"
    FAIL = "fail"
    CUT = "cut"
    TORN = "torn"
    NO_DONE = "no-done"
    WRONG_TOTAL = "wrong-total"
    IGNORE_OFFSET = "ignore-offset"
    IGNORE_RANGE = "ignore-range"
    CHANGED = "changed"
    CRLF = "crlf"
    COMMENTS = "comments"
    UNKNOWN_EVENTS = "unknown-events"


class FaultKind(Struct, frozen=True, kw_only=True):
    """One fault."""

    description: str
    """What the gateway does."""
    routes: tuple[str, ...]
    """The routes that it works on."""
    options: tuple[str, ...] = ()
    """The options of a rule that it uses."""
    replaces_response: bool = False
    """It replaces the response, so only the first rule of this kind acts on a call."""


FAULT_KINDS: Final[Mapping[str, FaultKind]] = {
    FaultName.STATUS: FaultKind(
        description=(
            "Responds with an error in the envelope of the service. `submit:503` is short for "
            "`submit:status:status=503`."
        ),
        routes=_EVERYWHERE,
        options=("status", "code", "message", "retry_after", "late"),
        replaces_response=True,
    ),
    FaultName.HTML: FaultKind(
        description=(
            "Responds with an HTML page, as a proxy or a login portal does. The default status "
            "is 200."
        ),
        routes=_EVERYWHERE,
        options=("status", "late"),
        replaces_response=True,
    ),
    FaultName.EMPTY: FaultKind(
        description="Responds without a body. The default status is 200.",
        routes=_EVERYWHERE,
        options=("status", "late"),
        replaces_response=True,
    ),
    FaultName.RESET: FaultKind(
        description=(
            "Resets the connection after the request was received. The request is processed "
            "only with `late`."
        ),
        routes=_EVERYWHERE,
        options=("late",),
        replaces_response=True,
    ),
    FaultName.EXPIRED: FaultKind(
        description=(
            "Responds with 404, as after the retention of the task or of its stream, and with 410 "
            "for the link of a file."
        ),
        routes=("query", "stream", "download"),
        replaces_response=True,
    ),
    FaultName.TRUNCATED: FaultKind(
        description=(
            "Announces the length of the whole body, sends `size` bytes of it (default: half) "
            "and closes the connection."
        ),
        routes=(*_OBJECTS, "download"),
        options=("size",),
        replaces_response=True,
    ),
    FaultName.SLOW: FaultKind(
        description=(
            "Sends the body in pieces of `size` bytes and waits `seconds` (default: 1) before "
            "each. The pieces of a stream may end in the middle of an event."
        ),
        routes=_EVERYWHERE,
        options=("seconds", "size"),
    ),
    FaultName.STALL: FaultKind(
        description=(
            "Sends nothing for `seconds`, or until the client disconnects. A stream stalls "
            "before chunk number `chunk`, or after `each` chunks of the connection; a download "
            "stalls after `size` bytes (default: half)."
        ),
        routes=_EVERYWHERE,
        options=("seconds", "chunk", "each", "size", "late"),
    ),
    FaultName.EMPTY_RESULT: FaultKind(
        description=(
            "Shows a completed task without results in its first `polls` (default: 3) queries."
        ),
        routes=("query",),
        options=("polls",),
    ),
    FaultName.MEMBER: FaultKind(
        description=(
            "Removes `member` from the JSON object of the response, or sets it to `value`, as "
            "in `submit:member:member=status` and "
            '`query:member:member=status,value="canceled"`. Error responses are not changed.'
        ),
        routes=_OBJECTS,
        options=("member", "value"),
    ),
    FaultName.FAIL: FaultKind(
        description="Creates a task that fails with `code` after writing `chunk` tokens.",
        routes=("submit",),
        options=("code", "chunk"),
    ),
    FaultName.CUT: FaultKind(
        description=(
            "Closes the connection before chunk number `chunk`, or after `each` chunks of the "
            "connection."
        ),
        routes=("stream",),
        options=("chunk", "each"),
    ),
    FaultName.TORN: FaultKind(
        description="Like `cut`, but sends half of the next event first.",
        routes=("stream",),
        options=("chunk", "each"),
    ),
    FaultName.NO_DONE: FaultKind(
        description="Ends the stream cleanly without its last event.",
        routes=("stream",),
    ),
    FaultName.WRONG_TOTAL: FaultKind(
        description="Reports `total` chunks in the last event (default: one too many).",
        routes=("stream",),
        options=("total",),
    ),
    FaultName.IGNORE_OFFSET: FaultKind(
        description="Sends the stream from its beginning and ignores `offset`.",
        routes=("stream",),
    ),
    FaultName.IGNORE_RANGE: FaultKind(
        description="Ignores the header `Range` and sends the whole file with 200.",
        routes=("download",),
    ),
    FaultName.CHANGED: FaultKind(
        description=(
            "Sends other bytes with another `ETag`, as if the file had been replaced by one of the "
            "same size."
        ),
        routes=("download",),
    ),
    FaultName.CRLF: FaultKind(description="Ends lines with CR LF.", routes=("stream",)),
    FaultName.COMMENTS: FaultKind(
        description="Sends comments, `id` and `retry` lines between the events.", routes=("stream",)
    ),
    FaultName.UNKNOWN_EVENTS: FaultKind(
        description="Sends events with an unknown name between the others.", routes=("stream",)
    ),
}
"""The faults by name."""

CONDITIONS: Final = {
    "nth": "only the call of this number; the first is 1",
    "every": "only calls whose number is a multiple of this",
    "probability": "calls with this probability, from 0 to 1; the seed decides which",
    "times": "at most this many calls",
    "model": "only calls about tasks of this model",
    "task": "only calls about the task with this id",
}
"""The members that select the calls on which a rule acts."""

OPTIONS: Final = {
    "status": "the HTTP status, 200 to 599",
    "code": "the `error.code`",
    "message": "the `error.message`",
    "retry_after": "the seconds of the header `Retry-After`",
    "late": "process the request and change only the response: a late submit creates its task",
    "seconds": "a time in seconds",
    "size": "a number of bytes",
    "polls": "a number of queries of each task",
    "chunk": "the number of a chunk (the first is 0), or a number of tokens",
    "each": "a number of chunks of one connection",
    "total": "a number of chunks",
    "member": "the name of a member of the response",
    "value": "the value of the member as JSON; without it the member is removed",
}
"""The members that are options of a fault."""
