"""API keys: authentication and the owners of tasks (contract §1)."""

from collections.abc import Mapping
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from aiohttp import hdrs, web

from foxapi_async._protocol.mask import Mask
from foxapi_async.gateway.api_errors import APIError

ANONYMOUS: Final = ""
"""The owner of every task of a gateway without configured keys."""


class _Key:
    """One configured key. ``owner`` is a hash; stores keep the hash and never the key."""

    __slots__ = ("budget", "mask", "owner", "secret")

    def __init__(self, key: str, budget: float | None) -> None:
        self.secret = key.encode()
        self.owner = sha256(self.secret).hexdigest()[:32]
        self.budget = budget
        self.mask = Mask(key)


class APIKeys:
    """The configured keys. Without any, every token that is not empty is valid.

    Args:
        keys: Each key with its credits, or ``None`` for unlimited credits.
    """

    __slots__ = ("_keys",)

    def __init__(self, keys: Mapping[str, float | None]) -> None:
        self._keys = tuple(_Key(key, budget) for key, budget in keys.items())

    def __bool__(self) -> bool:
        return bool(self._keys)

    @property
    def budgets(self) -> Mapping[str, float]:
        """The credits of the owners whose credits are limited."""
        return {key.owner: key.budget for key in self._keys if key.budget is not None}

    def authenticate_request(self, request: web.Request) -> str:
        """Return the owner whose key a request has; the errors are those of ``authenticate``."""
        return self.authenticate(request.headers.get(hdrs.AUTHORIZATION))

    def authenticate(self, authorization: str | None) -> str:
        """Return the owner that an ``Authorization`` header stands for.

        Raises:
            APIError: 401, for a missing or invalid token. The message never contains the token.
        """
        token = _bearer_token(authorization)
        if not token:
            raise APIError(401, "send the header `Authorization: Bearer YOUR_API_KEY`")
        if not self._keys:
            return ANONYMOUS
        given = token.encode("utf-8", "surrogateescape")
        # Compare with every key: the time must not reveal which key was similar.
        found = [key for key in self._keys if compare_digest(given, key.secret)]
        if not found:
            raise APIError(401, "the API key is not valid")
        return found[0].owner

    def mask(self, text: str, authorization: str | None) -> str:
        """Return ``text`` without the configured keys and without the token of the request."""
        for key in self._keys:
            text = key.mask.text(text)
        token = _bearer_token(authorization)
        return Mask(token).text(text) if token else text


def _bearer_token(authorization: str | None) -> str:
    """Return the token of a header of the scheme ``Bearer``, or an empty text."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
