"""Relay a generation to a browser, which reconnects, reloads and stops as it should (Starlette).

FastAPI is made of Starlette: the same handlers work there.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypedDict

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from foxapi_async import ChatStream, FoxSession
from foxapi_async.errors import ConfigError, FoxAPIError, InvalidTaskIdError, NotFoundError

PAGE = Path(__file__).with_name("streaming_web.html")
OVER = "over"


class State(TypedDict):
    """What every request finds in ``request.state``."""

    fox: FoxSession


async def page(request: Request) -> Response:
    return FileResponse(PAGE)


async def ask(request: Request) -> Response:
    """Submit, which is billed, and tell the page where to listen."""
    fox: FoxSession = request.state.fox
    prompt = (await request.json())["prompt"]
    handle = await fox.llm.submit(model="gpt-5.5", messages=prompt, stream=True)
    return JSONResponse({"events": f"/events/{handle.id}"})


async def events(request: Request) -> Response:
    """Relay the chunks from the cursor on: of a reconnect in its header, of a reload in the URL."""
    fox: FoxSession = request.state.fox
    cursor = request.headers.get("Last-Event-ID") or request.query_params.get("cursor")
    if cursor == OVER:
        return Response(status_code=204)  # The browser had the last event: do not reconnect.
    task_id: str = request.path_params["task_id"]
    try:
        handle = fox.tasks.handle(task_id)
        await handle.refresh()
        stream = handle.stream(resume=cursor)
    except (InvalidTaskIdError, NotFoundError):
        return Response(status_code=404)
    except ConfigError:
        return Response("this is no cursor", status_code=400)
    except FoxAPIError:
        return Response(status_code=502)
    return StreamingResponse(relay(stream), media_type="text/event-stream")


async def relay(stream: ChatStream) -> AsyncIterator[bytes]:
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


@asynccontextmanager
async def session(app: Starlette) -> AsyncIterator[State]:
    async with FoxSession() as fox:
        yield {"fox": fox}


def make_app() -> Starlette:
    routes = [
        Route("/", page),
        Route("/ask", ask, methods=["POST"]),
        Route("/events/{task_id}", events),
    ]
    return Starlette(routes=routes, lifespan=session)


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(make_app(), host="127.0.0.1", port=8080)
