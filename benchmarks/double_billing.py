"""How many POSTs does one billed call become when the network fails and goes on failing?

Every SDK is used as its documentation says, with its own retries, against a server of bytes that
counts the POSTs which arrived whole: each of them may have been accepted, and billed. Nothing is
timed, so all runs of an SDK go on at once.
"""

import argparse
import asyncio
import json
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import process
import report

PATIENCE: Final = 1.0
LONGEST: Final = 180.0
HTML: Final = b"Content-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
OK: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"


def status(code: int) -> bytes:
    """Return a refusal as a proxy would word it."""
    return f"HTTP/1.1 {code} So\r\n".encode() + HTML


@dataclass(frozen=True)
class Fault:
    """What the server sends when a request has arrived whole, and what it does then."""

    answer: bytes = b""
    then: str = "close"


FAULTS: Final = {
    "reset after the request": Fault(then="reset"),
    "closed after the request": Fault(),
    "reset after the answer's first byte": Fault(b"H", then="reset"),
    "closed after half the body": Fault(OK + b'{"id": "'),
    f"no answer for {PATIENCE:g} s": Fault(then="wait"),
    "garbage": Fault(b"\x16\x03\x01\x00 garbage\r\n\r\n"),
    "HTML with 200": Fault(status(200)),
    "408": Fault(status(408)),
    "500": Fault(status(500)),
    "502": Fault(status(502)),
    "503": Fault(status(503)),
    "504": Fault(status(504)),
}


