"""The local server: the service's contract for language models on your machine, without an account.

``async with Gateway() as gateway`` listens on a free loopback port and tells its ``url``;
``make_app()`` gives the ``aiohttp.web.Application`` to run elsewhere. Both take the members of
``GatewaySettings`` as keywords.

The models are simulated and answer one request the same way each time: they count ("count 1 to
3"), fill in a JSON schema, call a tool, or else quote the prompt in a short reply. A prompt with
``[[fail:content_policy_violation]]`` in it, or with any other code, makes its task fail with that
code; ``[[fail:timeout:3]]`` lets it write three tokens first.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foxapi_async.gateway.app import make_app
    from foxapi_async.gateway.faults.loading import load_faults
    from foxapi_async.gateway.faults.plan import Faults
    from foxapi_async.gateway.faults.rule import FaultRule
    from foxapi_async.gateway.server import Gateway
    from foxapi_async.gateway.settings import GatewaySettings

__all__ = ["FaultRule", "Faults", "Gateway", "GatewaySettings", "load_faults", "make_app"]

_HOMES = {
    "FaultRule": "faults.rule",
    "Faults": "faults.plan",
    "Gateway": "server",
    "GatewaySettings": "settings",
    "load_faults": "faults.loading",
    "make_app": "app",
}


def __getattr__(name: str) -> object:
    """Load the module of a public name when it is first used: aiohttp.web is slow to import."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
