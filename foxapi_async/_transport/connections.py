"""The aiohttp sessions that a transport sends through, opened when they are first needed."""

import asyncio
from functools import cache
from ssl import SSLContext
from weakref import WeakKeyDictionary

import aiohttp
import yarl
from multidict import CIMultiDict, CIMultiDictProxy

from foxapi_async._transport._aiohttp_private import PooledGet, is_patched, middlewares_of
from foxapi_async._transport.account import Account
from foxapi_async._transport.payload import SingleUsePayload
from foxapi_async._transport.proxy import environment_proxy, refuse_proxy_on_loopback
from foxapi_async.errors import ConfigError, SessionClosedError

# A billed POST is sent on a new connection, or on one that was idle for a short time only: a
# connection that has died unnoticed would leave the outcome of the POST unknown.
_BILLED_KEEPALIVE = 2.0
# Polls of one task are up to 30 s apart, and a dead connection costs a read only time.
_READ_KEEPALIVE = 35.0
# Headers of a borrowed session that describe the body, which the session cannot know.
_BODY_HEADERS = frozenset({"Content-Encoding", "Content-Length", "Expect", "Transfer-Encoding"})


class Connections:
    """Two pools, one for billed calls and one for reads; or one borrowed aiohttp session.

    The pools have no limits of their own: the session of this package bounds what is in flight.
    """

    __slots__ = (
        "_billed",
        "_borrowed",
        "_closed",
        "_fast_path",
        "_pooled_gets",
        "_proxies",
        "_reads",
        "_ssl",
        "_trust_env",
    )

    def __init__(
        self,
        borrowed: aiohttp.ClientSession | None,
        *,
        trust_env: bool,
        ssl: SSLContext | None,
        fast_path: bool,
    ) -> None:
        if borrowed is not None:
            _refuse_unfit(borrowed)
        self._borrowed = borrowed
        self._trust_env = trust_env
        self._ssl = ssl
        self._fast_path = fast_path
        self._billed: aiohttp.ClientSession | None = None
        self._reads: aiohttp.ClientSession | None = None
        self._pooled_gets: WeakKeyDictionary[Account, PooledGet | None] = WeakKeyDictionary()
        self._proxies: WeakKeyDictionary[Account, yarl.URL | None] = WeakKeyDictionary()
        self._closed = False

    async def send(
        self,
        account: Account,
        method: str,
        url: yarl.URL,
        headers: CIMultiDictProxy[str],
        *,
        timeout: aiohttp.ClientTimeout,
        payload: SingleUsePayload | None = None,
        billed: bool = False,
    ) -> aiohttp.ClientResponse:
        """Send one request; return once the headers of the response are there.

        No default of a borrowed session can send it twice, or send the key to another origin.
        Raises what aiohttp raises.
        """
        session = self.billed if billed else self.reads
        middlewares: list[aiohttp.ClientMiddlewareType] | None = None
        if self._borrowed is not None:
            headers, middlewares = _over_borrowed(self._borrowed, headers, payload)
        return await session.request(
            method,
            url,
            data=payload,
            headers=headers,
            allow_redirects=False,
            raise_for_status=False,
            auto_decompress=True,
            proxy=await self._proxy(account) if self._trust_env else None,
            middlewares=middlewares,
            timeout=timeout,
        )

    async def _proxy(self, account: Account) -> yarl.URL | None:
        """Return the environment's proxy for the account; it is looked up once."""
        if self._borrowed is not None:
            return None
        try:
            return self._proxies[account]
        except KeyError:
            found = await asyncio.to_thread(environment_proxy, account.url("/"))
            self._proxies[account] = found
            return found

    @property
    def billed(self) -> aiohttp.ClientSession:
        """The session for billed calls."""
        session = self._billed
        if session is None or session.closed:
            session = self._billed = self._open(_BILLED_KEEPALIVE)
        return session

    @property
    def reads(self) -> aiohttp.ClientSession:
        """The session for polls, streams and other calls that are not billed."""
        session = self._reads
        if session is None or session.closed:
            session = self._reads = self._open(_READ_KEEPALIVE)
        return session

    def pooled_get(self, account: Account) -> PooledGet | None:
        """Return the ``PooledGet`` for the account's polls, ``None`` if aiohttp must send them.

        That is so over a borrowed session, whose middlewares and traces see every request; with
        ``trust_env``, which may name a proxy; and while a test tool replaces aiohttp's requests.
        """
        try:
            return self._pooled_gets[account]
        except KeyError:
            is_usable = (
                self._fast_path
                and self._borrowed is None
                and not self._trust_env
                and not is_patched()
            )
            found = (
                PooledGet.create(self.reads, account.url("/"), account.headers)
                if is_usable
                else None
            )
            self._pooled_gets[account] = found
            return found

    def disable_pooled_get(self, account: Account) -> None:
        """Let aiohttp send the account's polls from now on."""
        self._pooled_gets[account] = None

    async def aclose(self) -> None:
        """Close the sessions that were opened here; a borrowed one stays open."""
        self._closed = True
        self._pooled_gets.clear()
        if self._borrowed is not None:
            return
        try:
            if self._billed is not None:
                await self._billed.close()
        finally:
            if self._reads is not None:
                await self._reads.close()

    def _open(self, keepalive: float) -> aiohttp.ClientSession:
        if self._closed:
            raise SessionClosedError("the session is closed; build a new FoxSession")
        if self._borrowed is not None:
            if self._borrowed.closed:
                raise SessionClosedError("the aiohttp session passed as http= is closed")
            return self._borrowed
        if self._fast_path:
            raise_mmap_threshold()
        connector = aiohttp.TCPConnector(
            limit=0, keepalive_timeout=keepalive, ssl=True if self._ssl is None else self._ssl
        )
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


