"""The models that make images, videos, audio and documents, as far as the service documents them.

The data are in a module of their own. They have the names, types and figures of an operation
catalog of another client (contract §10). What comes from a schema is a rule. What was read from a
description is a hint only.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec
from msgspec import Struct, field

from foxapi_async._wire.media_request import MediaKind


class MediaParam(Struct, frozen=True, kw_only=True):
    """One parameter of a media model."""

    required: bool = False
    """Whether the service requires it."""
    type: str | None = None
    """The JSON type by the schema of the service; ``None`` if the schema has none."""
    items: str | None = None
    """The JSON type of the items of an array; ``None`` if the schema has none."""
    type_hint: str | None = None
    """The probable JSON type, where the schema has none."""
    enum: tuple[Any, ...] = ()
    """The allowed values by the schema; empty if it has none."""
    default: Any = None
    """The value that the service uses if none is sent; ``None`` if that is not known."""
    hints: Mapping[str, Any] = field(default_factory=dict[str, Any], name="from_text")
    """Figures that were read from the description, such as ``max``; they may be wrong."""
    models_differ: bool = False
    """Whether the description makes a difference between the variants of the model."""


class MediaModel(Struct, frozen=True, kw_only=True):
    """One media model and its parameters."""

    id: str
    """The id of the model."""
    kind: MediaKind
    """What it makes."""
    path: str
    """The path of its submissions."""
    result: str
    """The shape of one result, in words."""
    other_ids: tuple[str, ...] = ()
    """The ids of its variants, which take the same parameters."""
    params: Mapping[str, MediaParam]
    """The parameters by name, the required ones first."""


@cache
def media_models() -> Mapping[str, MediaModel]:
    """Return the known media models by id; a variant has the model that it belongs to.

    The data are read at the first call.
    """
    from foxapi_async._catalog.media_data import MEDIA_MODELS

    models = msgspec.json.decode(MEDIA_MODELS, type=tuple[MediaModel, ...])
    return {name: model for model in models for name in (model.id, *model.other_ids)}


def media_catalog() -> tuple[MediaModel, ...]:
    """Return the media models that this version of the SDK knows, with their parameters.

    Sends no request.
    """
    return tuple({model.id: model for model in media_models().values()}.values())
