"""The aiohttp sessions that a transport sends through, opened when they are first needed."""

import asyncio
from collections.abc import Sequence
from ssl import SSLContext
from weakref import WeakKeyDictionary

import aiohttp
import yarl
from multidict import CIMultiDict, CIMultiDictProxy

from foxapi_async._transport.account import Account
from foxapi_async._transport.payload import SingleUsePayload
from foxapi_async._transport.proxy import environment_proxy
from foxapi_async._transport.shortcut import PooledGet
from foxapi_async.config import is_loopback
from foxapi_async.errors import ConfigError, SessionClosedError

# A submission goes out on a connection that is fresh or hardly idle: one that died unnoticed would
# leave the outcome of a billed POST unknown.
_BILLED_KEEPALIVE = 2.0
# Polls of one task are up to 30 s apart, and a stale connection costs a read nothing but time.
_READ_KEEPALIVE = 35.0
_REQUEST = getattr(aiohttp.ClientSession, "_request", None)
# Headers of a lent session that say something of a body which they cannot know.
_UNFIT = frozenset({"Content-Encoding", "Content-Length", "Expect", "Transfer-Encoding"})


class Connections:
    """Two pools, one for billed calls and one for all others; or one session that was lent.

    The pools set no limits of their own: how much is in flight is the session's to bound.
    """

    __slots__ = (
        "_billed",
        "_closed",
        "_lent",
        "_proxies",
        "_reads",
        "_shortcuts",
        "_ssl",
        "_trust_env",
    )

    def __init__(
        self,
        lent: aiohttp.ClientSession | None,
        *,
        trust_env: bool,
        ssl: SSLContext | None,
    ) -> None:
        if lent is not None:
            _refuse_unfit(lent)
        self._lent = lent
        self._trust_env = trust_env
        self._ssl = ssl
        self._billed: aiohttp.ClientSession | None = None
        self._reads: aiohttp.ClientSession | None = None
        self._shortcuts: WeakKeyDictionary[Account, PooledGet | None] = WeakKeyDictionary()
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
        """Send one request and return its answer as it begins; raise what aiohttp raises.

        Nothing that a lent session does by default can make it two requests, or send the key to
        another place.
        """
        session = self.billed if billed else self.reads
        middlewares: Sequence[aiohttp.ClientMiddlewareType] | None = None
        if self._lent is not None:
            headers, middlewares = self._over_lent(headers, payload)
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

    def _over_lent(
        self, headers: CIMultiDictProxy[str], payload: SingleUsePayload | None
    ) -> tuple[CIMultiDictProxy[str], Sequence[aiohttp.ClientMiddlewareType] | None]:
        """Return the headers for a lent session, and its middlewares between two of ours."""
        lent = self._lent
        theirs: Sequence[aiohttp.ClientMiddlewareType] | None = getattr(lent, "_middlewares", None)
        if theirs is None:
            # Nobody tells what becomes of the body.
            if payload is not None:
                payload.replaced = True
            return headers, None
        middlewares = [*theirs, _bypass_proxy_on_loopback]
        if payload is not None:
            middlewares.append(payload.watch)
        if lent is not None and lent.trust_env:
            # aiohttp refuses our header where `.netrc` knows the host, so the key is put in later.
            kept = CIMultiDict(headers)
            key = kept.pop("Authorization")
            headers = CIMultiDictProxy(kept)

            async def put_key_in(
                request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
            ) -> aiohttp.ClientResponse:
                request.headers["Authorization"] = key
                return await handler(request)

            middlewares.insert(0, put_key_in)
        return headers, middlewares

    async def _proxy(self, account: Account) -> yarl.URL | None:
        """Return the proxy of the environment for the account, which is looked up once."""
        if self._lent is not None:
            return None
        try:
            return self._proxies[account]
        except KeyError:
            found = await asyncio.to_thread(environment_proxy, account.url("/"))
            self._proxies[account] = found
            return found

    @property
    def billed(self) -> aiohttp.ClientSession:
        """Where billed calls go."""
        session = self._billed
        if session is None or session.closed:
            session = self._billed = self._open(_BILLED_KEEPALIVE)
        return session

    @property
    def reads(self) -> aiohttp.ClientSession:
        """Where polls, streams and all that is not billed go."""
        session = self._reads
        if session is None or session.closed:
            session = self._reads = self._open(_READ_KEEPALIVE)
        return session

    def shortcut(self, account: Account) -> PooledGet | None:
        """Return the quick way of the account's polls.

        There is none over a session that was lent, which may do more than we know of with a
        request, nor where the environment may name a proxy, nor where a tool for tests answers in
        place of aiohttp.
        """
        try:
            return self._shortcuts[account]
        except KeyError:
            is_taken_over = getattr(aiohttp.ClientSession, "_request", None) is not _REQUEST
            is_ours = self._lent is None and not self._trust_env and not is_taken_over
            found = PooledGet.through(self.reads, account) if is_ours else None
            self._shortcuts[account] = found
            return found

    def drop_shortcut(self, account: Account) -> None:
        """Do without the quick way of the account's polls from now on."""
        self._shortcuts[account] = None

    async def aclose(self) -> None:
        """Close what was opened here; a session that was lent stays open."""
        self._closed = True
        self._shortcuts.clear()
        if self._lent is not None:
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
        if self._lent is not None:
            if self._lent.closed:
                raise SessionClosedError("the aiohttp session that was lent as http= is closed")
            return self._lent
        _raise_mmap_threshold()
        connector = aiohttp.TCPConnector(
            limit=0, keepalive_timeout=keepalive, ssl=True if self._ssl is None else self._ssl
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
        )


async def _bypass_proxy_on_loopback(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Refuse to send plain http for this machine over a proxy of a lent session.

    It is allowed because it does not leave the machine; over a proxy it would, and the key with it.
    """
    proxy, url = request.proxy, request.url
    if proxy is not None and url.scheme == "http" and is_loopback(url.host or ""):
        raise ConfigError(
            f"the session lent as http= would send {url.origin()} over its proxy, and the API key "
            "unencrypted: set no_proxy for it, or lend a session without that proxy"
        )
    return await handler(request)


def _refuse_unfit(session: aiohttp.ClientSession) -> None:
    """Refuse a lent session whose defaults would replace the key or break each request."""
    if not isinstance(session, aiohttp.ClientSession):  # pyright: ignore[reportUnnecessaryIsInstance] the caller's word
        raise ConfigError(
            f"http must be an aiohttp.ClientSession or None, got {type(session).__name__}"
        )
    if getattr(session, "auth", None) is not None:
        raise ConfigError(
            "http= is an aiohttp session with auth=..., which would replace the API key in the "
            "Authorization header: build it without auth"
        )
    unfit = sorted(_UNFIT & {name.title() for name in session.headers})
    if unfit:
        raise ConfigError(
            f"http= is an aiohttp session that sends {', '.join(unfit)} with every request, which "
            "does not fit the body of a submission: build it without that header"
        )


def _raise_mmap_threshold() -> None:
    """Let malloc keep the buffers that asyncio reads into.

    Each read takes a new object of 256 KiB. glibc maps memory from the system for one of that size
    and gives it back, a fifth of what a poll costs, until a larger one has been freed: from then on
    it keeps such memory. Other allocators do not mind.
    """
    larger = bytes(1 << 19)
    del larger
