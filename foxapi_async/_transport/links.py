"""GETs of links, which may lead anywhere: without the key, and never into a private network."""

import asyncio
import socket
from collections.abc import Mapping
from ssl import SSLContext
from typing import Final, Protocol, final

import aiohttp
import yarl
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver
from msgspec import Struct

from foxapi_async._clock import Clock
from foxapi_async._protocol.address import (
    AddressClass,
    address_class,
    is_local_host,
    refused_hop,
)
from foxapi_async._protocol.resume import ResponseFacts, Version
from foxapi_async._protocol.retry import FailureFacts, parse_retry_after
from foxapi_async._transport.account import USER_AGENT, Account
from foxapi_async._transport.connections import raise_mmap_threshold
from foxapi_async._transport.error_mapping import TRANSPORT_ERRORS, translate
from foxapi_async._transport.proxy import environment_proxy
from foxapi_async._transport.timeouts import TimeoutScheduler
from foxapi_async.config import Timeouts, environment_switch, is_loopback
from foxapi_async.errors import (
    APIConnectionError,
    ConfigError,
    FoxAPIError,
    LinkRefusedError,
    SessionClosedError,
)

_MAX_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MAX_URL: Final = 16 * 1024
_KEEPALIVE: Final = 15.0
# A buffer of the size that asyncio reads at once would pause the connection after each read.
_BUFFER: Final = 256 * 1024
# A download holds less than this. The allocator gives back what exceeds twice as much, and getting
# it again costs a third of the CPU.
_IN_MEMORY: Final = 4 * 1024 * 1024


class _Resolve(Protocol):
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = ...
    ) -> list[ResolveResult]: ...

    async def close(self) -> None: ...


class RefusedAddressError(OSError):
    """A name has no address that a download may connect to."""


