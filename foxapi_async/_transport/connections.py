"""The aiohttp sessions that a transport sends through, opened when they are first needed."""

from ssl import SSLContext
from weakref import WeakKeyDictionary

import aiohttp

from foxapi_async._transport.account import Account
from foxapi_async._transport.shortcut import Shortcut
from foxapi_async.config import is_loopback
from foxapi_async.errors import SessionClosedError

# A submission goes out on a connection that is fresh or hardly idle: one that died unnoticed would
# leave the outcome of a billed POST unknown.
_BILLED_KEEPALIVE = 2.0
# Polls of one task are up to 30 s apart, and a stale connection costs a read nothing but time.
_READ_KEEPALIVE = 35.0


class Connections:
    """Two pools, one for billed calls and one for all others; or one session that was lent.

    The pools set no limits of their own: how much is in flight is the session's to bound.
    """

    __slots__ = ("_billed", "_closed", "_lent", "_reads", "_shortcuts", "_ssl", "_trust_env")

    def __init__(
        self,
        lent: aiohttp.ClientSession | None,
        *,
        trust_env: bool,
        ssl: SSLContext | None,
    ) -> None:
        self._lent = lent
        self._trust_env = trust_env
        self._ssl = ssl
        self._billed: aiohttp.ClientSession | None = None
        self._reads: aiohttp.ClientSession | None = None
        self._shortcuts: WeakKeyDictionary[Account, Shortcut | None] = WeakKeyDictionary()
        self._closed = False

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

    def shortcut(self, account: Account) -> Shortcut | None:
        """Return the quick way of the account's polls.

        There is none over a session that was lent, which may do more than we know of with a
        request, nor where the environment may name a proxy.
        """
        try:
            return self._shortcuts[account]
        except KeyError:
            is_ours = self._lent is None and not self._trust_env
            found = Shortcut.through(self.reads, account) if is_ours else None
            self._shortcuts[account] = found
            return found

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
        _spare_maps()
        connector = aiohttp.TCPConnector(
            limit=0, keepalive_timeout=keepalive, ssl=True if self._ssl is None else self._ssl
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=self._trust_env,
            middlewares=(_stay_here,) if self._trust_env else (),
        )


async def _stay_here(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Send what is for this machine straight to it, whatever ``no_proxy`` says.

    Plain http is allowed to loopback because it does not leave the machine; through a proxy it
    would, and the key with it.
    """
    if request.proxy is not None and is_loopback(request.url.host or ""):
        request.update_proxy(None, None, None)
    return await handler(request)


def _spare_maps() -> None:
    """Let malloc keep the buffers that asyncio reads into.

    Each read takes a new object of 256 KiB. glibc maps memory from the system for one of that size
    and gives it back, a fifth of what a poll costs, until a larger one has been freed: from then on
    it keeps such memory. Other allocators do not mind.
    """
    larger = bytes(1 << 19)
    del larger
