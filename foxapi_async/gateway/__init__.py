"""The local gateway: the service's language-model API on your machine, without an account.

``async with Gateway() as gateway`` listens on a free loopback port; ``gateway.url`` is its address.
``make_app()`` returns an ``aiohttp.web.Application`` to run elsewhere. Both take the fields of
``GatewaySettings`` as keywords.

The models are simulated and give the same answer to the same request each time: they count ("count
1 to 3"), generate JSON for a schema, call a tool, or quote the prompt in a short reply. A prompt
that contains ``[[fail:content_policy_violation]]``, or any other code, makes its task fail with
that code; ``[[fail:timeout:3]]`` writes three tokens first. With ``upstreams`` real models of other
servers answer.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foxapi_async.gateway.app import make_app
    from foxapi_async.gateway.faults.loading import load_faults
    from foxapi_async.gateway.faults.plan import Faults
    from foxapi_async.gateway.faults.rule import FaultRule
    from foxapi_async.gateway.models.replies import Replies, Reply, ReplyCall, load_replies
    from foxapi_async.gateway.prices import TokenPrice
    from foxapi_async.gateway.server import Gateway
    from foxapi_async.gateway.settings import GatewaySettings
    from foxapi_async.gateway.upstream_settings import Upstream, load_upstreams

__all__ = [
    "FaultRule",
    "Faults",
    "Gateway",
    "GatewaySettings",
    "Replies",
    "Reply",
    "ReplyCall",
    "TokenPrice",
    "Upstream",
    "load_faults",
    "load_replies",
    "load_upstreams",
    "make_app",
]

_MODULES = {
    "FaultRule": "faults.rule",
    "Faults": "faults.plan",
    "Gateway": "server",
    "GatewaySettings": "settings",
    "Replies": "models.replies",
    "Reply": "models.replies",
    "ReplyCall": "models.replies",
    "Upstream": "upstream_settings",
    "TokenPrice": "prices",
    "load_faults": "faults.loading",
    "load_replies": "models.replies",
    "load_upstreams": "upstream_settings",
    "make_app": "app",
}


def __getattr__(name: str) -> object:
    """Import the module of a public name at its first use: aiohttp.web is slow to import."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
