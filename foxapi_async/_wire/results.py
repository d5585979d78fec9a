"""Results of media tasks (contract §9) and the list of models (contract §7.2, endpoint #4)."""

from typing import Any

from msgspec import Raw, Struct

from foxapi_async._wire.base import Decoder, ResponseStruct, decode_json, is_object
from foxapi_async._wire.decode_errors import wrong_type


class MediaResult(Struct, frozen=True, kw_only=True):
    """The results of an image, video, audio or document task.

    The URLs are valid for 24 hours; the service does not define from when (contract Q4). Fetch them
    without the API key.
    """

    items: tuple[dict[str, Any], ...]
    """One ``dict`` for each output; its members depend on the model."""

    @property
    def urls(self) -> tuple[str, ...]:
        """The URL of each output that has one."""
        return tuple(item["url"] for item in self.items if isinstance(item.get("url"), str))


def decode_media(results: tuple[Raw, ...]) -> MediaResult:
    """Decode the elements of ``results``.

    A bare URL becomes an object with a ``url``; nulls are dropped. Raises ``msgspec.DecodeError``
    for any other element.
    """
    items = (_item(decode_json(result)) for result in results)
    return MediaResult(items=tuple(item for item in items if item is not None))


def _item(value: Any) -> dict[str, Any] | None:
    if value is None or is_object(value):
        return value
    if isinstance(value, str):
        return {"url": value}
    raise wrong_type("object", value)


class ModelInfo(ResponseStruct, frozen=True, kw_only=True, gc=False):
    """One model of the service's list."""

    id: str
    """The id of the model."""
    object: str = "model"
    """The kind of object."""
    capabilities: tuple[str, ...] = ()
    """The inputs that the model accepts: ``text``, ``vision``, ``video``, ``audio``, ``file``, in
    the order of the service.
    """


class ModelList(ResponseStruct, frozen=True, kw_only=True, gc=False):
    """The response of the endpoint. ``data`` is empty for a group without models."""

    object: str = "list"
    """The kind of object."""
    data: tuple[ModelInfo, ...] = ()
    """The models."""


model_list_decoder = Decoder(ModelList)
