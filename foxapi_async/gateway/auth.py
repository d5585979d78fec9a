"""Who may come in, whose tasks are whose, and what is left to spend (contract §1)."""

from collections.abc import Mapping
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from foxapi_async.gateway.api_errors import APIError
from foxapi_async.gateway.store import Store

ANYBODY: Final = ""
"""The owner of every task while no keys are told apart."""


class _Key:
    """One key. ``owner`` stands for it wherever tasks are kept: a key is kept nowhere."""

    __slots__ = ("budget", "owner", "secret")

    def __init__(self, key: str, budget: float | None) -> None:
        self.secret = key.encode()
        self.owner = sha256(self.secret).hexdigest()[:32]
        self.budget = budget


class APIKeys:
    """The keys that are let in. Without any, every token that is not empty will do.

    Each key may have credits, of which every generation that is accepted takes ``price``.
    """

    __slots__ = ("_budgets", "_keys", "_made", "_price")

    def __init__(self, keys: Mapping[str, float | None], *, price: float) -> None:
        self._keys = tuple(_Key(key, budget) for key, budget in keys.items())
        self._budgets = {key.owner: key.budget for key in self._keys if key.budget is not None}
        self._price = price
        self._made: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._keys)

    def admit(self, authorization: str | None) -> str:
        """Return whose request it is, or refuse it with 401; the token is never in the answer."""
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise APIError(401, "send the header `Authorization: Bearer YOUR_API_KEY`")
        if not self._keys:
            return ANYBODY
        given = token.encode("utf-8", "surrogateescape")
        # Every key is compared, so that the time taken tells nothing about which one came close.
        found = [key for key in self._keys if compare_digest(given, key.secret)]
        if not found:
            raise APIError(401, "the API key is not valid")
        return found[0].owner

    async def charge(self, owner: str, store: Store) -> None:
        """Take the price of a generation from the owner's credits, or refuse it with 402."""
        budget = self._budgets.get(owner)
        if budget is None:
            return
        if owner not in self._made:
            made = await store.spent(owner)
            # Whoever asked at the same time may have charged already.
            self._made.setdefault(owner, made)
        left = budget - self._made[owner] * self._price
        if left < self._price:
            raise APIError(
                402,
                f"the balance of this key is too low: {max(0.0, left):g} credits are left, and a "
                f"generation costs {self._price:g}",
            )
        self._made[owner] += 1

    def refund(self, owner: str) -> None:
        """Give back the price of a generation that did not become a task."""
        if owner in self._made:
            self._made[owner] -= 1
