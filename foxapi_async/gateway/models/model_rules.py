"""The rules of the models that a setting adds to those of the service."""

from typing import Final

from msgspec.structs import replace

from foxapi_async._catalog import CAPABILITIES, MODELS, CatalogModel
from foxapi_async.errors import ConfigError

_CONTENT_TYPES: Final = {capability: name for name, capability in CAPABILITIES.items()}


def parse_model(text: str) -> CatalogModel:
    """Return the rules of a model in the form ``NAME`` or ``NAME:capability,...``.

    The name may contain colons itself. The rules of a known model are those of the catalog.

    Raises:
        ConfigError: The text has no name.
    """
    return _parse("GatewaySettings.models", text)[0]


def parse_upstream_model(text: str) -> CatalogModel:
    """Return the rules of a model of an upstream, in the form of ``parse_model``.

    Capabilities limit the inputs of a known model: its place may be taken by a model that has
    fewer.

    Raises:
        ConfigError: The text has no name.
    """
    rules, given = _parse("Upstream.models", text)
    if given is None:
        return rules
    return replace(
        rules, content_types=tuple(item for item in rules.content_types if item in given)
    )


def _parse(setting: str, text: str) -> tuple[CatalogModel, frozenset[str] | None]:
    """Return the rules, and the content types that the text names."""
    name, colon, last = text.rpartition(":")
    capabilities = last.split(",")
    given: frozenset[str] | None = None
    if colon and all(item in _CONTENT_TYPES for item in capabilities):
        given = frozenset({"text", *(_CONTENT_TYPES[item] for item in capabilities)})
    else:
        name = text
    if not name or not name.isprintable() or " " in name:
        raise ConfigError(
            f"{setting}: {text[:80]!r} names no model; write NAME or "
            f"NAME:{','.join(CAPABILITIES.values())}"
        )
    if name in MODELS:
        return MODELS[name], given
    types = tuple(item for item in CAPABILITIES if item in (given or {"text"}))
    return CatalogModel(id=name, content_types=types), given
