"""Who may come in (CONTRACT §1)."""

from collections.abc import Collection
from hmac import compare_digest

from foxapi_async.gateway.refusal import Refusal


class Bearer:
    """Checks the ``Authorization`` header. Without keys every token that is not empty will do."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Collection[str]) -> None:
        self._keys = tuple(key.encode() for key in keys)

    def check(self, authorization: str | None) -> None:
        """Let the request pass or refuse it with 401; the token is never part of the answer."""
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise Refusal(401, "send the header `Authorization: Bearer YOUR_API_KEY`")
        if self._keys and not self._is_known(token):
            raise Refusal(401, "the API key is not valid")

    def _is_known(self, token: str) -> bool:
        given = token.encode("utf-8", "surrogateescape")
        # Every key is compared, so that the time taken tells nothing about which one came close.
        return any([compare_digest(given, key) for key in self._keys])  # noqa: C419 see above