@final
class CheckedResolver(AbstractResolver):
    """Resolves names to the addresses that a policy allows.

    The connection goes to the address that was checked, so a name that changes its address between
    a check and the connection gains nothing.
    """

    def __init__(self, allowed: AddressClass, *, loopback_only: bool, inner: _Resolve) -> None:
        self._allowed = allowed
        self._loopback_only = loopback_only
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the allowed addresses of ``host``."""
        found = await self._inner.resolve(host, port, family)
        usable = [one for one in found if self._is_allowed(one["host"])]
        if not usable:
            raise RefusedAddressError(f"{host} has no public address")
        return usable

    def _is_allowed(self, address: str) -> bool:
        if self._loopback_only:
            return is_loopback(address)
        return address_class(address) <= self._allowed

    async def close(self) -> None:
        """Close the resolver."""
        await self._inner.close()


class LinkFailure(Struct, frozen=True):
    """An attempt that got no response."""

    error: FoxAPIError
    facts: FailureFacts


@final
class LinkResponse:
    """A response to the GET of a link. Close it, or read it to its end."""

    __slots__ = ("_account", "_origin", "_response", "_scheduler", "facts", "retry_after")

    def __init__(
        self,
        account: Account,
        response: aiohttp.ClientResponse,
        scheduler: TimeoutScheduler,
        *,
        origin: str,
        retry_after: float | None,
    ) -> None:
        self._account = account
        self._response = response
        self._scheduler = scheduler
        self._origin = origin
        headers = response.headers
        self.retry_after = retry_after
        self.facts: ResponseFacts = ResponseFacts(
            status=response.status,
            version=Version(
                etag=headers.get("ETag"),
                last_modified=headers.get("Last-Modified"),
                date=headers.get("Date"),
                size=response.content_length,
            ),
            content_range=headers.get("Content-Range"),
            is_multipart=self.header("Content-Type").lower().startswith("multipart/byteranges"),
        )

    def header(self, name: str) -> str:
        """Return a header, ``""`` if it is missing."""
        return self._response.headers.get(name, "")

    @property
    def url(self) -> str:
        """The URL that the response is from, after redirects."""
        return str(self._response.url)

    async def read(self, idle_timeout: float) -> bytes:
        """Wait for bytes and return some that are there; ``b""`` at the end.

        Raises:
            APIConnectionError: The connection was cut, or silent for ``idle_timeout`` seconds.
        """
        content = self._response.content
        try:
            # One chunk at a time: more of them would be joined, which copies them.
            while not content.at_eof():
                with self._scheduler.after(idle_timeout, "StreamPolicy.idle_timeout"):
                    data, _ = await content.readchunk()
                if data:
                    return data
            # It raises the error of the connection, if that has ended.
            return await content.readany()
        except TRANSPORT_ERRORS as error:
            failure: FoxAPIError = translate(
                error, sent=True, account=self._account, origin=self._origin
            )
        except RuntimeError as error:
            # aiohttp raises it if the connection was closed while no read was waiting.
            failure = APIConnectionError(str(error))
        raise failure

    def close(self) -> None:
        """Close the connection at once. Harmless when repeated."""
        self._response.close()

    def __repr__(self) -> str:
        return f"<LinkResponse {self.facts.status}>"


class Links:
    """Opens links. The connections are apart from those of the service.

    A request has no key, no cookie and no ``Referer``. Redirects are followed by hand, at most
    five, and each is checked as the link itself is.
    """

    def __init__(
        self, clock: Clock, scheduler: TimeoutScheduler, *, trust_env: bool, ssl: SSLContext | None
    ) -> None:
        self._clock = clock
        self._scheduler = scheduler
        self._trust_env = trust_env
        self._ssl = ssl
        self._sessions: dict[AddressClass, aiohttp.ClientSession] = {}
        self._closed = False

    async def open(
        self, account: Account, link: str, headers: Mapping[str, str], *, timeouts: Timeouts
    ) -> LinkResponse | LinkFailure:
        """Request a link and return the first response that is no redirect.

        Args:
            account: The account of the session. Its key is not sent. Its origin decides which
                addresses are allowed.
            link: The URL.
            headers: Headers of a range.
            timeouts: ``connect`` and ``read``, which ends with the headers of the response.

        Raises:
            LinkRefusedError: The link, or a redirect of it, leads where a download may not go.
        """
        url, previous = parse_link(account, link), None
        for _ in range(_MAX_REDIRECTS + 1):
            allowed = _check(account, url, previous)
            opened = await self._get(account, url, allowed, headers, timeouts)
            if isinstance(opened, LinkFailure) or opened.facts.status not in _REDIRECTS:
                return opened
            location = opened.header("Location")
            opened.close()
            if not location:
                raise _refused(account, url, "it redirects to no URL")
            previous, url = url.scheme, parse_link(account, location, base=url)
        raise _refused(account, url, f"it redirects more than {_MAX_REDIRECTS} times")

    async def _get(
        self,
        account: Account,
        url: yarl.URL,
        allowed: AddressClass,
        headers: Mapping[str, str],
        timeouts: Timeouts,
    ) -> LinkResponse | LinkFailure:
        origin = account.mask.name(str(url.origin()))
        try:
            with self._scheduler.after(timeouts.read, "Timeouts.read"):
                response = await self._session(allowed).get(
                    url,
                    headers=headers,
                    allow_redirects=False,
                    proxy=await self._proxy(url),
                    timeout=aiohttp.ClientTimeout(total=None, connect=timeouts.connect),
                )
        except TRANSPORT_ERRORS as error:
            if isinstance(getattr(error, "os_error", None), RefusedAddressError):
                failure: FoxAPIError = _refused(account, url, f"{url.host} has no public address")
            else:
                failure = translate(error, sent=None, account=account, origin=origin)
        else:
            retry_after = parse_retry_after(
                response.headers.get("Retry-After"), None, self._clock.unix()
            )
            return LinkResponse(
                account, response, self._scheduler, origin=origin, retry_after=retry_after
            )
        if isinstance(failure, APIConnectionError):
            facts = FailureFacts(never_sent=not failure.sent, permanent=not failure.trusted)
            return LinkFailure(failure, facts)
        if isinstance(failure, ConfigError):
            failure = _refused(account, url, str(failure))
        raise failure

    async def _proxy(self, url: yarl.URL) -> yarl.URL | None:
        # A proxy resolves the names itself: who trusts the environment's proxy trusts that too.
        return await asyncio.to_thread(environment_proxy, url) if self._trust_env else None

    def _session(self, allowed: AddressClass) -> aiohttp.ClientSession:
        if self._closed:
            raise SessionClosedError("the session is closed; build a new FoxSession")
        session = self._sessions.get(allowed)
        if session is None:
            raise_mmap_threshold(_IN_MEMORY)
            connector = aiohttp.TCPConnector(
                limit=0,
                keepalive_timeout=_KEEPALIVE,
                ssl=True if self._ssl is None else self._ssl,
                resolver=CheckedResolver(
                    allowed,
                    loopback_only=environment_switch("FOXAPI_FORBID_NETWORK", default=False),
                    inner=DefaultResolver(),
                ),
            )
            session = self._sessions[allowed] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                read_bufsize=_BUFFER,
                headers={
                    "User-Agent": USER_AGENT,
                    "Accept": "*/*",
                    # A range of compressed bytes is no range of the file.
                    "Accept-Encoding": "identity",
                },
            )
        return session

    async def aclose(self) -> None:
        """Close the connections."""
        self._closed = True
        for session in self._sessions.values():
            await session.close()


def parse_link(account: Account, link: str, *, base: yarl.URL | None = None) -> yarl.URL:
    """Parse a link; raise ``LinkRefusedError`` for a text that is none."""
    # A signature covers the characters as they are, so what needs no quoting is not quoted again.
    is_plain = link.isascii() and link.isprintable() and " " not in link
    try:
        url = yarl.URL(link[:_MAX_URL], encoded=is_plain)
        url = url if base is None else base.join(url)
        url.port  # noqa: B018 it is parsed here
        has_user = url.raw_user is not None or url.raw_password is not None
    except ValueError:
        raise LinkRefusedError("the link is not followed: it is no URL", url="") from None
    if has_user:
        raise _refused(account, url.with_user(None), "it has a user name or a password")
    if len(link) > _MAX_URL:
        raise _refused(account, url, f"it has more than {_MAX_URL} characters")
    return url.with_fragment(None)


def _check(account: Account, url: yarl.URL, previous: str | None) -> AddressClass:
    """Return the last class of addresses that a URL may lead to; raise if it is refused."""
    origin, host = account.root, url.raw_host or ""
    if host == origin.raw_host:
        # The key is sent there too.
        allowed = AddressClass.SPECIAL
    elif is_local_host(origin.raw_host or ""):
        allowed = AddressClass.LOCAL
    else:
        allowed = AddressClass.PUBLIC
    if environment_switch("FOXAPI_FORBID_NETWORK", default=False) and not is_loopback(host):
        raise _refused(account, url, "FOXAPI_FORBID_NETWORK=1 allows this machine only")
    reason = refused_hop(
        url.scheme, host, previous=previous, allow_http=account.allow_http, allowed=allowed
    )
    if reason is not None:
        raise _refused(account, url, reason)
    return allowed


def shown_link(account: Account, link: str | yarl.URL) -> str:
    """Return a link for a text: without its query, which may be a signature, and masked."""
    try:
        url = yarl.URL(link) if isinstance(link, str) else link
        shown = str(url.with_user(None).with_query(None).with_fragment(None))
    except ValueError:
        return "a text that is no URL"
    return account.redact(shown)[:200]


def _refused(account: Account, url: yarl.URL, reason: str) -> LinkRefusedError:
    shown = shown_link(account, url)
    return LinkRefusedError(
        f"the link {shown} is not followed: {account.redact(reason)}", url=shown
    )
