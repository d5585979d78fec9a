"""Builders of content blocks: a text, or a medium from wherever it is (contract §3.3)."""

import base64
import io
import os
import re
from typing import Any, Final, Protocol, TypeAlias, cast

from foxapi_async._wire.media_type import Kind, check_kind, media_type
from foxapi_async._wire.request import ContentBlock, MediaURL
from foxapi_async.config import URLObject

__all__ = ["BinaryFile", "MediaSource", "audio", "file", "image", "text", "video"]


class BinaryFile(Protocol):
    """A file that is open for reading bytes."""

    def read(self) -> bytes:
        """Return what is left of the file."""
        ...


class PILImage(Protocol):
    """An image of Pillow."""

    @property
    def mode(self) -> str:
        """How its pixels are kept."""
        ...

    def save(self, fp: Any, format: str | None = None) -> None:
        """Write the image."""
        ...


MediaSource: TypeAlias = (
    str | bytes | bytearray | memoryview | os.PathLike[str] | BinaryFile | PILImage | URLObject
)
"""A URL or data URI as a text, a URL object, the bytes, a path, an open binary file, or an image of
Pillow.
"""

_DATA_URI: Final = re.compile(r"data:([^,;]*)[^,]*,", re.IGNORECASE)
# Modes of Pillow that a PNG can hold.
_PNG_MODES: Final = frozenset({"1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA"})


def text(text: str) -> ContentBlock:
    """Build a block of text."""
    return ContentBlock(type="text", text=text)


def image(source: MediaSource, *, mime: str | None = None) -> ContentBlock:
    """Build an image block from a URL, a data URI, bytes, a path, an open file or a Pillow image.

    All but a URL become a data URI: the file is read here and now, so build blocks of large files
    outside the event loop. An open file is read from its start if it can be rewound; an image of
    Pillow is written as PNG.

    The first bytes tell the media type, a file's name only where they do not; ``mime`` overrides
    both. ``ValueError`` for no content, another kind of content, or an unknown media type;
    ``TypeError`` for a source of another type; ``OSError`` for a file that cannot be read.
    """
    return ContentBlock(type="image_url", image_url=_media_url(source, "image", mime))


def video(source: MediaSource, *, mime: str | None = None) -> ContentBlock:
    """Build a video block from a URL, a data URI, bytes, a path or an open file; see ``image``."""
    return ContentBlock(type="video_url", video_url=_media_url(source, "video", mime))


def audio(source: MediaSource, *, mime: str | None = None) -> ContentBlock:
    """Build an audio block from a URL, a data URI, bytes, a path or an open file; see ``image``."""
    return ContentBlock(type="audio_url", audio_url=_media_url(source, "audio", mime))


def file(source: MediaSource, *, mime: str | None = None) -> ContentBlock:
    """Build a document block from a URL, a data URI, bytes, a path or an open file; see ``image``.

    A document is whatever is neither image, video nor audio, such as a PDF or a text.
    """
    return ContentBlock(type="file_url", file_url=_media_url(source, "file", mime))


def _media_url(source: MediaSource, kind: Kind, mime: str | None) -> MediaURL:
    if isinstance(source, str) or _is_url(source):
        return MediaURL(url=_checked_url(str(source), kind))
    data, name = _read(source)
    mime = media_type(data, kind, mime=mime, name=name)
    return MediaURL(url=f"data:{mime};base64,{base64.b64encode(data).decode()}")


def _is_url(source: object) -> bool:
    """Return whether ``source`` is a URL object, such as those of pydantic, yarl and httpx."""
    return hasattr(source, "scheme") and hasattr(source, "host")


def _checked_url(url: str, kind: Kind) -> str:
    lowered = url[:8].lower()
    if lowered.startswith(("http://", "https://")):
        return url
    if not lowered.startswith("data:"):
        raise ValueError(
            "a text must be an http(s) URL or a data URI; wrap the name of a file in Path(...)"
        )
    head = _DATA_URI.match(url)
    if head is None:
        raise ValueError("the data URI has no comma: data:image/png;base64,...")
    # Without a type it is a text, as RFC 2397 says.
    check_kind(head[1] or "text/plain", kind)
    if head.end() == len(url):
        raise ValueError("the data URI has no content after its comma")
    return url


def _read(source: MediaSource) -> tuple[bytes, str]:
    """Return the bytes of a source and the name of its file, if it has one."""
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(cast("bytes", source)), ""
    if isinstance(source, os.PathLike):
        path = os.fspath(source)
        with open(path, "rb") as opened:  # noqa: PTH123 not every such object is a Path
            return opened.read(), os.fsdecode(path)
    if any(base.__module__.partition(".")[0] == "PIL" for base in type(source).__mro__):
        return _png(cast("Any", source)), ""
    if not hasattr(source, "read"):
        raise TypeError(
            "a medium must be a URL, bytes, a path, an open binary file or an image of Pillow, "
            f"got {type(source).__name__}"
        )
    return _whole(cast("Any", source))


def _whole(source: Any) -> tuple[bytes, str]:
    """Read an open file from its start: one that was just written stands at its end."""
    seekable = getattr(source, "seekable", None)
    if seekable is not None and seekable():
        source.seek(0)
    data: object = source.read()
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"the file gives {type(data).__name__}, not bytes: open it with 'rb'")
    name: object = getattr(source, "name", "")
    return bytes(cast("bytes", data)), name if isinstance(name, str) else ""


def _png(picture: Any) -> bytes:
    # Lossless, whatever the picture was made from.
    if picture.mode not in _PNG_MODES:
        picture = picture.convert("RGB")
    written = io.BytesIO()
    picture.save(written, format="PNG")
    return written.getvalue()
