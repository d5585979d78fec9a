"""One HTTP call, before anything is sent."""

from collections.abc import Mapping

from msgspec import Struct

from foxapi_async._protocol.retry import Effect


class RequestSpec(Struct, frozen=True, kw_only=True):
    """What to ask of the service.

    ``path`` is percent-encoded and relative to the account's base URL. ``body`` is JSON. ``read``
    bounds one attempt in seconds; by default ``Timeouts.submit`` does for a billed call and
    ``Timeouts.read`` for any other.
    """

    effect: Effect
    method: str
    path: str
    query: Mapping[str, str] | None = None
    body: bytes | None = None
    read: float | None = None

    def __repr__(self) -> str:
        # The body holds the user's prompt.
        return f"<Call {self.effect.value} {self.method} {self.path}>"
