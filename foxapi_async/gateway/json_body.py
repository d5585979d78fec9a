"""The JSON bodies of requests."""

from aiohttp import web

from foxapi_async.gateway.api_errors import APIError


async def read_json_body(request: web.Request) -> bytes:
    """Return the body of a request that says that it sends JSON; it is not parsed yet.

    Raises:
        APIError: 400, for another content type.
    """
    if request.content_type != "application/json":
        raise APIError(400, "send JSON with the header `Content-Type: application/json`")
    return await request.read()
