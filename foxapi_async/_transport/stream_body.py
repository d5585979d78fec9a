"""The body of a response that has not ended yet."""

from typing import TYPE_CHECKING, final

import aiohttp

from foxapi_async._clock import Clock
from foxapi_async._transport._aiohttp_private import RawStream
from foxapi_async._transport.error_mapping import TRANSPORT_ERRORS, translate
from foxapi_async.errors import APIConnectionError, FoxAPIError

if TYPE_CHECKING:
    from foxapi_async._transport.account import Account


@final
class StreamBody:
    """The bytes of an open stream as they arrive. Close it, or read it to its end.

    ``raw_stream``, unless it is ``None``, is a faster way to read than `read`. After an error of
    it, `read` raises the same error translated.
    """

    __slots__ = (
        "_account",
        "_content",
        "_last_received_at",
        "_received",
        "_response",
        "raw_stream",
    )

    def __init__(
        self,
        account: "Account",
        response: aiohttp.ClientResponse,
        clock: Clock,
        *,
        fast_path: bool = True,
    ) -> None:
        self._account = account
        self._response = response
        self._content = response.content
        self.raw_stream: RawStream | None = (
            RawStream.create(response.content) if fast_path else None
        )
        self._received = 0
        self._last_received_at = clock.time()

    async def read(self) -> bytes:
        """Wait for bytes and return all that are there; ``b""`` at the end.

        Cancelling loses no byte: the next read goes on.

        Raises:
            APIConnectionError: The connection was cut, or closed by `close`.
        """
        try:
            return await self._content.readany()
        except TRANSPORT_ERRORS as error:
            failure: FoxAPIError = translate(error, sent=True, account=self._account)
        except RuntimeError as error:
            # aiohttp raises it if the connection was closed while no read was waiting.
            failure = APIConnectionError(str(error))
        raise failure

    @property
    def is_disconnected(self) -> bool:
        """Whether the connection was closed by others, as by the owner of a borrowed session.

        aiohttp does not wake a read that waits then.
        """
        connection = self._response.connection
        return connection is not None and connection.transport is None

    def last_received_at(self, now: float) -> float:
        """Return when bytes last arrived, as exactly as this method is called often.

        It compares aiohttp's count of received bytes with that of the last call. So a read costs
        neither a timer nor a call of the clock: an idle check calls this once in a while.
        """
        received = self._content.total_bytes
        if received != self._received:
            self._received, self._last_received_at = received, now
        return self._last_received_at

    def reset_idle(self, now: float) -> None:
        """Count the idle time from ``now`` on: no read was waiting until then."""
        self._last_received_at = now

    def close(self) -> None:
        """Close the connection at once; a read that waits raises. Harmless when repeated."""
        self._response.close()

    def __repr__(self) -> str:
        state = "closed" if self._response.closed else "open"
        return f"<StreamBody {state}>"
