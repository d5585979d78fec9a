"""Cross-origin resource sharing for the web pages of the setting `allow_origins`."""

import re
from collections.abc import Collection
from typing import Final

from aiohttp import hdrs, web

from foxapi_async.gateway.access_log import REQUEST_ID
from foxapi_async.gateway.api_errors import APIError

ADMIN: Final = "/_gateway"
"""The paths below which no web page is ever admitted."""

# What every page needs. Clients in browsers send more: x-stainless-*, OpenAI-*, Last-Event-ID.
_BASIC_HEADERS: Final = (hdrs.AUTHORIZATION, hdrs.CONTENT_TYPE)
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_MAX_HEADERS: Final = 64
_EXPOSED_HEADERS: Final = f"{REQUEST_ID}, {hdrs.RETRY_AFTER.lower()}"
# Browsers cache the answer to a preflight for two hours at most.
_MAX_AGE: Final = "7200"
# Chrome asks for this before a public page may use an address of this machine.
_WANTS_PRIVATE_NETWORK: Final = "Access-Control-Request-Private-Network"
_ALLOW_PRIVATE_NETWORK: Final = "Access-Control-Allow-Private-Network"


class CORS:
    """Admits the web pages of some origins to the endpoints of the service.

    Args:
        origins: The origins, as browsers write them in the header `Origin`.
    """

    def __init__(self, origins: Collection[str] = ()) -> None:
        self._origins = frozenset(origins)

    def allowed_origin(self, request: web.Request) -> str | None:
        """Return the origin of the page that sent the request, if it is admitted."""
        if not self._origins or _is_admin(request):
            return None
        origins = request.headers.getall(hdrs.ORIGIN, ())
        return origins[0] if len(origins) == 1 and origins[0] in self._origins else None

    def answer_preflight(self, request: web.Request) -> web.Response | None:
        """Return the response to a preflight of an admitted page; `None` for other requests.

        Raises:
            APIError: 404, when there is no such path.
        """
        if (
            request.method != hdrs.METH_OPTIONS
            or hdrs.ACCESS_CONTROL_REQUEST_METHOD not in request.headers
            or self.allowed_origin(request) is None
        ):
            return None
        mismatch = request.match_info.http_exception
        if not isinstance(mismatch, web.HTTPMethodNotAllowed):
            raise APIError(404, "there is nothing at this path")
        headers: dict[str, str] = {
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: ", ".join(sorted(mismatch.allowed_methods)),
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: _allowed_headers(request),
            hdrs.ACCESS_CONTROL_MAX_AGE: _MAX_AGE,
        }
        if request.headers.get(_WANTS_PRIVATE_NETWORK) == "true":
            headers[_ALLOW_PRIVATE_NETWORK] = "true"
        return web.Response(status=204, headers=headers)

    async def on_response_prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """Let the page read a response that is about to be sent (a signal of aiohttp)."""
        if not self._origins or _is_admin(request):
            return
        # A cache must not give the response for one page to another.
        response.headers[hdrs.VARY] = hdrs.ORIGIN
        origin = self.allowed_origin(request)
        if origin is not None:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED_HEADERS


def _allowed_headers(request: web.Request) -> str:
    """Return the names of the headers that the page may send: the basic ones and those it asks for.

    The handlers read no other header, so any name is harmless. A name that is no token of HTTP, or
    comes after the first 64, is left out, and the browser then refuses the request.
    """
    asked = ",".join(request.headers.getall(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, ()))
    names = [name.strip(" \t") for name in asked.split(",", _MAX_HEADERS)[:_MAX_HEADERS]]
    # Names have no case. `*` stands for any name.
    unique = {name.lower(): name for name in names if _HEADER_NAME.fullmatch(name) and name != "*"}
    for name in _BASIC_HEADERS:
        unique.pop(name.lower(), None)
    return ", ".join((*_BASIC_HEADERS, *unique.values()))


def _is_admin(request: web.Request) -> bool:
    return request.path.startswith(ADMIN)
