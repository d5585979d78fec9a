"""Sends mutated requests to a real gateway and checks the laws of each response.

``python tests/gateway/fuzzing.py --seconds 600 --seed 7`` runs it alone. Request number N depends
only on the seed and on N: ``--seed 7 --only N`` repeats a request that failed.
"""

import argparse
import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, takewhile
from pathlib import Path
from random import Random, randrange
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, Final

from foxapi_async.gateway import Gateway

KEY: Final = "sk-fuzz-0123456789abcdef"
SUBMIT: Final = "/v1/llm/generations"
# An incomplete request gets no response, so a longer timeout would show nothing more.
_TIMEOUT: Final = 0.5
_LONGEST_REFUSAL: Final = 8192
_STATUS = re.compile(rb"^HTTP/1\.[01] (\d{3}) [^\r\n]*\r\n", re.MULTILINE)
_TASK = re.compile(rb'\r\n\r\n\{"id":"(task-llm-[^"]+)"[^{]*"status":"pending"')
_NAMES: Final = (
    *("Host", "Accept", "Accept-Encoding", "Authorization", "Connection", "Content-Encoding"),
    *("Content-Length", "Content-Type", "Cookie", "Expect", "Last-Event-ID", "Origin", "Range"),
    *("Sec-Fetch-Site", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "X-Forwarded-For"),
)
_TEXTS: Final = (
    *("", " ", "0", "-1", "chunked", "gzip", "deflate", "br", "close", "keep-alive", "identity"),
    *("100-continue", "\xff\xfe", "\x00", "\ufeff", "\t", "[::1]evil.example", "localhost:99999"),
    *("a" * 9000, "a" * 300, "application/json", "text/html; charset=\xff", "Bearer \xff", "ø:1"),
    *("[", "]", "::1", "[::1", "%00", "../..", "localhost@evil.example", "1" * 400, "websocket"),
)
_VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1.5, 10**20, 1e308, "", "x", "\ud800", "\x00", [], {}, [[]]),
    *({"": ""}, ["x"] * 50, {"type": "text"}, {"$ref": "#"}, "[[fail:timeout:2]]", "a" * 5000),
    *("count 1 to 900", "gpt-5.5", "kimi-k2.6", "required", "user", "tool", "text", "json_schema"),
)
_HELLO: Final[dict[str, Any]] = {
    "model": "gpt-5.5",
    "messages": [{"role": "user", "content": "count 1 to 9"}],
}
_BODIES: Final[tuple[dict[str, Any], ...]] = (
    _HELLO,
    _HELLO | {"stream": True, "n": 2, "stop": ["3"], "stream_options": {"include_usage": True}},
    _HELLO | {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
    _HELLO
    | {
        "response_format": {
            "type": "json_schema",
            "json_schema": {
                "name": "answer",
                "schema": {
                    "type": "object",
                    "properties": {
                        "a": {"type": "integer", "minimum": 3},
                        "b": {"$ref": "#/$defs/t"},
                    },
                    "required": ["a", "b"],
                    "$defs": {"t": {"allOf": [{"enum": ["x", "y"]}, {"anyOf": [{}, False]}]}},
                },
            },
        }
    },
    _HELLO
    | {
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "look",
                    "parameters": {"type": "object", "properties": {"q": {"minLength": 3}}},
                },
            }
        ],
        "tool_choice": "required",
    },
)
_PATHS: Final = (
    *("/v1/tasks/task-llm-1-abcdefgh", "/v1/tasks/x?sync_upstream=true", "/healthz", "/nothing"),
    *(f"{SUBMIT}/task-llm-1-abcdefgh/stream?offset=3", "/v1/configs/llm_generations_models"),
    *("/api/pricing", "/api/usage/token/", "/dashboard/billing/usage"),
    *("/_gateway/stats", "/_gateway/clock", "/_gateway/faults", SUBMIT),
)


class LawBrokenError(AssertionError):
    """A request whose response breaks a law."""


@dataclass
class Findings:
    """The results of a run."""

    requests: int = 0
    silent: int = 0
    accepted: set[str] = field(default_factory=set)
    statuses: dict[int, int] = field(default_factory=dict)


