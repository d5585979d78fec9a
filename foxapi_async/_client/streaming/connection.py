"""One connection of a stream: an open response body, its decoder, and the timeouts of reading."""

from collections.abc import Callable

from foxapi_async._clock import Clock, Timer
from foxapi_async._protocol.chunk_decoder import ChunkDecoder
from foxapi_async._protocol.cursor import CursorState
from foxapi_async._protocol.reconnect import Disconnect
from foxapi_async._transport import Account, RawStream, StreamBody
from foxapi_async.errors import (
    APIConnectionError,
    APITimeoutError,
    FoxAPIError,
    InvalidResponseError,
)


class StreamConnection:
    """Reads one response body. A reader opens one connection after another.

    ``idle_error`` is set when `check_idle` has closed an idle connection.
    """

    __slots__ = ("_body", "decoder", "idle_error")

    def __init__(self, body: StreamBody, max_event_bytes: int) -> None:
        self._body = body
        self.decoder = ChunkDecoder(max_event_bytes)
        self.idle_error: FoxAPIError | None = None

    @property
    def raw(self) -> RawStream | None:
        """The fast way to read the body; ``None`` if the installed aiohttp does not allow it."""
        return self._body.raw_stream

    async def read(self) -> bytes:
        """Wait for bytes and return all that are buffered; ``b""`` at the end of the body."""
        return await self._body.read()

    def last_received_at(self, now: float) -> float:
        """Return when the last bytes arrived, as far as earlier calls can tell."""
        return self._body.last_received_at(now)

    def check_idle(self, now: float, idle_timeout: float, *, reading: bool) -> None:
        """Close the connection if it is dead, or idle for too long while a read waits."""
        if not reading:
            # Bytes may be buffered below, so the time without a read proves nothing.
            self._body.reset_idle(now)
        elif self._body.is_disconnected:
            self._body.close()
        elif now - self._body.last_received_at(now) >= idle_timeout:
            limit = f"StreamPolicy.idle_timeout, {idle_timeout:g} s"
            self.idle_error = APITimeoutError(f"{limit}, ran out")
            self._body.close()

    def close(self) -> None:
        """Close the body at once. A read that waits for it raises."""
        self._body.close()

    def disconnect_reason(self, state: CursorState, account: Account) -> Disconnect | None:
        """Return why this connection ended before the stream did.

        Args:
            state: What the cursor made of the connection.
            account: Masks what an error quotes of the stream.

        Returns:
            The reason; ``None`` if the cursor asks for another connection at once.
        """
        decoder = self.decoder
        if state is CursorState.AMBIGUOUS:
            return None
        if state is CursorState.COMPLETE:
            # Only the stored result can prove that all chunks arrived.
            why = "the stream ended without a count of its chunks"
            return Disconnect(APIConnectionError(why), reported=True)
        if state is CursorState.MISMATCH:
            why = "it cannot be the stream that was delivered before"
            return Disconnect(APIConnectionError(why), mismatch=True)
        if decoder.error_event is not None:
            message = account.redact(decoder.error_event.message or "no reason given")
            why = f"the service ended the stream: {message}"
            return Disconnect(APIConnectionError(why), reported=True)
        if decoder.error is not None:
            return Disconnect(_masked(decoder.error, account))
        how = "without `done`" if decoder.done is None else "with another number of chunks"
        return Disconnect(APIConnectionError(f"the stream ended {how}"))


class ReadTimeout:
    """The bound of one reading: ``timeout`` seconds after its first read, or none."""

    __slots__ = ("_clock", "expires_at", "timeout")

    def __init__(self, clock: Clock, timeout: float | None) -> None:
        self._clock = clock
        self.timeout = timeout
        self.expires_at: float | None = None

    def start(self) -> None:
        """Start to count, unless it has started."""
        if self.timeout is not None and self.expires_at is None:
            self.expires_at = self._clock.time() + self.timeout

    @property
    def expired(self) -> bool:
        """Whether the time is over."""
        return self.expires_at is not None and self._clock.time() >= self.expires_at

    def call_at_expiry(self, callback: Callable[[], object]) -> Timer | None:
        """Call ``callback`` when the time is over, even in the middle of a read."""
        if self.expires_at is None:
            return None
        return self._clock.call_at(self.expires_at, callback)


def _masked(error: FoxAPIError, account: Account) -> FoxAPIError:
    """Mask what the error quotes of the stream."""
    error.args = tuple(account.mask.text(str(part)) for part in error.args)
    if isinstance(error, InvalidResponseError):
        error.body = account.mask.text(error.body)
    return error
