"""Responses in JSON."""

import msgspec
from aiohttp import web


def json_response(value: object, *, status: int = 200) -> web.Response:
    """Return the response with ``value`` as JSON; ``bytes`` are sent as the JSON that they are."""
    body = value if isinstance(value, bytes) else msgspec.json.encode(value)
    return web.Response(status=status, body=body, content_type="application/json")
