"""What image, video, audio and document tasks produce (contract §9)."""

from typing import Any

from msgspec import Raw, Struct, ValidationError

from foxapi_async._wire.base import decode_json, is_object


class MediaResult(Struct, frozen=True, kw_only=True):
    """The results of an image, video, audio or document task.

    Links live 24 hours, from an instant that the service does not define (contract Q4). Fetch them
    without the API key.
    """

    items: tuple[dict[str, Any], ...]
    """One ``dict`` for each output, in the shape of its model."""

    @property
    def urls(self) -> tuple[str, ...]:
        """The link of each output that has one."""
        return tuple(item["url"] for item in self.items if isinstance(item.get("url"), str))


def decode_media(results: tuple[Raw, ...]) -> MediaResult:
    """Read the elements of ``results``, a bare link as an object with a ``url``, and no nulls.

    ``msgspec.DecodeError`` if one is something else.
    """
    items = (_item(decode_json(result)) for result in results)
    return MediaResult(items=tuple(item for item in items if item is not None))


def _item(value: Any) -> dict[str, Any] | None:
    if value is None or is_object(value):
        return value
    if isinstance(value, str):
        return {"url": value}
    raise ValidationError(f"Expected `object`, got `{type(value).__name__}`")
