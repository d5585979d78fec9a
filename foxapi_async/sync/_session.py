"""The blocking session."""
# pyright: reportPrivateUsage=false

from types import TracebackType
from typing import Any, Self

from foxapi_async._client.session import FoxSession as _FoxSession
from foxapi_async.sync._caller import SessionCaller
from foxapi_async.sync._proxy import Proxy, blocks
from foxapi_async.sync._rules import REFUSED, blocking_text


@blocks(_FoxSession)
class FoxSession(Proxy):
    """Its text is that of the asynchronous session."""

    __slots__ = ()

    _caller: SessionCaller

    def __init__(self, *args: Any, **settings: Any) -> None:
        for name, reason in REFUSED.items():
            if name in settings:
                raise TypeError(reason)
        self._async = _FoxSession(*args, **settings)
        self._caller = SessionCaller(self._async)

    def close(self) -> None:
        """Close the session, unless it shares its connections with the original."""
        if self._async is self._caller.session:
            self._caller.close()

    close.__doc__ = blocking_text(_FoxSession.aclose.__doc__)

    def __enter__(self) -> Self:
        try:
            self._call(_FoxSession.__aenter__)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
