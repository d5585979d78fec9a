"""The models of one gateway, by the ids that requests name."""

from collections.abc import Iterable, Mapping
from typing import Final

from foxapi_async._catalog import CAPABILITIES, MODELS, CatalogModel
from foxapi_async._wire.results import ModelInfo
from foxapi_async.errors import ConfigError
from foxapi_async.gateway.models.model import Model
from foxapi_async.gateway.models.simulated_model import SimulatedModel
from foxapi_async.gateway.settings import GatewaySettings

_CONTENT_TYPES: Final = {capability: name for name, capability in CAPABILITIES.items()}


class ModelRegistry:
    """Maps model ids to rules and to the models that answer."""

    def __init__(self) -> None:
        self._rules: dict[str, CatalogModel] = {}
        self._models: dict[str, Model] = {}

    @property
    def rules(self) -> Mapping[str, CatalogModel]:
        """The rules that requests are checked by, in the order of the list of models."""
        return self._rules

    @property
    def infos(self) -> tuple[ModelInfo, ...]:
        """The models as the list of models shows them."""
        rules = self._rules.values()
        return tuple(ModelInfo(id=item.id, capabilities=item.capabilities) for item in rules)

    def add(self, rules: CatalogModel, model: Model) -> None:
        """Let ``model`` answer the requests for ``rules.id``, in place of an earlier model."""
        self._rules[rules.id] = rules
        self._models[rules.id] = model

    def find(self, model_id: str) -> Model | None:
        """Return the model that answers requests for ``model_id``."""
        return self._models.get(model_id)

    async def open(self) -> None:
        """Open every model once."""
        for model in self._distinct():
            await model.open()

    async def aclose(self) -> None:
        """Close every model once."""
        for model in self._distinct():
            await model.aclose()

    def _distinct(self) -> Iterable[Model]:
        return {id(model): model for model in self._models.values()}.values()


def make_models(settings: GatewaySettings) -> ModelRegistry:
    """Return the models that the settings name, those of the catalog first.

    Raises:
        ConfigError: A setting names no usable model.
    """
    registry = ModelRegistry()
    simulated = SimulatedModel(settings)
    for rules in (*MODELS.values(), *map(parse_model, settings.models)):
        registry.add(rules, simulated)
    return registry


def parse_model(text: str) -> CatalogModel:
    """Return the rules of a model in the form ``NAME`` or ``NAME:capability,...``.

    The name may contain colons itself. The rules of a known model are those of the catalog.

    Raises:
        ConfigError: The text has no name.
    """
    name, colon, last = text.rpartition(":")
    capabilities = last.split(",")
    if colon and all(item in _CONTENT_TYPES for item in capabilities):
        given = {"text", *(_CONTENT_TYPES[item] for item in capabilities)}
    else:
        name, given = text, {"text"}
    if not name or not name.isprintable() or " " in name:
        raise ConfigError(
            f"GatewaySettings.models: {text[:80]!r} names no model; write NAME or "
            f"NAME:{','.join(CAPABILITIES.values())}"
        )
    if name in MODELS:
        return MODELS[name]
    return CatalogModel(
        id=name, content_types=tuple(item for item in CAPABILITIES if item in given)
    )
