"""The body of an answer that has not ended yet."""

from typing import TYPE_CHECKING, final

import aiohttp

from foxapi_async._clock import Clock
from foxapi_async._transport.error_mapping import TRANSPORT_ERRORS, translate
from foxapi_async._transport.inlet import RawStream
from foxapi_async.errors import APIConnectionError, FoxAPIError

if TYPE_CHECKING:
    from foxapi_async._transport.account import Account


@final
class StreamBody:
    """Bytes of an open stream, as they come. Close it, or read it to its end.

    ``raw_stream``, if there is one, is for the loop that reads on and on, and quicker than `read`.
    Whatever it raises, `read` raises again as an error of ours.
    """

    __slots__ = (
        "_account",
        "_content",
        "_last_received_at",
        "_received",
        "_response",
        "raw_stream",
    )

    def __init__(self, account: "Account", response: aiohttp.ClientResponse, clock: Clock) -> None:
        self._account = account
        self._response = response
        self._content = response.content
        self.raw_stream: RawStream | None = RawStream.of(response.content)
        self._received = 0
        self._last_received_at = clock.time()

    async def read(self) -> bytes:
        """Wait for bytes and return all that are there; ``b""`` at the end.

        Raises ``APIConnectionError`` when the connection is cut, or closed from here. Cancelling
        loses no byte: the next read goes on.
        """
        try:
            return await self._content.readany()
        except TRANSPORT_ERRORS as error:
            fault: FoxAPIError = translate(error, sent=True, account=self._account)
        except RuntimeError as error:
            # aiohttp's word for a connection that was closed while nobody read.
            fault = APIConnectionError(str(error))
        raise fault

    @property
    def is_disconnected(self) -> bool:
        """Whether the connection is closed but not from here, as by the owner of a lent session.

        aiohttp wakes no read that waits for it.
        """
        connection = self._response.connection
        return connection is not None and connection.transport is None

    def last_received_at(self, now: float) -> float:
        """Return when something was last received, as exactly as this is asked often.

        aiohttp counts the bytes anyway. So whoever watches for silence asks once in a while, and a
        read costs neither a timer nor a look at the clock (PERF §1).
        """
        received = self._content.total_bytes
        if received != self._received:
            self._received, self._last_received_at = received, now
        return self._last_received_at

    def reset_idle(self, now: float) -> None:
        """Count the silence from ``now`` on: so far nobody listened."""
        self._last_received_at = now

    def close(self) -> None:
        """Close the connection at once; a read that waits raises. Harmless when repeated."""
        self._response.close()

    def __repr__(self) -> str:
        state = "closed" if self._response.closed else "open"
        return f"<StreamBody {state}>"
