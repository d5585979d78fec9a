"""A server that answers as quickly as Python can: what is measured is the client.

It speaks enough of four protocols: FoxAPI's tasks, OpenAI's chat completions, fal's queue and
replicate's predictions. With ``--looks N`` a task is completed at its Nth GET (fal's result counts
as one), with 0 it never is.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable
from itertools import count
from typing import cast

import process
import uvloop

HEAD = b"HTTP/1.1 %d OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
TASK = (
    b'{"id":"%b","object":"llm.generation.task","type":"llm","model":"gpt-5.5","status":"%b",'
    b'"progress":%d,"created":1776874565,"stream":null,"results":%b,"error":null}'
)
RESULTS = (
    b'[{"id":"chatcmpl-1","object":"chat.completion","created":1776874565,"model":"gpt-5.5",'
    b'"choices":[{"index":0,"message":{"role":"assistant","content":"1, 2, 3"},'
    b'"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":4,"completion_tokens":5,"total_tokens":9}}]'
)
PREDICTION = (
    b'{"id":"%b","model":"a/b","version":"%b","status":"%b","input":{"prompt":"count 1 to 3"},'
    b'"output":%b,"logs":"","error":null,"metrics":{},"created_at":"2026-04-22T16:16:05Z",'
    b'"started_at":null,"completed_at":null,"urls":{"get":"","cancel":""}}'
)
QUEUED = (
    b'{"request_id":"%b","response_url":"%b/fal/a/%b","status_url":"%b/fal/a/%b/status",'
    b'"cancel_url":"%b/fal/a/%b/cancel"}'
)


class Answers:
    """What to answer, and how often each task was asked for."""

    def __init__(self, looks: int) -> None:
        self._looks = looks
        self._seen: dict[bytes, int] = {}
        self._numbers = count()
        self.origin = b""

    def post(self, path: bytes) -> bytes:
        """Accept a task."""
        name = b"task-llm-1776874565-%08d" % next(self._numbers)
        if path.startswith(b"/v1/llm/"):
            return _answer(TASK % (name, b"pending", 0, b"null"))
        if path.startswith(b"/v1/chat/"):
            return _answer(RESULTS[1:-1])
        if path.startswith(b"/v1/predictions"):
            return _answer(PREDICTION % (name, b"v" * 64, b"starting", b"null"), 201)
        return _answer(QUEUED % (name, *(self.origin, name) * 3))

    def get(self, path: bytes) -> bytes:
        """Tell how a task is getting on."""
        name = path.rpartition(b"/")[2]
        if path.startswith(b"/fal/"):
            return self._fal(path, name)
        done = self._is_done(name)
        if path.startswith(b"/v1/predictions/"):
            output = b'["1, 2, 3"]' if done else b"null"
            status = b"succeeded" if done else b"processing"
            return _answer(PREDICTION % (name, b"v" * 64, status, output))
        if done:
            return _answer(TASK % (name, b"completed", 100, RESULTS))
        return _answer(TASK % (name, b"processing", 50, b"null"))

    def _fal(self, path: bytes, name: bytes) -> bytes:
        if name != b"status":
            return _answer(RESULTS)
        # The result is one GET more.
        if self._is_done(path, 1):
            return _answer(b'{"status":"COMPLETED","logs":null,"metrics":{}}')
        return _answer(b'{"status":"IN_PROGRESS","logs":null}')

    def _is_done(self, name: bytes, fewer: int = 0) -> bool:
        if not self._looks:
            return False
        seen = self._seen.pop(name, 0) + 1
        if seen + fewer >= self._looks:
            return True
        self._seen[name] = seen
        return False


def _answer(body: bytes, status: int = 200) -> bytes:
    return HEAD % (status, len(body), body)


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._write: Callable[[bytes], object] | None = None
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        # uvloop's transports are asyncio's by their methods, not by their class.
        self._write = cast("asyncio.Transport", transport).write

    def data_received(self, data: bytes) -> None:
        """Answer as soon as a request is whole."""
        data = self._held + data
        head, end, body = data.partition(b"\r\n\r\n")
        self._held = data
        if not end:
            return
        method, path, _ = head.split(b" ", 2)
        if method == b"POST":
            _, _, rest = head.lower().partition(b"content-length:")
            if len(body) < int(rest.partition(b"\r\n")[0]):
                return
            answer = self._answers.post(path)
        else:
            answer = self._answers.get(path.partition(b"?")[0])
        self._held = b""
        if self._write is not None:
            self._write(answer)


async def main(looks: int) -> None:
    """Serve until standard input ends."""
    process.pin(process.SERVER_CORE)
    loop = asyncio.get_running_loop()
    answers = Answers(looks)
    server = await loop.create_server(lambda: Connection(answers), "127.0.0.1", 0, backlog=1024)
    origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    answers.origin = origin.encode()
    print(origin, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--looks", type=int, default=0)
    uvloop.run(main(parser.parse_args().looks))
