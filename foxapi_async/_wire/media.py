"""What image, video, audio and document tasks produce (CONTRACT §9)."""

from typing import Any

import msgspec
from msgspec import Raw, Struct, ValidationError

_read_item = msgspec.json.Decoder(dict[str, Any]).decode


class MediaResult(Struct, frozen=True, kw_only=True):
    """The results of a media task, one ``dict`` an output, in the shape of its model.

    Links live 24 hours from an instant that the service does not define (CONTRACT Q4), and must be
    fetched without the API key.
    """

    items: tuple[dict[str, Any], ...]

    @property
    def urls(self) -> tuple[str, ...]:
        """The link of each output that has one."""
        return tuple(item["url"] for item in self.items if isinstance(item.get("url"), str))


def read_media(results: tuple[Raw, ...]) -> MediaResult:
    """Read every element of ``results``; ``msgspec.DecodeError`` if one is not an object."""
    try:
        return MediaResult(items=tuple(map(_read_item, results)))
    except RecursionError:
        raise ValidationError("the results are nested too deeply") from None
