"""The faults that there are, the routes that they fit and what can be told about each.

The reference of the documentation is made of these tables, so they are written for its readers.
"""

from typing import Final

from msgspec import Struct

ROUTES: Final = {
    "submit": "`POST /v1/llm/generations`",
    "query": "`GET /v1/tasks/{task_id}`",
    "stream": "`GET /v1/llm/generations/{task_id}/stream`",
    "models": "`GET /v1/configs/llm_generations_models`",
    "any": "each of the four",
}
"""The routes that a rule can name."""

_EVERYWHERE: Final = tuple(ROUTES)


class FaultKind(Struct, frozen=True, kw_only=True):
    """One fault. ``takes`` names the members of a rule that it reads.

    One that ``answers`` takes the place of the answer, so only the first of its kind acts on a
    call; others add to what is sent.
    """

    does: str
    routes: tuple[str, ...]
    takes: tuple[str, ...] = ()
    answers: bool = False


KINDS: Final = {
    "status": FaultKind(
        does="Answers with an error of the service, in its envelope. `submit:503` is short for "
        "`submit:status:status=503`.",
        routes=_EVERYWHERE,
        takes=("status", "code", "message", "retry_after", "late"),
        answers=True,
    ),
    "html": FaultKind(
        does="Answers with a page of HTML, as a proxy or a login portal would; the status is 200 "
        "unless told.",
        routes=_EVERYWHERE,
        takes=("status", "late"),
        answers=True,
    ),
    "empty": FaultKind(
        does="Answers with no body at all; the status is 200 unless told.",
        routes=_EVERYWHERE,
        takes=("status", "late"),
        answers=True,
    ),
    "reset": FaultKind(
        does="Resets the connection. The request has arrived, and what it asks for is done only "
        "if the fault is `late`.",
        routes=_EVERYWHERE,
        takes=("late",),
        answers=True,
    ),
    "expired": FaultKind(
        does="Answers 404, as if the retention of the task or of its stream were over.",
        routes=("query", "stream"),
        answers=True,
    ),
    "truncated": FaultKind(
        does="Breaks the answer off after `size` bytes, or half of it, with the length of the "
        "whole announced.",
        routes=("submit", "query", "models"),
        takes=("size",),
        answers=True,
    ),
    "slow": FaultKind(
        does="Sends the body in pieces of `size` bytes, `seconds` (1 unless told) before each "
        "piece. A stream is cut into pieces in the middle of its events.",
        routes=_EVERYWHERE,
        takes=("seconds", "size"),
    ),
    "stall": FaultKind(
        does="Sends nothing for `seconds`, or until the client leaves. A stream stands still "
        "before chunk number `chunk`, or after `each` chunks of the connection.",
        routes=_EVERYWHERE,
        takes=("seconds", "chunk", "each", "late"),
    ),
    "hollow": FaultKind(
        does="Tells of a completed task without its results, in the first `polls` (3 unless told) "
        "queries after its end.",
        routes=("query",),
        takes=("polls",),
    ),
    "member": FaultKind(
        does="Leaves `member` out of the JSON object that is answered, or gives it the `value`, as "
        'in `submit:member:member=status` and `query:member:member=status,value="canceled"`. '
        "Errors are answered as ever.",
        routes=("submit", "query", "models"),
        takes=("member", "value"),
    ),
    "fail": FaultKind(
        does="Lets the task that is created fail with `code`, after writing `chunk` tokens.",
        routes=("submit",),
        takes=("code", "chunk"),
    ),
    "cut": FaultKind(
        does="Closes the connection before chunk number `chunk`, or after `each` chunks of the "
        "connection.",
        routes=("stream",),
        takes=("chunk", "each"),
    ),
    "torn": FaultKind(
        does="As `cut`, but half of the next event is sent first.",
        routes=("stream",),
        takes=("chunk", "each"),
    ),
    "no-done": FaultKind(
        does="Ends the stream cleanly without its last event.",
        routes=("stream",),
    ),
    "wrong-total": FaultKind(
        does="Says `total` chunks in the last event, or one too many.",
        routes=("stream",),
        takes=("total",),
    ),
    "ignore-offset": FaultKind(
        does="Sends the stream from its beginning, whatever `offset` asks for.",
        routes=("stream",),
    ),
    "crlf": FaultKind(does="Ends lines by CR LF.", routes=("stream",)),
    "comments": FaultKind(
        does="Puts comments, `id` and `retry` lines between the events.", routes=("stream",)
    ),
    "unknown-events": FaultKind(
        does="Puts events of a name that nobody knows between the others.", routes=("stream",)
    ),
}
"""The faults by name."""

WHEN: Final = {
    "nth": "only the `nth` call that the rule is about; the first is 1",
    "every": "only each `every`-th such call",
    "probability": "such a call with this chance, between 0 and 1; drawn from the seed",
    "times": "at most so many calls in all",
    "model": "only calls about tasks of this model",
    "task": "only calls about the task of this id",
}
"""The members that say on which calls a rule acts. What is not given does not restrict it."""

HOW: Final = {
    "status": "the HTTP status, 200 to 599",
    "code": "the `error.code`",
    "message": "the `error.message`",
    "retry_after": "the seconds of a header `Retry-After`",
    "late": "do what was asked first and spoil only the answer: a late submit has made its task",
    "seconds": "how long",
    "size": "a number of bytes",
    "polls": "a number of queries, counted for each task",
    "chunk": "a chunk of the stream, or a number of tokens; the first is 0",
    "each": "a number of chunks of one connection",
    "total": "a number of chunks",
    "member": "the name of a member of the answer",
    "value": "what the member is, written as JSON; without it the member is absent",
}
"""The members that say how a fault goes."""
