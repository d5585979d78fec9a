"""Fetches the file of a URL that a client names."""

import asyncio
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from socket import AddressFamily
from typing import Final
from urllib.parse import urljoin

import aiohttp
from aiohttp import hdrs
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from foxapi_async._version import __version__
from foxapi_async.gateway.api_errors import APIError
from foxapi_async.gateway.files.file_storage import Draft

_PIECE: Final = 256 * 1024
_MAX_URL: Final = 8192
_MAX_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_SUCCESS: Final = range(200, 300)
_TIMEOUT: Final = aiohttp.ClientTimeout(total=300, sock_connect=10, sock_read=30)
# Translates an IPv4 address into one of IPv6.
_NAT64: Final = IPv6Network("64:ff9b::/96")


class RemoteFiles:
    """Fetches files over HTTP, without cookies, keys or the proxies of the environment."""

    async def fetch(self, url: str, draft: Draft, *, allow_private: bool) -> None:
        """Write the file of a URL into a draft.

        Args:
            url: The URL.
            draft: Where the bytes go; it bounds them.
            allow_private: Whether the URL may lead to addresses that are not public.

        Raises:
            APIError: 400, when the URL cannot be fetched; 413, when the file is too large.
        """
        resolver = aiohttp.ThreadedResolver()
        connector = aiohttp.TCPConnector(
            resolver=resolver if allow_private else _PublicResolver(resolver), force_close=True
        )
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                hdrs.USER_AGENT: f"foxapi-async/{__version__}",
                hdrs.ACCEPT_ENCODING: "identity",
            },
            timeout=_TIMEOUT,
            # A compressed file is stored as it is: what is small here may be huge unpacked.
            auto_decompress=False,
        ) as session:
            try:
                await _follow(session, url, draft, allow_private=allow_private)
            except (TimeoutError, aiohttp.ClientError, OSError) as error:
                reason = str(error) if isinstance(error, _PrivateAddressError) else _cause(error)
                raise APIError(400, f"`url` cannot be fetched: {reason}") from None


class _PrivateAddressError(OSError):
    """A name or an address is not one of the public internet."""


class _PublicResolver(AbstractResolver):
    """Refuses names with addresses that are not public. The connection is made to what it saw."""

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: AddressFamily = AddressFamily.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a name."""
        found = await self._resolver.resolve(host, port, family)
        for item in found:
            _check_public(item["host"])
        return found

    async def close(self) -> None:
        """Close the resolver."""
        await self._resolver.close()


async def _follow(
    session: aiohttp.ClientSession, url: str, draft: Draft, *, allow_private: bool
) -> None:
    for _ in range(_MAX_REDIRECTS + 1):
        target = _parse(url)
        if not allow_private and target.host is not None:
            _check_literal(target.host)
        async with session.get(target, allow_redirects=False) as response:
            location = response.headers.get(hdrs.LOCATION)
            if response.status in _REDIRECTS and location is not None:
                url = urljoin(url, location)
                continue
            if response.status not in _SUCCESS:
                raise APIError(400, f"`url` answered with the status {response.status}")
            async for piece in response.content.iter_chunked(_PIECE):
                await draft.write(piece)
            return
    raise APIError(400, f"`url` leads through more than {_MAX_REDIRECTS} redirects")


def _parse(url: str) -> URL:
    try:
        parsed = URL(url)
    except ValueError:
        parsed = URL()
    has_user = parsed.user is not None or parsed.password is not None
    if parsed.scheme not in {"http", "https"} or not parsed.host or has_user or len(url) > _MAX_URL:
        raise APIError(400, "`url` must be an http(s) URL without a user name")
    return parsed


def _check_literal(host: str) -> None:
    """Check a host that is an address; the resolver sees names only."""
    try:
        ip_address(host)
    except ValueError:
        return
    _check_public(host)


def _check_public(address: str) -> None:
    if not is_public(ip_address(address.partition("%")[0])):
        raise _PrivateAddressError("it leads to an address that is not public")


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Tell whether an address is one of the public internet."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast


def _cause(error: Exception) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return "it took too long"
    if isinstance(error, aiohttp.ClientConnectorError | OSError):
        return "there is no connection to it"
    return "its response cannot be read"
