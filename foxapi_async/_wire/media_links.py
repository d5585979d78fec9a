"""Links in the results of media tasks, and what downloads them."""

import os
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from foxapi_async._wire.base import is_list, is_object
from foxapi_async._wire.transfer_progress import OnTransfer

LINKS: Final = (
    "url",
    "image_url",
    "video_url",
    "audio_url",
    "transcription_url",
    "result_url",
)
_LINK_LISTS: Final = frozenset(f"{name}s" for name in LINKS)
_MAX_DEPTH: Final = 8
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class NamedLink(NamedTuple):
    """A link to a file."""

    url: str
    filename: str | None = None
    """The name of the file, if it is known."""
    content_type: str | None = None
    """Its media type, if it is known."""


class Downloader(Protocol):
    """Downloads links: the session that results came from."""

    def download(
        self,
        link: NamedLink,
        path: str | os.PathLike[str],
        *,
        overwrite: bool,
        progress: OnTransfer | None,
    ) -> Coroutine[Any, Any, Path]:
        """Download a link to a path or into a folder."""
        ...

    def save(
        self,
        links: Sequence[NamedLink],
        folder: str | os.PathLike[str],
        *,
        overwrite: bool,
        progress: OnTransfer | None,
    ) -> Coroutine[Any, Any, list[Path]]:
        """Download links into a folder."""
        ...

    def iter_bytes(self, link: NamedLink) -> AsyncIterator[bytes]:
        """Return the bytes behind a link."""
        ...


def links_in(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield the values of link members at any depth; a link may be a text, an object or a list."""
    if depth > _MAX_DEPTH:
        return
    if is_list(value):
        for item in value:
            yield from links_in(item, depth + 1)
    elif is_object(value):
        for name, member in value.items():
            if name in LINKS or name in _LINK_LISTS:
                yield from _texts_in(member)
            if not isinstance(member, str):
                yield from links_in(member, depth + 1)


def _texts_in(value: Any) -> Iterator[str]:
    for item in value if is_list(value) else [value]:
        if isinstance(item, str) and item:
            yield item


def is_link(text: str) -> bool:
    scheme, colon, _ = text.partition(":")
    return bool(colon) and scheme.lower() in {"http", "https", "data"}


def may_be_shown(link: str) -> bool:
    """Tell whether a page may load a link: over https, or from this machine."""
    scheme_and_host, _ = split_link(link)
    scheme, _, host = scheme_and_host.partition("://")
    return (scheme == "https" and bool(host)) or (scheme == "http" and host in _LOOPBACK)


def split_link(link: str) -> tuple[str, str]:
    """Return scheme and host of a link, and its path; empty texts for one that cannot be read."""
    try:
        parts = urlsplit(link)
        origin = f"{parts.scheme}://{parts.hostname or ''}"
    except ValueError:
        return "", ""
    return origin, parts.path
