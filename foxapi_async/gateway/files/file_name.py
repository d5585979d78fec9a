"""Names and media types of stored files. Both come from clients, so neither is trusted."""

import mimetypes
import re
import unicodedata
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from foxapi_async._wire.media_type import sniff

DEFAULT_NAME: Final = "upload.bin"
"""The name of a file that has none (contract §11)."""
_BINARY: Final = "application/octet-stream"

_MAX_LENGTH: Final = 120
# No file system takes all of these in a name.
_UNSAFE: Final = re.compile(r'[<>:"|?*%\\/]')
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)
# A browser does not run what it gets with these types. HTML, SVG and XML may have scripts.
_INERT: Final = re.compile(
    r"(image/(?!svg)|audio/|video/|font/).+"
    r"|application/(pdf|zip|json|octet-stream|x-subrip)|text/(plain|csv|markdown|vtt)"
)
_TYPES: Final = {".md": "text/markdown", ".webp": "image/webp", ".srt": "application/x-subrip"}


def safe_name(name: str, default: str = DEFAULT_NAME) -> str:
    """Return a file name that has no folder, no control character and a bounded length.

    Args:
        name: The name as the client gave it.
        default: The name in its place if nothing of it is left.
    """
    last = re.split(r"[\\/]", name)[-1]
    shown = "".join(
        character
        for character in last
        if unicodedata.category(character)[0] not in {"C", "Z"} or character == " "
    )
    short = _shorten(_UNSAFE.sub("_", shown).strip(" .")).strip(" .")
    if not short:
        return default
    return f"_{short}" if _RESERVED.match(short) else short


def name_from_url(url: str) -> str:
    """Return the last part of the path of a URL, decoded; empty if it has none."""
    try:
        path = urlsplit(url).path
    except ValueError:
        return ""
    return unquote(path.rpartition("/")[2], errors="replace")


def served_type(head: bytes, name: str) -> str:
    """Return the media type that a link answers with.

    The first bytes decide, and then the suffix of the name. A type that a browser could run
    becomes ``application/octet-stream``.
    """
    suffix = name[name.rfind(".") :].lower() if "." in name else ""
    found = sniff(head)
    if found is None and not head.startswith(b"PK\3\4"):
        found = _TYPES.get(suffix) or mimetypes.guess_type(f"file{suffix}")[0]
    elif found is None:
        # Office documents are ZIP files too.
        found = mimetypes.guess_type(f"file{suffix}")[0] or "application/zip"
    if found is None:
        return _BINARY
    return found if _INERT.fullmatch(found) or found.startswith(_OFFICE) else _BINARY


_OFFICE: Final = "application/vnd.openxmlformats-officedocument."


def name_for_type(content_type: str) -> str:
    """Return the name of an upload that has none: ``upload`` and the suffix of its type."""
    suffix = mimetypes.guess_extension(content_type.partition(";")[0].strip().lower())
    return f"upload{suffix}" if suffix else DEFAULT_NAME


def content_disposition(name: str, *, is_shown: bool) -> str:
    """Return the header that names the file, in the form of RFC 6266."""
    kind = "inline" if is_shown else "attachment"
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _shorten(name: str) -> str:
    """Return a name with at most 120 bytes, its suffix kept."""
    if len(name.encode()) <= _MAX_LENGTH:
        return name
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix) > _MAX_LENGTH // 8:
        stem, dot, suffix = name, "", ""
    room = _MAX_LENGTH - len(f"{dot}{suffix}".encode())
    return f"{stem.encode()[:room].decode(errors='ignore')}{dot}{suffix}"
