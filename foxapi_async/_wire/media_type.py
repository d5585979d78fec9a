"""Detects the media type of bytes by their first bytes, and otherwise by the file name.

The package has its own table, because the type decides what is billed. Libraries would be another
dependency, disagree about many of these types (``audio/x-wav``, ``audio/wave``) and know few brands
of ISO files.
"""

import mimetypes
import re
from typing import Final, Literal

Kind = Literal["image", "video", "audio", "file"]

# The second byte of a frame: layer II or III, MPEG 1, 2 or 2.5, with or without a checksum. Layer I
# is left out, because text in UTF-16 begins in the same way.
_MP3_FRAMES: Final = (0xFB, 0xFA, 0xF3, 0xF2, 0xE3, 0xE2, 0xFD, 0xFC, 0xF5, 0xF4)
_AAC_FRAMES: Final = (0xF1, 0xF0, 0xF9, 0xF8)
_MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "image/jxl"),
    (b"ID3\2", "audio/mpeg"),
    (b"ID3\3", "audio/mpeg"),
    (b"ID3\4", "audio/mpeg"),
    *((bytes((0xFF, second)), "audio/mpeg") for second in _MP3_FRAMES),
    *((bytes((0xFF, second)), "audio/aac") for second in _AAC_FRAMES),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"#!AMR", "audio/amr"),
    (b"\0\0\x01\xba", "video/mpeg"),
    (b"\0\0\x01\xb3", "video/mpeg"),
    (b"FLV\x01", "video/x-flv"),
    (b"%PDF-", "application/pdf"),
    (b"{\\rtf", "application/rtf"),
)
# A container has its own four letters, a length, and the four letters of its content.
_CONTAINERS: Final = {
    (b"RIFF", b"WEBP"): "image/webp",
    (b"RIFF", b"WAVE"): "audio/wav",
    (b"RF64", b"WAVE"): "audio/wav",
    (b"RIFF", b"AVI "): "video/x-msvideo",
    (b"FORM", b"AIFF"): "audio/aiff",
    (b"FORM", b"AIFC"): "audio/aiff",
}
# Brands of ISO files; any other brand is an MP4.
_BRANDS: Final = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"heim": "image/heic",
    b"heis": "image/heic",
    b"hevc": "image/heic",
    b"hevx": "image/heic",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
    b"M4P ": "audio/mp4",
    b"F4A ": "audio/mp4",
    b"qt  ": "video/quicktime",
}
# Brands of an image whose type only a compatible brand gives.
_PICTURES: Final = frozenset({b"mif1", b"msf1", b"miaf"})
# These containers may have audio only.
_AUDIO_OF: Final = {
    "video/mp4": "audio/mp4",
    "video/webm": "audio/webm",
    "video/x-matroska": "audio/x-matroska",
    "video/quicktime": "audio/mp4",
    "video/3gpp": "audio/3gpp",
}
_VIDEO_OF: Final = {"audio/ogg": "video/ogg"}
# Files of these types always begin as the tables say, so their file name alone is not enough.
_PROVABLE: Final = (
    frozenset({*(kind for _, kind in _MAGIC), *_CONTAINERS.values(), *_BRANDS.values()})
    | {"image/heif", "video/mp4", "video/webm"}
) - {"audio/mpeg", "video/mpeg", "video/quicktime", "application/rtf"}
_ALIASES: Final = {
    "image/jpg": "image/jpeg",
    "audio/mp3": "audio/mpeg",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/x-flac": "audio/flac",
    "audio/x-aiff": "audio/aiff",
    "audio/x-m4a": "audio/mp4",
    "audio/m4a": "audio/mp4",
    "audio/mp4a-latm": "audio/mp4",
    "video/x-m4v": "video/mp4",
}
_TYPE: Final = re.compile(r"[\w.+-]+/[\w.+-]+(;.*)?", re.ASCII)
_EBML: Final = b"\x1aE\xdf\xa3"
_SNIFF_SIZE: Final = 64


def media_type(data: bytes, kind: Kind, *, mime: str | None = None, name: str = "") -> str:
    """Return the media type of ``data`` for a content part of ``kind``.

    Args:
        data: The bytes.
        kind: The kind of the content part.
        mime: The media type that the caller names; it must be of ``kind``.
        name: The file name; it counts only if the bytes and ``mime`` do not give the type.

    Returns:
        The media type.

    Raises:
        ValueError: There are no bytes, they are of another kind, or their type is unknown.
    """
    if not data:
        raise ValueError(f"the {kind} is empty")
    found = sniff(data)
    if found is not None and kind == "audio":
        found = _AUDIO_OF.get(found, found)
    elif found is not None and kind == "video":
        found = _VIDEO_OF.get(found, found)
    if found is not None:
        check_kind(found, kind)
    if mime is not None:
        check_kind(mime, kind)
        return _ALIASES.get(mime.lower(), mime)
    if found is not None:
        return found
    guess, packed = mimetypes.guess_type(name)
    guess = f"application/{packed}" if packed else _ALIASES.get(guess or "", guess)
    if guess is None:
        raise ValueError(f"the type of these bytes is unknown; name it: mime={_example(kind)!r}")
    check_kind(guess, kind)
    if guess in _PROVABLE:
        raise ValueError(
            f"{name!r} does not begin like a file of the type {guess}; if it has another "
            f"type, name that: mime={_example(kind)!r}"
        )
    return guess


def find_media_type(data: bytes, name: str = "") -> str:
    """Return the media type of any file: by its first bytes, else by its name.

    It is ``application/octet-stream`` if neither gives one. The first call may read files.
    """
    found = sniff(data)
    if found is None:
        guess, packed = mimetypes.guess_type(name)
        found = f"application/{packed}" if packed else _ALIASES.get(guess or "", guess)
    return found or "application/octet-stream"


def check_kind(mime: str, kind: Kind) -> None:
    """Raise ``ValueError`` if a content part of ``kind`` cannot have the media type ``mime``."""
    if not _TYPE.fullmatch(mime):
        raise ValueError(f"{mime[:80]!r} is not a media type, as {_example(kind)!r} is")
    top = mime.partition("/")[0].lower()
    right = top if top in {"image", "video", "audio"} else "file"
    if right != kind:
        raise ValueError(f"{mime} is not for {kind}(...): pass it to {right}(...)")


def sniff(data: bytes) -> str | None:
    """Return the type that the first bytes prove, ``None`` if they prove none."""
    head = bytes(data[:_SNIFF_SIZE])
    for signature, found in _MAGIC:
        if head.startswith(signature):
            return found
    if head[4:8] == b"ftyp":
        return _iso(head)
    if head.startswith(_EBML):
        return "video/webm" if b"webm" in head else "video/x-matroska"
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return "image/bmp"
    return _CONTAINERS.get((head[:4], head[8:12]))


def _iso(head: bytes) -> str:
    """Return the type of an ISO file by its brand, or by a compatible brand of some images."""
    brand = head[8:12]
    if brand in _PICTURES:
        end = min(int.from_bytes(head[:4], "big"), len(head))
        others = (head[at : at + 4] for at in range(16, end, 4))
        return next((_BRANDS[item] for item in others if item in _BRANDS), "image/heif")
    if brand.startswith(b"3g"):
        return "video/3gpp2" if brand.startswith(b"3g2") else "video/3gpp"
    return _BRANDS.get(brand, "video/mp4")


def _example(kind: Kind) -> str:
    return {
        "image": "image/png",
        "video": "video/mp4",
        "audio": "audio/mpeg",
        "file": "application/pdf",
    }[kind]
