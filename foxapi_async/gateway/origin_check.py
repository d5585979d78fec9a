"""Rejects requests of web pages, and requests of other machines to the admin endpoints.

A gateway on loopback accepts any token, so a web page in the user's browser must not reach it:
neither by a cross-origin request nor by a host name that resolves to 127.0.0.1 (DNS rebinding).
The pages of the setting `allow_origins` may use the endpoints of the service.
"""

import re
from collections.abc import Collection
from typing import Any, Final, cast

from aiohttp import hdrs, web

from foxapi_async.config import is_loopback
from foxapi_async.gateway.api_errors import APIError
from foxapi_async.gateway.auth import APIKeys
from foxapi_async.gateway.cors import ADMIN, CORS
from foxapi_async.gateway.files.stored_file import FILES

_FETCH_SITE: Final = "Sec-Fetch-Site"
_ALLOWED_FETCH_SITES: Final = {"none", "same-origin"}
_PROXY_HEADERS: Final = ("Forwarded", "X-Forwarded-For", "X-Real-IP")
_MAX_CACHED_HOSTS: Final = 64
# An IPv6 address is in brackets. Only a port may follow the name.
_HOST: Final = re.compile(
    r"(?:\[(?P<address>[^\[\]@/?#\s]+)\]|(?P<name>[^\[\]:@/?#\s]+))(?::[0-9]{0,5})?"
)


class OriginCheck:
    """Checks the origin of a request before anything else of the request is read.

    Args:
        keys: The configured keys, which let other machines use the admin endpoints.
        hosts: Host names, beside those of loopback, that a request may be addressed to.
        cors: The web pages that are admitted.
    """

    def __init__(
        self, keys: APIKeys, hosts: Collection[str] = (), cors: CORS | None = None
    ) -> None:
        self._keys = keys
        self._cors = cors or CORS()
        self._hosts = {host.lower() for host in hosts}
        # `Host` headers that passed the check. Real clients send few different ones.
        self._accepted: set[str] = set()

    def check(self, request: web.Request) -> None:
        """Raise a 403 for a request of a web page or one addressed to a foreign host name."""
        headers = request.headers
        if len(headers.getall(hdrs.HOST, ())) > 1:
            raise APIError(400, "send one `Host` header")
        is_page = headers.get(_FETCH_SITE, "none") not in _ALLOWED_FETCH_SITES
        # A page shows the images of links without an `Origin`, and cannot read their bytes.
        if hdrs.ORIGIN in headers or (is_page and not request.path.startswith(FILES)):
            self._check_page(request)
        host = headers.get(hdrs.HOST)
        if host is None or host in self._accepted:
            return
        if self._is_known(host):
            if len(self._accepted) < _MAX_CACHED_HOSTS:
                self._accepted.add(host)
        elif _is_local(_address(request, "sockname")):
            raise APIError(
                403,
                "this gateway accepts the hosts 127.0.0.1 and localhost only; add the host that "
                "the request is addressed to in the setting `hosts`",
            )

    def _check_page(self, request: web.Request) -> None:
        if self._cors.allowed_origin(request) is not None:
            return
        if request.path.startswith(ADMIN):
            raise APIError(403, f"web pages may not use `{ADMIN}` of this gateway")
        origin = request.headers.get(hdrs.ORIGIN)
        shown = "" if origin is None else f": this one has the origin {origin!r}"
        raise APIError(
            403,
            "web pages may not use this gateway; to admit one, add its origin to the setting "
            f"`allow_origins` (foxapi serve --allow-origin){shown}",
        )

    def check_admin(self, request: web.Request) -> None:
        """Raise an error for an admin request of another machine without a key of this gateway."""
        if _is_local(_address(request, "peername")) and not any(
            name in request.headers for name in _PROXY_HEADERS
        ):
            return
        if not self._keys:
            raise APIError(403, "from another machine, `/_gateway` needs an API key to be set")
        self._keys.authenticate_request(request)

    def _is_known(self, host: str) -> bool:
        name = _host_name(host)
        return name is not None and (name in self._hosts or is_loopback(name))


def _host_name(host: str) -> str | None:
    """Return the name in a ``Host`` header without its port, or ``None`` if it is malformed."""
    found = _HOST.fullmatch(host)
    return (found["address"] or found["name"]).lower() if found is not None else None


def _address(request: web.Request, name: str) -> Any:
    return request.transport.get_extra_info(name) if request.transport is not None else None


def _is_local(address: Any) -> bool:
    # A Unix socket has no address tuple; its peer is on this machine.
    if not isinstance(address, tuple) or not address:
        return True
    host = str(cast("tuple[object, ...]", address)[0])
    return is_loopback(host.removeprefix("::ffff:"))