@dataclass
class Server:
    """Breaks every exchange in the same way, and counts."""

    fault: Fault
    posts: int = 0
    keyed: int = 0
    url: str = ""
    peers: list[asyncio.StreamWriter] = field(default_factory=list)
    ended: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, which is good for one request."""
        self.peers.append(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            await _body(reader, head)
            self.posts += head.startswith("post ")
            self.keyed += "\r\nidempotency-key:" in head
            writer.write(self.fault.answer)
            await writer.drain()
            if self.fault.then == "wait":
                await reader.read()
            elif self.fault.then == "reset":
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, linger
                )
        except (ConnectionError, asyncio.IncompleteReadError):
            # The client may leave whenever it likes.
            pass
        finally:
            writer.close()
            self.peers.remove(writer)
            async with self.ended:
                self.ended.notify_all()

    async def aclose(self) -> None:
        """End what is open, and wait until it has ended."""
        for writer in self.peers:
            writer.close()
        async with self.ended:
            await self.ended.wait_for(lambda: not self.peers)


async def _body(reader: asyncio.StreamReader, head: str) -> None:
    fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    if "content-length" in fields:
        await reader.readexactly(int(fields["content-length"]))
        return
    while size := int(await reader.readline(), 16):
        await reader.readexactly(size + 2)
    await reader.readline()


async def foxapi(url: str) -> None:
    """Submit a generation."""
    from foxapi_async import FoxSession, Timeouts

    timeouts = Timeouts(submit=PATIENCE)
    async with FoxSession("sk-local", base_url=url, timeouts=timeouts) as fox:
        await fox.llm.submit(model="gpt-5.5", messages="count 1 to 3")


async def fal(url: str) -> None:
    """Submit to the queue."""
    from fal_client import AsyncClient, client

    # Its host can be set, its scheme cannot: this is the one place where an SDK is touched.
    client.QUEUE_URL_FORMAT = f"{url}/"
    queue = AsyncClient(key="local", default_timeout=PATIENCE)
    await queue.submit("fal-ai/any", arguments={"prompt": "a fox"})


async def openai(url: str) -> None:
    """Ask for a chat completion."""
    from openai import AsyncOpenAI

    async with AsyncOpenAI(api_key="local", base_url=f"{url}/v1", timeout=PATIENCE) as client:
        await client.chat.completions.create(
            model="gpt-5.5", messages=[{"role": "user", "content": "count 1 to 3"}]
        )


async def anthropic(url: str) -> None:
    """Ask for a message."""
    from anthropic import AsyncAnthropic

    async with AsyncAnthropic(api_key="local", base_url=url, timeout=PATIENCE) as client:
        await client.messages.create(
            model="claude-opus-4-7",
            max_tokens=64,
            messages=[{"role": "user", "content": "count 1 to 3"}],
        )


async def runwayml(url: str) -> None:
    """Create a video task."""
    from runwayml import AsyncRunwayML

    async with AsyncRunwayML(api_key="local", base_url=url, timeout=PATIENCE) as client:
        await client.image_to_video.create(
            model="gen4_turbo",
            prompt_image="https://example.com/fox.png",
            ratio="1280:720",
            duration=5,
        )


async def replicate(url: str) -> None:
    """Create a prediction."""
    import httpx
    from replicate.client import Client

    token = "local"
    client = Client(api_token=token, base_url=url, timeout=httpx.Timeout(PATIENCE))
    await client.predictions.async_create(version="0" * 64, input={"prompt": "a fox"})


SUBJECTS: Final[dict[str, Callable[[str], Awaitable[None]]]] = {
    "foxapi-async": foxapi,
    "fal-client": fal,
    "openai": openai,
    "anthropic": anthropic,
    "runwayml": runwayml,
    "replicate": replicate,
}

GLOBAL: Final = frozenset({"fal-client"})


async def count(subject: str, fault: Fault) -> dict[str, Any]:
    """Make one call of one SDK under one fault; tell what the server saw and the caller got."""
    server = Server(fault)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        async with asyncio.timeout(LONGEST):
            await SUBJECTS[subject](server.url)
        ended = "no error"
    except Exception as error:  # noqa: BLE001 whatever the SDK raises is what its user sees
        ended = type(error).__name__
    finally:
        listening.close()
        await server.aclose()
    return {"posts": server.posts, "with_key": server.keyed, "ended": ended}


async def apart(subject: str, fault: str) -> dict[str, Any]:
    """Count in a process of its own, for an SDK whose host is a global."""
    words = ("--subject", subject, "--fault", fault)
    return await asyncio.to_thread(process.measured, Path(__file__), *words)


async def run() -> dict[str, dict[str, dict[str, Any]]]:
    """Count every SDK under every fault."""

    async def subject(name: str) -> dict[str, dict[str, Any]]:
        runs = (
            apart(name, fault) if name in GLOBAL else count(name, FAULTS[fault]) for fault in FAULTS
        )
        return dict(zip(FAULTS, await asyncio.gather(*runs), strict=True))

    return {name: await subject(name) for name in SUBJECTS}


def main() -> int:
    """Count, print, write the JSON and the table of the docs; 1 if a call of ours became two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subject", choices=SUBJECTS, help="count this SDK alone, as JSON")
    parser.add_argument("--fault", choices=FAULTS, help="under this fault")
    chosen = parser.parse_args()
    if chosen.subject and chosen.fault:
        print(json.dumps(asyncio.run(count(chosen.subject, FAULTS[chosen.fault]))))
        return 0
    counted = asyncio.run(run())
    head = ("fault", *SUBJECTS)
    rows = [(fault, *(str(counted[name][fault]["posts"]) for name in SUBJECTS)) for fault in FAULTS]
    print(report.table(head, rows))
    report.figures("double_billing", head, rows)
    worst = max(run["posts"] for run in counted["foxapi-async"].values())
    goals = (report.Goal("POSTs of one call of ours, at worst", worst, at_most=1),)
    report.write(
        "double_billing",
        "How many POSTs does one billed call become when the network fails and goes on failing?",
        {
            "peers": {name: version(name) for name in SUBJECTS if name != "foxapi-async"},
            "counted": counted,
        },
        goals=goals,
    )
    return report.print_goals(goals)


if __name__ == "__main__":
    sys.exit(main())
