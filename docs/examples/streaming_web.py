"""Relay a generation to a browser, which reconnects, reloads and stops as it should (aiohttp)."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

from aiohttp import web

from foxapi_async import ChatStream, FoxSession
from foxapi_async.errors import ConfigError, FoxAPIError, InvalidTaskIdError, NotFoundError

FOX = web.AppKey("fox", FoxSession)
PAGE = Path(__file__).with_name("streaming_web.html")
OVER = "over"


async def page(request: web.Request) -> web.StreamResponse:
    return web.FileResponse(PAGE)


async def ask(request: web.Request) -> web.Response:
    """Submit, which is billed, and tell the page where to listen."""
    prompt = (await request.json())["prompt"]
    handle = await request.app[FOX].llm.submit(model="gpt-5.5", messages=prompt, stream=True)
    return web.json_response({"events": f"/events/{handle.id}"})


async def events(request: web.Request) -> web.StreamResponse:
    """Relay the chunks from the cursor on: of a reconnect in its header, of a reload in the URL."""
    cursor = request.headers.get("Last-Event-ID") or request.query.get("cursor")
    if cursor == OVER:
        return web.Response(status=204)  # The browser had the last event: do not reconnect.
    try:
        handle = request.app[FOX].tasks.handle(request.match_info["task_id"])
        await handle.refresh()
        stream = handle.stream(resume=cursor)
    except (InvalidTaskIdError, NotFoundError):
        return web.Response(status=404)
    except ConfigError:
        return web.Response(status=400, text="this is no cursor")
    except FoxAPIError:
        return web.Response(status=502)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    async with aclosing(relay(stream)) as relayed:
        async for event in relayed:
            await response.write(event)
    return response


async def relay(stream: ChatStream) -> AsyncGenerator[bytes]:
    """Write each delta as an event whose id is its cursor. The last event ends it for good."""
    try:
        async with stream:
            async for delta in stream:
                yield sse("message", stream.cursor, text=delta.text)
        yield sse("end", OVER)
    except FoxAPIError as error:
        # The status is sent already, so that only an event can tell.
        reason = getattr(error, "code", None) or type(error).__name__
        yield sse("error", OVER, message=f"The answer broke off: {reason}")


def sse(name: str, id: str, **data: str) -> bytes:
    return f"event: {name}\nid: {id}\ndata: {json.dumps(data)}\n\n".encode()


async def session(app: web.Application) -> AsyncIterator[None]:
    async with FoxSession() as app[FOX]:
        yield


def make_app() -> web.Application:
    app = web.Application()
    app.add_routes(
        [web.get("/", page), web.post("/ask", ask), web.get("/events/{task_id}", events)]
    )
    app.cleanup_ctx.append(session)
    return app


if __name__ == "__main__":
    # A visitor that disconnects cancels the handler, which closes the stream at once.
    web.run_app(make_app(), host="127.0.0.1", port=8080, handler_cancellation=True)
