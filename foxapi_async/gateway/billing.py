"""What tasks reserve and cost in credits, and what the keys have left."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from foxapi_async._catalog.media_models import media_models
from foxapi_async._wire.completion import Usage
from foxapi_async._wire.media_request import MediaRequest
from foxapi_async._wire.request import GenerationRequest
from foxapi_async.errors import ConfigError
from foxapi_async.gateway.api_errors import APIError
from foxapi_async.gateway.models.prompt import count_prompt_tokens, count_tokens
from foxapi_async.gateway.prices import (
    Price,
    TokenPrice,
    round_credits,
    show_credits,
    token_cost,
)
from foxapi_async.gateway.response_structs import TaskUsage
from foxapi_async.gateway.settings import GatewaySettings
from foxapi_async.gateway.store import Store

_EXPECTED_TOKENS: Final = 1000
# Sums of prices such as 0.1 are not exact.
_ROUNDING: Final = 1e-9


class Billing:
    """Computes what tasks cost, and charges the keys that have a budget.

    Args:
        settings: The prices.
        budgets: The credits of each owner; an owner that is missing has unlimited credits.
    """

    def __init__(
        self, settings: GatewaySettings, budgets: Mapping[str, float] | None = None
    ) -> None:
        self._default = settings.price
        self._prices = settings.prices
        self._budgets = budgets or {}
        # What each owner with a budget has spent, submits under way included.
        self._spent: dict[str, float] = {}

    def price(self, model: str) -> Price:
        """Return the price of a model."""
        return self._prices.get(model, self._default)

    def budget(self, owner: str) -> float | None:
        """Return the credits that an owner had at first; ``None`` for unlimited ones."""
        return self._budgets.get(owner)

    def reserve(self, request: GenerationRequest | MediaRequest) -> TaskUsage:
        """Return the usage of a new task.

        A price by tokens counts a media task as an answer of a thousand tokens.
        """
        price = self.price(request.model)
        if not isinstance(price, TokenPrice):
            return TaskUsage(credits_reserved=round_credits(price))
        if isinstance(request, MediaRequest):
            price = token_cost(price, count_tokens(request.prompt or ""), _EXPECTED_TOKENS)
        else:
            limit = request.max_completion_tokens or request.max_tokens or _EXPECTED_TOKENS
            tokens = limit * (request.n or 1)
            price = token_cost(price, count_prompt_tokens(request), tokens)
        return TaskUsage(credits_reserved=round_credits(price))

    def settle(
        self, model: str, reserved: TaskUsage | UnsetType, usage: Usage | None
    ) -> TaskUsage | UnsetType:
        """Return the usage of a task that has ended.

        Args:
            model: The model of the task.
            reserved: The usage of the task so far.
            usage: The counted tokens; ``None`` if they are not known.

        Returns:
            The usage, with ``credits_consumed`` if the price is by tokens. Without counted tokens
            the reserved credits stay.
        """
        price = self.price(model)
        if reserved is UNSET or usage is None or not isinstance(price, TokenPrice):
            return reserved
        cost = token_cost(price, usage.prompt_tokens, usage.completion_tokens)
        return replace(reserved, credits_consumed=cost)

    def adjust(self, owner: str, difference: float) -> None:
        """Charge what a settled task has cost more than it reserved, or give back the rest."""
        if owner in self._spent:
            self._spent[owner] += difference

    @asynccontextmanager
    async def charge(self, owner: str, amount: float, store: Store) -> AsyncGenerator[None]:
        """Take the credits of one task, and give them back if the context fails.

        A cancelled context is charged: the task of a client that disconnects is created anyway.

        Raises:
            APIError: 402, when the owner has too few credits left.
        """
        budget = self._budgets.get(owner)
        if budget is None:
            yield
            return
        if owner not in self._spent:
            spent = await store.spent(owner)
            # A concurrent request may have stored and increased the sum meanwhile.
            self._spent.setdefault(owner, spent)
        left = budget - self._spent[owner]
        if amount > left + _ROUNDING:
            raise APIError(
                402,
                f"the balance of this key is too low: {show_credits(max(0.0, left))} credits are "
                f"left, and this generation costs {show_credits(amount)}",
            )
        self._spent[owner] += amount
        try:
            yield
        except Exception:
            self._spent[owner] -= amount
            raise


def check_priced_models(settings: GatewaySettings, models: Mapping[str, object]) -> None:
    """Raise ``ConfigError`` for a price of a model that the gateway does not have."""
    for name in settings.prices:
        if name not in models and name not in media_models():
            raise ConfigError(
                f"GatewaySettings.prices: {name!r} is no model of this gateway; its models are "
                f"{', '.join(models)}"
            )
