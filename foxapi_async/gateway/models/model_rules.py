"""The rules of the models that a setting adds to those of the service."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from foxapi_async._catalog import CAPABILITIES, MODELS, CatalogModel
from foxapi_async._wire.suggestion import closest, suggestion
from foxapi_async.errors import ConfigError

_CONTENT_TYPES: Final = {capability: name for name, capability in CAPABILITIES.items()}
_SIMILARITY: Final = 0.8
_MAX_WORD: Final = 20


def parse_model(text: str) -> CatalogModel:
    """Return the rules of a model in the form ``NAME`` or ``NAME:capability,...``.

    The name may contain colons itself. The rules of a known model are those of the catalog.

    Raises:
        ConfigError: The text has no name, or the word after its last colon is no capability. In
            front of capabilities that are given, any word belongs to the name.
    """
    return _parse("GatewaySettings.models", text, words_are_capabilities=True)[0]


def parse_upstream_model(text: str) -> CatalogModel:
    """Return the rules of a model of an upstream, in the form of ``parse_model``.

    Capabilities limit the inputs of a known model: its place may be taken by a model that has
    fewer. A word after the last colon belongs to the name, as in ``llama3:latest``, unless it is
    like a capability.

    Raises:
        ConfigError: The text has no name, or a capability is misspelt.
    """
    rules, given = _parse("Upstream.models", text, words_are_capabilities=False)
    if given is None:
        return rules
    return replace(
        rules, content_types=tuple(item for item in rules.content_types if item in given)
    )


def _parse(
    setting: str, text: str, *, words_are_capabilities: bool
) -> tuple[CatalogModel, frozenset[str] | None]:
    """Return the rules, and the content types that the text names."""
    name, colon, last = text.rpartition(":")
    capabilities = last.split(",")
    unknown = [item for item in capabilities if item not in _CONTENT_TYPES]
    given: frozenset[str] | None = None
    if colon and not unknown:
        given = frozenset({"text", *(_CONTENT_TYPES[item] for item in capabilities)})
    else:
        if colon and _are_capabilities(capabilities, unknown, words=words_are_capabilities):
            raise _unknown_capability(setting, text, unknown[0])
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


def _are_capabilities(items: Sequence[str], unknown: Sequence[str], *, words: bool) -> bool:
    """Return whether a text that has ``unknown`` items is meant as capabilities."""
    return (
        len(unknown) < len(items)
        or (words and all(item.isalpha() or not item for item in items))
        or any(_similar(item) is not None for item in unknown)
    )


def _unknown_capability(setting: str, text: str, item: str) -> ConfigError:
    hint = suggestion(_similar(item), f"inputs are {', '.join(CAPABILITIES.values())}.")
    return ConfigError(
        f"{setting}: {text[:80]!r} has the unknown input {item[:80]!r}; {hint} If it belongs to "
        f"the name, add the inputs after it: {text[:80]}:text"
    )


def _similar(item: str) -> str | None:
    return closest(item.strip().lower()[:_MAX_WORD], _CONTENT_TYPES, similarity=_SIMILARITY)
