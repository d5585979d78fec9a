"""Through which door a request came: what keeps web pages and other machines out.

A gateway on loopback lets any token in, so that it must be sure that no web page in the user's
browser speaks to it: neither one that sends across origins, nor one that had its name resolved to
127.0.0.1 meanwhile (DNS rebinding).
"""

import re
from collections.abc import Collection
from typing import Any, Final, cast

from aiohttp import hdrs, web

from foxapi_async.config import is_loopback
from foxapi_async.gateway.api_errors import APIError
from foxapi_async.gateway.auth import APIKeys

_FETCH_SITE: Final = "Sec-Fetch-Site"
_OWN_FETCHES: Final = {"none", "same-origin"}
_PROXIES: Final = ("Forwarded", "X-Forwarded-For", "X-Real-IP")
_MOST_HOSTS: Final = 64
# An address of IPv6 stands in brackets. Nothing but a port may follow a name.
_HOST: Final = re.compile(
    r"(?:\[(?P<address>[^\[\]@/?#\s]+)\]|(?P<name>[^\[\]:@/?#\s]+))(?::[0-9]{0,5})?"
)


class OriginCheck:
    """Checks where a request comes from, before anything of it is looked at.

    ``hosts`` are names beside those of loopback under which the gateway may be addressed.
    """

    def __init__(self, keys: APIKeys, hosts: Collection[str] = ()) -> None:
        self._keys = keys
        self._hosts = {host.lower() for host in hosts}
        # The few spellings that clients really send, once each was found to be good.
        self._seen: set[str] = set()

    def check(self, request: web.Request) -> None:
        """Refuse what a browser sends for a page, and what was sent to another host's name."""
        headers = request.headers
        if len(headers.getall(hdrs.HOST, ())) > 1:
            raise APIError(400, "send one `Host` header")
        if hdrs.ORIGIN in headers or headers.get(_FETCH_SITE, "none") not in _OWN_FETCHES:
            raise APIError(403, "web pages may not use this gateway")
        host = headers.get(hdrs.HOST)
        if host is None or host in self._seen:
            return
        if not self._is_expected(host) and _is_here(_end(request, "sockname")):
            raise APIError(
                403,
                "this gateway answers to 127.0.0.1 and localhost, not to the host that was asked "
                "for; name further ones in the setting `hosts`",
            )
        if self._is_expected(host) and len(self._seen) < _MOST_HOSTS:
            self._seen.add(host)

    def check_control(self, request: web.Request) -> None:
        """Refuse control to other machines, unless they have a key of this gateway."""
        if _is_here(_end(request, "peername")) and not any(
            name in request.headers for name in _PROXIES
        ):
            return
        if not self._keys:
            raise APIError(403, "from another machine, `/_gateway` needs an API key to be set")
        self._keys.admit(request.headers.get(hdrs.AUTHORIZATION))

    def _is_expected(self, host: str) -> bool:
        name = _name_of(host)
        return name is not None and (name in self._hosts or is_loopback(name))


def _name_of(host: str) -> str | None:
    """Return the name in a ``Host`` header without its port; ``None`` if it is no such header."""
    found = _HOST.fullmatch(host)
    return (found["address"] or found["name"]).lower() if found is not None else None


def _end(request: web.Request, name: str) -> Any:
    return request.transport.get_extra_info(name) if request.transport is not None else None


def _is_here(address: Any) -> bool:
    # A Unix socket has no address, and is of this machine.
    if not isinstance(address, tuple) or not address:
        return True
    host = str(cast("tuple[object, ...]", address)[0])
    return is_loopback(host.removeprefix("::ffff:"))
