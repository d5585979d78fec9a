"""The gateway, or a bare handler of the same bytes: ``gateway_server.py SUBJECT SETTINGS``."""

import asyncio
import gc
import sys

import msgspec
import process
from aiohttp import web

from foxapi_async._protocol.sse import encode_event
from foxapi_async._wire.base import encode
from foxapi_async._wire.request import GenerationRequest
from foxapi_async._wire.task import StreamRef, UnifiedTask
from foxapi_async.cli.serve import rare_collections
from foxapi_async.gateway import make_app

CHUNK = encode_event(
    "chunk",
    msgspec.json.encode(
        {
            "id": "chatcmpl-1776874565-yq3szvcu",
            "object": "chat.completion.chunk",
            "created": 1776874565,
            "model": "gpt-5.5",
            "choices": [{"index": 0, "delta": {"content": "1234, "}, "finish_reason": None}],
        }
    ),
)
CLOSING = encode_event("done", b'{"total_chunks":100}')
PAGE = 256
"""Chunks that the gateway sends at once when a stream is replayed."""


def bare() -> web.Application:
    """Build a minimal server: decode, keep in a dict, encode; and write chunks."""
    tasks: dict[str, UnifiedTask] = {}
    requests = msgspec.json.Decoder(GenerationRequest)

    async def submit(request: web.Request) -> web.Response:
        generation = requests.decode(await request.read())
        task_id = f"task-llm-1776874565-{len(tasks):08d}"
        stream = StreamRef(url=f"/v1/llm/generations/{task_id}/stream")
        tasks[task_id] = task = UnifiedTask(
            id=task_id,
            object="llm.generation.task",
            type="llm",
            model=generation.model,
            status="pending",
            created=1776874565,
            stream=stream if generation.stream else None,
        )
        return web.Response(body=encode(task), content_type="application/json")

    async def query(request: web.Request) -> web.Response:
        task = tasks[request.match_info["task_id"]]
        return web.Response(body=encode(task), content_type="application/json")

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        count = int(request.query["count"])
        if "pace" in request.query:
            loop = asyncio.get_running_loop()
            pace = float(request.query["pace"])
            due = loop.time() + float(request.query["queue"])
            for _ in range(count):
                due += pace
                await asyncio.sleep(max(0.0, due - loop.time()))
                await response.write(CHUNK)
        else:
            # In as many pieces as the gateway's own, which are joined before they are sent.
            for start in range(0, count, PAGE):
                await response.write(CHUNK * min(PAGE, count - start))
        await response.write(CLOSING)
        await response.write_eof()
        return response

    app = web.Application()
    app.router.add_post("/v1/llm/generations", submit)
    app.router.add_get("/v1/tasks/{task_id}", query)
    app.router.add_get("/v1/llm/generations/{task_id}/stream", stream)
    return app


async def cpu(_: web.Request) -> web.Response:
    """Tell the CPU seconds that this process has used, its threads included."""
    return web.Response(text=str(process.cpu_seconds()))


async def memory(_: web.Request) -> web.Response:
    """Tell the KiB that this process holds once it has collected its garbage."""
    gc.collect()
    return web.Response(text=str(process.resident_bytes() / 1024))


async def serve(subject: str, settings: str) -> None:
    """Serve until standard input ends."""
    app = bare() if subject == "bare" else make_app(**msgspec.json.decode(settings))
    app.router.add_get("/cpu", cpu)
    app.router.add_get("/memory", memory)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=2048).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    process.pin(process.SERVER_CORE)
    # Both servers collect garbage as `foxapi serve` does.
    with rare_collections():
        asyncio.run(serve(*sys.argv[1:]))
