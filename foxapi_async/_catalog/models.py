"""The eight models of the seed (contract §7.1)."""

from typing import Final, Literal

from msgspec import Struct

MaxTokens = Literal["optional", "at_least_16", "required"]
"""The rule of a model for ``max_tokens``; ``at_least_16`` applies only to a given value."""

CAPABILITIES: Final = {
    "text": "text",
    "image_url": "vision",
    "video_url": "video",
    "audio_url": "audio",
    "file_url": "file",
}
"""Maps each content type to the name of its capability, in the order of the service."""


class CatalogModel(Struct, frozen=True, kw_only=True):
    """The rules of one model."""

    id: str
    """The id of the model."""
    content_types: tuple[str, ...]
    """The content types that it accepts."""
    max_tokens: MaxTokens = "optional"
    """The rule for ``max_tokens``: ``optional``, ``at_least_16`` or ``required``."""
    thinking: bool = False
    """Whether it emits reasoning before its answer (contract Q1)."""

    @property
    def capabilities(self) -> tuple[str, ...]:
        """The inputs that the model accepts, as the service names them in its list of models."""
        return tuple(CAPABILITIES[name] for name in self.content_types)


_WITH_IMAGES = ("text", "image_url")
_WITH_DOCUMENTS = ("text", "image_url", "file_url")
_ALL_TYPES = tuple(CAPABILITIES)

_SEED = (
    CatalogModel(id="gpt-5.4", content_types=_WITH_IMAGES, max_tokens="at_least_16"),
    CatalogModel(id="gpt-5.5", content_types=_WITH_IMAGES, max_tokens="at_least_16"),
    CatalogModel(id="kimi-k2.6", content_types=_WITH_IMAGES, thinking=True),
    CatalogModel(id="claude-opus-4-6", content_types=_WITH_DOCUMENTS, max_tokens="required"),
    CatalogModel(id="claude-opus-4-7", content_types=_WITH_DOCUMENTS, max_tokens="required"),
    CatalogModel(id="claude-sonnet-4-6", content_types=_WITH_DOCUMENTS, max_tokens="required"),
    CatalogModel(id="gemini-3-pro-preview", content_types=_ALL_TYPES),
    CatalogModel(id="gemini-3.1-pro-preview", content_types=_ALL_TYPES),
)

MODELS: Final[dict[str, CatalogModel]] = {model.id: model for model in _SEED}
"""The catalog by model id, in the order of the seed."""


def catalog() -> tuple[CatalogModel, ...]:
    """Return the models that this version of the SDK knows, with their rules.

    Sends no request.
    """
    return tuple(MODELS.values())
