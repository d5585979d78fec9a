"""Builders of content blocks: a text, or a medium from a URL, bytes or a file (CONTRACT §3.3)."""

import base64
import mimetypes
from pathlib import Path

from foxapi_async._wire.request import ContentBlock, MediaURL

Medium = str | bytes | Path
"""An http(s) URL, a data URI, the bytes themselves, or the path of a file."""

_SIGNATURES = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (8, b"WAVE", "audio/wav"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"OggS", "audio/ogg"),
    (0, b"fLaC", "audio/flac"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (0, b"%PDF-", "application/pdf"),
)


def text(text: str) -> ContentBlock:
    """Build a block of text."""
    return ContentBlock(type="text", text=text)


def image(source: Medium, *, mime: str | None = None) -> ContentBlock:
    """Build an image block from a URL, bytes or a ``Path``.

    Bytes and files become a data URI: the file is read here and now, so build blocks of large files
    outside the event loop. ``mime`` overrides the type that the name or the first bytes tell.
    """
    return ContentBlock(type="image_url", image_url=_media_url(source, mime))


def video(source: Medium, *, mime: str | None = None) -> ContentBlock:
    """Build a video block from a URL, bytes or a ``Path``; see ``image``."""
    return ContentBlock(type="video_url", video_url=_media_url(source, mime))


def audio(source: Medium, *, mime: str | None = None) -> ContentBlock:
    """Build an audio block from a URL, bytes or a ``Path``; see ``image``."""
    return ContentBlock(type="audio_url", audio_url=_media_url(source, mime))


def file(source: Medium, *, mime: str | None = None) -> ContentBlock:
    """Build a block of a document from a URL, bytes or a ``Path``; see ``image``."""
    return ContentBlock(type="file_url", file_url=_media_url(source, mime))


def _media_url(source: Medium, mime: str | None) -> MediaURL:
    if isinstance(source, str):
        if not source.startswith(("http://", "https://", "data:")):
            raise ValueError(
                "a text must be an http(s) URL or a data URI; wrap the name of a file in Path(...)"
            )
        return MediaURL(url=source)
    if isinstance(source, Path):
        mime = mime or mimetypes.guess_type(source.name)[0]
        source = source.read_bytes()
    mime = mime or _sniffed(source)
    return MediaURL(url=f"data:{mime};base64,{base64.b64encode(source).decode()}")


def _sniffed(data: bytes) -> str:
    for offset, signature, mime in _SIGNATURES:
        if data.startswith(signature, offset):
            return mime
    raise ValueError("the kind of these bytes cannot be told; name it: mime='image/png'")
