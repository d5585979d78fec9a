"""Balance, usage and prices, in the shapes of New-API (contract §2, rows 17 to 19).

One credit of the gateway counts as one USD there.
"""

from typing import Final, NamedTuple

import msgspec
from aiohttp import web
from msgspec import MsgspecError, Struct

from foxapi_async.gateway.auth import APIKeys
from foxapi_async.gateway.billing import Billing
from foxapi_async.gateway.json_response import json_response
from foxapi_async.gateway.models import ModelRegistry
from foxapi_async.gateway.prices import TokenPrice, round_credits
from foxapi_async.gateway.response_structs import UnifiedTask
from foxapi_async.gateway.store import NumberedTask, Store

# The limit of a key with unlimited credits.
_UNLIMITED: Final = 100_000_000.0
_QUOTA_OF_A_CREDIT: Final = 500_000
# What 1,000 tokens of a model with the ratio 1 cost.
_UNIT_PRICE: Final = 0.002
_GROUP: Final = "default"
_BY_TOKENS: Final = 0
_BY_CALLS: Final = 1
_MAX_LOG: Final = 100

_decode_task: Final = msgspec.json.Decoder(UnifiedTask).decode


class _Subscription(Struct, kw_only=True):
    hard_limit_usd: float
    soft_limit_usd: float
    # Keys do not expire.
    access_until: int = 0


class _Usage(Struct, kw_only=True):
    # In hundredths.
    total_usage: float


class _TokenUsage(Struct, kw_only=True):
    name: str
    total_granted: int
    total_used: int
    total_available: int
    unlimited_quota: bool
    expires_at: int = 0


class _LogRow(Struct, kw_only=True):
    id: int
    created_at: int
    model_name: str
    quota: int
    group: str = _GROUP


class _Pricing(Struct, kw_only=True):
    model_name: str
    quota_type: int
    model_ratio: float = 0.0
    model_price: float = 0.0
    completion_ratio: float = 0.0
    enable_groups: tuple[str, ...] = (_GROUP,)
    supported_endpoint_types: tuple[str, ...] = ("openai",)


class _Balance(NamedTuple):
    """The credits of a key."""

    granted: float
    used: float
    is_unlimited: bool


class BillingRoutes:
    """The handlers that tell what generations cost and what a key has left."""

    def __init__(
        self, *, keys: APIKeys, billing: Billing, models: ModelRegistry, store: Store
    ) -> None:
        self._keys = keys
        self._billing = billing
        self._models = models
        self._store = store

    def table(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/dashboard/billing/subscription", self.subscription, allow_head=False),
            web.get("/dashboard/billing/usage", self.usage, allow_head=False),
            web.get("/api/usage/token/", self.token_usage, allow_head=False),
            web.get("/api/log/token", self.token_log, allow_head=False),
            web.get("/api/pricing", self.pricing, allow_head=False),
        ]

    async def subscription(self, request: web.Request) -> web.Response:
        """Return the credits that the key had at first."""
        balance = await self._balance(request)
        return json_response(
            msgspec.json.encode(
                _Subscription(hard_limit_usd=balance.granted, soft_limit_usd=balance.granted)
            )
        )

    async def usage(self, request: web.Request) -> web.Response:
        """Return the credits that the key has spent, in hundredths."""
        balance = await self._balance(request)
        return json_response(
            msgspec.json.encode(_Usage(total_usage=round_credits(100 * balance.used)))
        )

    async def token_usage(self, request: web.Request) -> web.Response:
        """Return both as counts of quota units, 500,000 a credit."""
        balance = await self._balance(request)
        granted, used = _quota(balance.granted), _quota(balance.used)
        usage = _TokenUsage(
            name=_GROUP,
            total_granted=granted,
            total_used=used,
            total_available=max(granted - used, 0),
            unlimited_quota=balance.is_unlimited,
        )
        return json_response({"data": usage})

    async def token_log(self, request: web.Request) -> web.Response:
        """Return what the newest hundred tasks of the key cost, the newest first."""
        owner = self._keys.authenticate_request(request)
        tasks = await self._store.newest(owner, _MAX_LOG)
        return json_response({"data": [row for task in tasks if (row := _log_row(task))]})

    async def pricing(self, request: web.Request) -> web.Response:
        """Return the prices of all models. No key is needed."""
        del request
        data = [self._pricing(model) for model in self._models.rules]
        data += [
            msgspec.structs.replace(
                self._pricing(name), supported_endpoint_types=(f"{model.kind}-generation",)
            )
            for name, model in self._models.media.items()
        ]
        return json_response({"data": data, "group_ratio": {_GROUP: 1}})

    def _pricing(self, model: str) -> _Pricing:
        price = self._billing.price(model)
        if not isinstance(price, TokenPrice):
            return _Pricing(
                model_name=model, quota_type=_BY_CALLS, model_price=round_credits(price)
            )
        return _Pricing(
            model_name=model,
            quota_type=_BY_TOKENS,
            model_ratio=round_credits(price.prompt / _UNIT_PRICE),
            completion_ratio=round_credits(price.completion / price.prompt),
        )

    async def _balance(self, request: web.Request) -> _Balance:
        owner = self._keys.authenticate_request(request)
        budget = self._billing.budget(owner)
        used = await self._store.spent(owner)
        granted = _UNLIMITED if budget is None else round_credits(budget)
        return _Balance(granted, used, budget is None)


def _quota(amount: float) -> int:
    return round(amount * _QUOTA_OF_A_CREDIT)


def _log_row(task: NumberedTask) -> _LogRow | None:
    """Return the row of a task; ``None`` for one whose snapshot is damaged."""
    try:
        snapshot = _decode_task(task.snapshot)
    except (MsgspecError, UnicodeDecodeError):
        return None
    return _LogRow(
        id=task.number,
        created_at=snapshot.created,
        model_name=snapshot.model,
        quota=_quota(snapshot.credits),
    )