def _over_borrowed(
    session: aiohttp.ClientSession,
    headers: CIMultiDictProxy[str],
    payload: SingleUsePayload | None,
) -> tuple[CIMultiDictProxy[str], list[aiohttp.ClientMiddlewareType] | None]:
    """Return the headers for a borrowed session, and its middlewares with those of this package."""
    own = middlewares_of(session)
    if own is None:
        # They may send the body twice, and nothing here can see it.
        if payload is not None:
            payload.replaced = True
        return headers, None
    middlewares = [*own, refuse_proxy_on_loopback]
    if payload is not None:
        middlewares.append(payload.check_request)
    if session.trust_env:
        # aiohttp refuses the header if `.netrc` has the host, so a middleware adds it later.
        without_key = CIMultiDict(headers)
        key = without_key.pop("Authorization")
        headers = CIMultiDictProxy(without_key)

        async def add_key(
            request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            request.headers["Authorization"] = key
            return await handler(request)

        middlewares.insert(0, add_key)
    return headers, middlewares


def _refuse_unfit(session: aiohttp.ClientSession) -> None:
    """Refuse a borrowed session whose defaults would replace the key or break each request."""
    if not isinstance(session, aiohttp.ClientSession):  # pyright: ignore[reportUnnecessaryIsInstance] it is the caller's
        raise ConfigError(
            f"http must be an aiohttp.ClientSession or None, got {type(session).__name__}"
        )
    if getattr(session, "auth", None) is not None:
        raise ConfigError(
            "http= is an aiohttp session with auth=..., which would replace the API key in the "
            "Authorization header: build it without auth"
        )
    unfit = sorted(_BODY_HEADERS & {name.title() for name in session.headers})
    if unfit:
        raise ConfigError(
            f"http= is an aiohttp session that sends {', '.join(unfit)} with every request, which "
            "does not fit the body of a submission: build it without that header"
        )


@cache
def raise_mmap_threshold(size: int = 1 << 19) -> None:
    """Let malloc reuse buffers of up to ``size`` bytes; done once a process.

    Each read of asyncio allocates 256 KiB. glibc maps memory from the system for an allocation of
    that size and unmaps it afterwards, a fifth of the CPU of a poll. Once a larger allocation has
    been freed, glibc keeps such memory. Other allocators are not affected.
    """
    larger = bytes(size)
    del larger