def request_of(seed: int, number: int) -> bytes:
    """Return one request: a valid one with up to four mutations."""
    random = Random(f"{seed}/{number}")  # noqa: S311 it must be the same again, not secret
    head, body = _template(random)
    for _ in range(random.choice((0, 1, 1, 2, 4))):
        head, body = random.choice((_change_header, _change_json, _change_line))(random, head, body)
    if not any(line.lower().startswith("content-length") for line in head) and body:
        head.append(f"Content-Length: {len(body)}")
    data = "\r\n".join([*head, "", ""]).encode("latin-1", "replace") + body
    for _ in range(random.choice((0, 0, 0, 1, 3))):
        data = _change_bytes(random, data)
    return data


def _template(random: Random) -> tuple[list[str], bytes]:
    common = ["Host: 127.0.0.1", f"Authorization: Bearer {KEY}", "Connection: close"]
    if random.random() < 0.6:
        body = json.dumps(random.choice(_BODIES)).encode()
        return [f"POST {SUBMIT} HTTP/1.1", *common, "Content-Type: application/json"], body
    return [f"GET {random.choice(_PATHS)} HTTP/1.1", *common], b""


def _change_header(random: Random, head: list[str], body: bytes) -> tuple[list[str], bytes]:
    place = random.randrange(1, len(head) + 1)
    line = f"{random.choice(_NAMES)}: {random.choice(_TEXTS)}"
    return [*head[:place], line, *head[place + random.randrange(2) :]], body


