"""Relay a generation to a browser as server-sent events, and let the browser reconnect."""

import asyncio
import json

import aiohttp
from aiohttp import web

from foxapi_async import FoxSession

FOX = web.AppKey("fox", FoxSession)


async def ask(request: web.Request) -> web.Response:
    """Submit, and tell the browser where to listen."""
    handle = await request.app[FOX].llm.submit(
        model="gpt-5.5", messages=(await request.json())["prompt"], stream=True
    )
    return web.json_response({"events": f"/events/{handle.id}"})


async def events(request: web.Request) -> web.StreamResponse:
    """Relay the chunks. The id of each event is a cursor, which a browser sends back by itself."""
    handle = request.app[FOX].tasks.handle(request.match_info["task_id"])
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    # A visitor who leaves cancels this handler, or fails the write: either closes the stream.
    async with handle.stream(resume=request.headers.get("Last-Event-ID")) as stream:
        async for delta in stream:
            data = json.dumps({"text": delta.text})
            await response.write(f"id: {stream.cursor}\ndata: {data}\n\n".encode())
    await response.write(b"event: end\ndata: {}\n\n")
    return response


async def session(app: web.Application) -> None:
    app[FOX] = FoxSession()


async def close(app: web.Application) -> None:
    await app[FOX].aclose()


def make_app() -> web.Application:
    app = web.Application()
    app.add_routes([web.post("/ask", ask), web.get("/events/{task_id}", events)])
    app.on_startup.append(session)
    app.on_cleanup.append(close)
    return app


async def main() -> None:
    """Serve one visitor who loses the connection after the first event."""
    runner = web.AppRunner(make_app(), handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession(url) as browser:
        async with browser.post("/ask", json={"prompt": "count 1 to 5"}) as answer:
            path = (await answer.json())["events"]
        async with browser.get(path) as answer:
            last = (await answer.content.readline()).decode().removeprefix("id: ").strip()
            print((await answer.content.readline()).decode().strip())
        async with browser.get(path, headers={"Last-Event-ID": last}) as answer:
            print(await answer.text())
    await runner.cleanup()


asyncio.run(main())
