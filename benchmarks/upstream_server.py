"""A canned OpenAI-compatible server, or a gateway in front of one: ``upstream_server.py canned``.

The canned server writes a chunk each ``pace`` seconds, without inference. Each chunk has the time
at which it was written, so that a client on the same machine knows how old it is.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from time import perf_counter

import process
from aiohttp import web
from gateway_server import cpu

from foxapi_async.cli.serve import rare_collections
from foxapi_async.gateway import Upstream, make_app


def chunk(content: str | None, finish_reason: str | None = None) -> bytes:
    """Return one event of a chat completion."""
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish_reason}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: " + json.dumps(head | {"choices": [choice]}).encode() + b"\n\n"


async def events(chunks: int, pace: float) -> AsyncIterator[bytes]:
    """Yield the events of one answer when they are due."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    for _ in range(chunks):
        due += pace
        await asyncio.sleep(max(0.0, due - loop.time()))
        yield chunk(f"{perf_counter():.6f} ")
    yield chunk(None, "stop")
    yield b"data: [DONE]\n\n"


def canned(chunks: int, pace: float) -> web.Application:
    """Build the canned server."""

    async def complete(request: web.Request) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        async for event in events(chunks, pace):
            await response.write(event)
        await response.write_eof()
        return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    return app


def gateway(url: str, concurrency: int) -> web.Application:
    """Build a gateway in front of a server."""
    upstream = Upstream(
        url=url, models={"m": "m"}, key_env="FOXAPI_BENCH_UPSTREAM_KEY", concurrency=concurrency
    )
    return make_app(upstreams=[upstream])


async def serve(app: web.Application) -> None:
    """Serve until standard input ends."""
    app.router.add_get("/cpu", cpu)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=2048).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    subject, first, second = sys.argv[1:]
    with rare_collections():
        if subject == "canned":
            # On the core of the client: the gateway has the other one.
            process.pin(process.CLIENT_CORE)
            asyncio.run(serve(canned(int(first), float(second))))
        else:
            process.pin(process.SERVER_CORE)
            asyncio.run(serve(gateway(first, int(second))))
