"""The body of an answer that has not ended yet."""

from typing import TYPE_CHECKING, final

import aiohttp

from foxapi_async._clock import Clock
from foxapi_async._transport.faults import FAULTS, translate

if TYPE_CHECKING:
    from foxapi_async._transport.account import Account


@final
class StreamBody:
    """Bytes of an open stream, as they come. Close it, or read it to its end.

    ``last_byte`` is when something was last received, on the session's clock: whoever watches for
    silence looks there once in a while, which is cheaper than a timer for each read.
    """

    __slots__ = ("_account", "_clock", "_content", "_response", "last_byte")

    def __init__(self, account: "Account", response: aiohttp.ClientResponse, clock: Clock) -> None:
        self._account = account
        self._response = response
        self._content = response.content
        self._clock = clock
        self.last_byte = clock.time()

    async def read(self) -> bytes:
        """Wait for bytes and return all that are there; ``b""`` at the end.

        Raises ``APIConnectionError`` when the connection is cut, or closed from here. Cancelling
        loses no byte: the next read goes on.
        """
        try:
            data = await self._content.readany()
        except FAULTS as error:
            fault = translate(error, sent=True, account=self._account)
        else:
            self.last_byte = self._clock.time()
            return data
        raise fault

    def close(self) -> None:
        """Close the connection at once; a read that waits raises. Harmless when repeated."""
        self._response.close()

    def __repr__(self) -> str:
        state = "closed" if self._response.closed else "open"
        return f"<StreamBody {state}>"