def _change_line(random: Random, head: list[str], body: bytes) -> tuple[list[str], bytes]:
    method, path, version = (*head[0].split(" "), "", "")[:3]
    part = random.randrange(4)
    if part == 0:
        methods = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "\xff")
        method = random.choice(methods)
    elif part == 1:
        path = random.choice((*_PATHS, "*", "http://evil.example/", "/%ff", "/\xff", "//", ""))
    elif part == 2:
        path += random.choice(("?offset=-1", "?offset=\xff", "?%ff=%00", "/..", "#x", "a" * 8200))
    else:
        version = random.choice(("HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "http/1.1", ""))
    return [f"{method} {path} {version}", *head[1:]], body


def _change_json(random: Random, head: list[str], body: bytes) -> tuple[list[str], bytes]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return head, body
    kind = random.randrange(8)
    if kind == 0:
        levels = random.choice((20, 127, 128, 129, 600, 5000))
        opening, closing = random.choice((("[", "]"), ('{"a":', "}")))
        deep = f"{opening * levels}1{closing * levels}"
        return head, b'{"odd": ' + deep.encode() + b", " + body[1:]
    if kind == 1:
        return head, body + random.choice((b"x", b"\xff", b"{}", b"\x00"))
    return head, json.dumps(_with_odd_part(random, value)).encode()


def _with_odd_part(random: Random, value: Any) -> Any:
    """Return ``value`` with one part replaced, doubled, removed or renamed."""
    if isinstance(value, dict) and value and random.random() < 0.8:
        name = random.choice(sorted(value))
        part = value.pop(name)
        action = random.randrange(5)
        if action == 1:
            return value | {random.choice(("", "extra", "\ud800", "$ref", "allOf")): part}
        return value if action == 0 else value | {name: _with_odd_part(random, part)}
    if isinstance(value, list) and value and random.random() < 0.8:
        place = random.randrange(len(value))
        part = _with_odd_part(random, value[place])
        return [*value[:place], *[part] * random.choice((0, 1, 1, 2, 40)), *value[place + 1 :]]
    return random.choice(_VALUES)


def _change_bytes(random: Random, data: bytes) -> bytes:
    first = random.randrange(len(data) + 1)
    end = min(len(data), first + random.choice((0, 1, 2, 16)))
    middle = random.choice(
        (
            b"",
            random.randbytes(random.choice((1, 4))),
            data[first:end] * 2,
            b"\r\n",
            b"\n",
            b"\x00",
            b"\xff\xfe",
        )
    )
    return data[:first] + middle + data[end:]


async def exchange(port: int, data: bytes) -> bytes:
    """Send bytes and return what the gateway sends until it closes or its response is complete."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        writer.write(data)
        async with asyncio.timeout(_TIMEOUT):
            while piece := await reader.read(65536):
                answer += piece
    except (TimeoutError, ConnectionError):
        # The request was incomplete, or the gateway rejected it before all of it was sent.
        pass
    finally:
        writer.transport.abort()
    return answer


def check(data: bytes, answer: bytes, findings: Findings) -> None:
    """Raise ``LawBrokenError`` unless the response to ``data`` is valid."""
    findings.requests += 1
    answers = [item for item in _STATUS.finditer(answer) if not item[1].startswith(b"1")]
    if not answers:
        findings.silent += 1
        return
    for found in answers:
        status = int(found[1])
        findings.statuses[status] = findings.statuses.get(status, 0) + 1
        if not 200 <= status < 500:
            raise LawBrokenError(f"answered with {status}: {answer!r}")
    for task in _TASK.findall(answer):
        if task.decode() in findings.accepted:
            raise LawBrokenError(f"{task!r} was accepted twice")
        findings.accepted.add(task.decode())
    if int(answers[0][1]) >= 400 and not data.startswith(b"HEAD"):
        _check_envelope(answer[answers[0].end() :])


def _check_envelope(rest: bytes) -> None:
    head, _, body = rest.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    if length is None or b"application/json" not in head:
        raise LawBrokenError(f"a refusal without the envelope: {rest!r}")
    body = body[: int(length[1])]
    if len(body) > _LONGEST_REFUSAL:
        raise LawBrokenError(f"a refusal of {len(body)} bytes")
    try:
        error = json.loads(body)["error"]
        is_one = isinstance(error["message"], str) and isinstance(error["type"], str)
    except (ValueError, KeyError, TypeError):
        is_one = False
    if not is_one:
        raise LawBrokenError(f"a refusal without the envelope: {body!r}")


async def run(gateway: Gateway, seed: int, numbers: Iterator[int], workers: int = 16) -> Findings:
    """Send the requests with these numbers, then check the accepted tasks."""
    findings = Findings()

    async def work() -> None:
        for number in numbers:
            data = request_of(seed, number)
            try:
                check(data, await exchange(gateway.port, data), findings)
            except (LawBrokenError, OSError) as error:
                raise LawBrokenError(
                    f"--seed {seed} --only {number}: {error}\nrequest: {data!r}"
                ) from error

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work())
    if len(findings.accepted) > gateway.stats.tasks:
        raise LawBrokenError("an answer speaks of a task that was not made")
    await check_tasks(gateway, findings)
    return findings


async def check_tasks(gateway: Gateway, findings: Findings) -> None:
    """Check that every accepted task ends, and that a valid request still works."""
    headers = f"Host: localhost\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n"
    for task in findings.accepted:
        while True:
            data = f"GET /v1/tasks/{task} HTTP/1.1\r\n{headers}\r\n".encode()
            _, _, body = (await exchange(gateway.port, data)).partition(b"\r\n\r\n")
            if json.loads(body)["status"] in {"completed", "failed"}:
                break
    hello = json.dumps(_HELLO)
    good = (
        f"POST {SUBMIT} HTTP/1.1\r\n{headers}Content-Type: application/json\r\n"
        f"Content-Length: {len(hello)}\r\n\r\n{hello}"
    )
    answer = await exchange(gateway.port, good.encode())
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise LawBrokenError(f"a good request is answered with {answer!r}")


def until(seconds: float) -> Iterator[int]:
    """Count until the timeout."""
    end = monotonic() + seconds
    return takewhile(lambda _: monotonic() < end, count())


async def main(seed: int, numbers: Iterator[int]) -> Findings:
    """Run against a gateway with a data file, close it, and start it again on the same file."""
    with TemporaryDirectory() as folder:
        data = Path(folder) / "fuzz.db"
        async with Gateway(data=data, queue_delay=0, token_delay=0) as gateway:
            findings = await run(gateway, seed, numbers)
        async with Gateway(data=data, queue_delay=0, token_delay=0) as gateway:
            await check_tasks(gateway, findings)
    return findings


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=randrange(10**6))  # noqa: S311 as above
    parser.add_argument("--only", type=int, help="the number of one request to send again")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)  # noqa: T201 this is its output
    chosen = until(options.seconds) if options.only is None else iter([options.only])
    found = asyncio.run(main(options.seed, chosen))
    print(  # noqa: T201
        f"{found.requests} requests, {found.silent} without an answer, "
        f"{len(found.accepted)} tasks, statuses {dict(sorted(found.statuses.items()))}"
    )
