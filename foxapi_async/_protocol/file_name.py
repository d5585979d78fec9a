"""Names of downloaded files that every file system can hold, and that lead into no other folder."""

import re
import unicodedata
from collections.abc import Collection
from typing import Final
from urllib.parse import unquote, urlsplit

# The longest part of a path is 255 bytes, or 255 UTF-16 units after decomposition on HFS+. A number
# and the ending of a temporary file must fit too.
_MAX_BYTES: Final = 180
_MAX_SUFFIX: Final = 16
_FORBIDDEN: Final = re.compile(r'[<>:"|?*/\\]')
# A leading dot hides a file, a leading dash makes it an option of many commands.
_LEADING: Final = " .-~"
_TRAILING: Final = " ."
_RESERVED: Final = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$"}
    | {f"{device}{number}" for device in ("com", "lpt") for number in "0123456789¹²³"}
)
_SUFFIXES: Final = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "image/avif": ".avif",
    "image/svg+xml": ".svg",
    "image/tiff": ".tiff",
    "video/mp4": ".mp4",
    "video/webm": ".webm",
    "video/quicktime": ".mov",
    "video/mpeg": ".mpeg",
    "audio/mpeg": ".mp3",
    "audio/wav": ".wav",
    "audio/x-wav": ".wav",
    "audio/ogg": ".ogg",
    "audio/flac": ".flac",
    "audio/aac": ".aac",
    "audio/mp4": ".m4a",
    "audio/webm": ".weba",
    "application/pdf": ".pdf",
    "application/zip": ".zip",
    "application/json": ".json",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "model/gltf-binary": ".glb",
    "text/plain": ".txt",
    "text/markdown": ".md",
    "text/html": ".html",
    "text/csv": ".csv",
}
_EXTENDED: Final = re.compile(r"""\bfilename\*\s*=\s*([\w-]+)'[^']*'([^;\s]+)""", re.IGNORECASE)
_QUOTED: Final = re.compile(r'\bfilename\s*=\s*"((?:[^"\\]|\\.)*)"', re.IGNORECASE)
_TOKEN: Final = re.compile(r'\bfilename\s*=\s*([^\s;"]+)', re.IGNORECASE)
_MAX_HEADER: Final = 4096


def safe_file_name(text: str) -> str | None:
    """Return the last part of ``text`` as a name that every file system can hold.

    It is no hidden file, no reserved name of Windows, and short enough for a number to be added.
    ``None`` if nothing is left. A name that is returned is returned again as it is.
    """
    last = re.split(r"[/\\]", text[-_MAX_HEADER:])[-1]
    visible = "".join(char for char in last if unicodedata.category(char)[0] != "C")
    name = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", visible))
    name = "".join(" " if unicodedata.category(char)[0] == "Z" else char for char in name)
    name = _shortened(name.lstrip(_LEADING).rstrip(_TRAILING), _MAX_BYTES)
    if not name:
        return None
    return f"_{name}" if name.partition(".")[0].strip().casefold() in _RESERVED else name


def download_name(
    *,
    filename: str | None = None,
    disposition: str | None = None,
    url: str = "",
    media_type: str | None = None,
) -> str:
    """Return the name of a downloaded file, from the first source that has one.

    Args:
        filename: The name in the result of the task.
        disposition: The header ``Content-Disposition``.
        url: The link.
        media_type: The media type, which gives the ending of a name without one.

    Returns:
        A name that `safe_file_name` returns as it is.
    """
    named = (filename, disposition and disposition_name(disposition), _last_part(url))
    name = next((safe for text in named if text and (safe := safe_file_name(text))), "download")
    if suffix_of(name):
        return name
    suffix = suffix_for(media_type)
    return f"{_shortened(name, _MAX_BYTES - len(suffix))}{suffix}" if suffix else name


def numbered_name(name: str, number: int) -> str:
    """Return ``name`` with a number before its ending, as in ``cat-2.png``."""
    suffix = suffix_of(name)
    stem = name.removesuffix(suffix)
    ending = f"-{number}{suffix}"
    return f"{_shortened(stem, _MAX_BYTES - len(ending.encode()))}{ending}"


def free_name(name: str, names: Collection[str]) -> str:
    """Return ``name``, or a numbered form of it that is none of ``names``.

    ``names`` are results of `collision_key`.
    """
    number, free = 1, name
    while collision_key(free) in names:
        number += 1
        free = numbered_name(name, number)
    return free


def collision_key(name: str) -> str:
    """Return what two names share that some file system takes for one."""
    decomposed = unicodedata.normalize("NFD", name)
    return unicodedata.normalize("NFD", decomposed.casefold()).rstrip(_TRAILING)


def suffix_of(name: str) -> str:
    """Return the ending of a name with its dot, ``""`` without one."""
    stem, dot, suffix = name.rpartition(".")
    is_suffix = bool(stem) and 0 < len(suffix) < _MAX_SUFFIX and suffix.isalnum()
    return f"{dot}{suffix}" if is_suffix else ""


def suffix_for(media_type: str | None) -> str:
    """Return the ending for a media type, ``""`` for an unknown one."""
    return _SUFFIXES.get((media_type or "").partition(";")[0].strip().lower(), "")


def disposition_name(header: str) -> str | None:
    """Return the file name in a header ``Content-Disposition``, as RFC 6266 reads it."""
    header = header[:_MAX_HEADER]
    extended = _EXTENDED.search(header)
    if extended and extended[1].lower() in {"utf-8", "iso-8859-1"}:
        return unquote(extended[2], encoding=extended[1], errors="replace")
    quoted = _QUOTED.search(header)
    if quoted:
        return re.sub(r"\\(.)", r"\1", quoted[1])
    token = _TOKEN.search(header)
    return str(token[1]) if token else None


def _last_part(url: str) -> str:
    try:
        return unquote(urlsplit(url).path.rpartition("/")[2], errors="replace")
    except ValueError:
        return ""


def _shortened(name: str, limit: int) -> str:
    """Return ``name`` in at most ``limit`` bytes of UTF-8; its ending stays."""
    if len(name.encode()) <= limit:
        return name
    suffix = suffix_of(name)
    room = limit - len(suffix.encode())
    stem = name.removesuffix(suffix).encode()[:room].decode(errors="ignore")
    return stem.rstrip(_TRAILING) + suffix
