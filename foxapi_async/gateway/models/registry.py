"""The models of one gateway, by the ids that requests name."""

from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Literal

from foxapi_async._catalog import MODELS, CatalogModel
from foxapi_async._catalog.media_models import MediaModel, media_models
from foxapi_async._wire.model_list import ModelInfo
from foxapi_async.errors import ConfigError
from foxapi_async.gateway.models.local import LOCAL_NAME, LocalModel, local_model_id
from foxapi_async.gateway.models.model import Model
from foxapi_async.gateway.models.model_rules import parse_model
from foxapi_async.gateway.models.simulated_model import SimulatedModel
from foxapi_async.gateway.models.upstream import UpstreamModel
from foxapi_async.gateway.settings import GatewaySettings
from foxapi_async.gateway.stats import GatewayStats, UpstreamStats


class ModelRegistry:
    """Maps model ids to rules and to the models that answer.

    Args:
        simulates_media: Whether there are models of images, videos, audio and documents.
    """

    def __init__(self, *, simulates_media: bool = True) -> None:
        self._simulates_media = simulates_media
        self._rules: dict[str, CatalogModel] = {}
        self._models: dict[str, Model] = {}
        # The settings that name the models.
        self._sources: dict[str, str] = {}

    @property
    def rules(self) -> Mapping[str, CatalogModel]:
        """The rules that requests are checked by, in the order of the list of models."""
        return self._rules

    @property
    def infos(self) -> tuple[ModelInfo, ...]:
        """The models as the list of models shows them."""
        rules = self._rules.values()
        return tuple(ModelInfo(id=item.id, capabilities=item.capabilities) for item in rules)

    @property
    def media(self) -> Mapping[str, MediaModel]:
        """The models of images, videos, audio and documents, by id; none if none are simulated."""
        return media_models() if self._simulates_media else {}

    def add(self, rules: CatalogModel, model: Model, source: str | None = None) -> None:
        """Let ``model`` answer the requests for ``rules.id``.

        Args:
            rules: The rules of the model.
            model: The model.
            source: The setting that names the model. It takes the place of one without a source.

        Raises:
            ConfigError: Another setting names the same id.
        """
        if source is not None:
            if rules.id in self._sources:
                raise ConfigError(
                    f"the model {rules.id!r} is given twice, by {self._sources[rules.id]} and by "
                    f"{source}; give it once"
                )
            self._sources[rules.id] = source
        self._rules[rules.id] = rules
        self._models[rules.id] = model

    def find(self, model_id: str) -> Model | None:
        """Return the model that answers requests for ``model_id``."""
        return self._models.get(model_id)

    async def open(self) -> None:
        """Open every model once. If one cannot be opened, all are closed."""
        try:
            for model in self._distinct():
                await model.open()
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Close every model once."""
        for model in self._distinct():
            await model.aclose()

    def _distinct(self) -> Iterable[Model]:
        return {id(model): model for model in self._models.values()}.values()


def make_models(settings: GatewaySettings, stats: GatewayStats | None = None) -> ModelRegistry:
    """Return the models that the settings name, those of the catalog first.

    An upstream takes the place of a simulated model that has the same id.

    Args:
        settings: The settings.
        stats: Where the counters of upstreams are added.

    Raises:
        ConfigError: A setting names no usable model.
    """
    registry = ModelRegistry(simulates_media=not settings.only_upstream)
    if not settings.only_upstream:
        simulated = SimulatedModel(settings)
        for rules in MODELS.values():
            registry.add(rules, simulated)
        for text in settings.models:
            _add_simulated(registry, simulated, text)
    counters = stats or GatewayStats()
    _add_upstreams(registry, settings, counters)
    if settings.local:
        _add_local(registry, settings, settings.local, counters)
    if not registry.rules:
        raise ConfigError("GatewaySettings.only_upstream needs at least one upstream, or local")
    return registry


def _add_simulated(registry: ModelRegistry, model: SimulatedModel, text: str) -> None:
    rules = parse_model(text)
    if rules.id in MODELS:
        raise ConfigError(
            f"GatewaySettings.models: {text[:80]!r} names {rules.id!r}, a model of the service, "
            "which is there already with its own inputs"
        )
    registry.add(rules, model, f"GatewaySettings.models {text[:80]!r}")


def _add_upstreams(registry: ModelRegistry, settings: GatewaySettings, stats: GatewayStats) -> None:
    for upstream in settings.upstreams:
        counters = UpstreamStats(upstream.url)
        stats.upstreams.append(counters)
        model = UpstreamModel(upstream, clock=settings.clock, stats=counters)
        for rules in model.rules:
            registry.add(rules, model, f"the upstream {upstream.url}")


def _add_local(
    registry: ModelRegistry,
    settings: GatewaySettings,
    source: Literal[True] | str | PathLike[str],
    stats: GatewayStats,
) -> None:
    counters = UpstreamStats(LOCAL_NAME)
    model = LocalModel(source, names=settings.local_names, clock=settings.clock, stats=counters)
    stats.upstreams.append(counters)
    for rules in model.rules:
        registry.add(rules, model, f"the local model {local_model_id(source)!r}")
