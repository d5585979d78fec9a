"""Writes videos as MP4 (ISO/IEC 14496-12 and -14)."""

from struct import pack
from typing import Final

from foxapi_async.gateway.media import h264
from foxapi_async.gateway.media.picture import Picture

FRAMES_PER_SECOND: Final = 10

# One to one, in the fixed-point numbers of the format.
_MATRIX: Final = pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_ENGLISH: Final = 0x55C4


def encode_mp4(picture: Picture, seconds: int) -> bytes:
    """Return a video that shows a picture, and a bar along its lower edge that grows.

    Args:
        picture: A picture whose cells have 16 pixels a side.
        seconds: How long the video is.
    """
    samples: list[bytes] = []
    for second in range(seconds):
        shown = _with_bar(picture, (second + 1) / seconds)
        samples.append(_sample(h264.key_frame(shown, second)))
        samples += [
            _sample(h264.repeated_frame(picture, count)) for count in range(1, FRAMES_PER_SECOND)
        ]
    start = _box(b"ftyp", b"isom" + pack(">I", 512) + b"isomavc1mp41")
    # The table of positions has a fixed size, so the head is as long with any position.
    position = len(start) + len(_movie(picture, samples, 0)) + 8
    return start + _movie(picture, samples, position) + _box(b"mdat", *samples)


def _with_bar(picture: Picture, part: float) -> Picture:
    columns = len(picture.rows[0])
    length = round(columns * part)
    bar = b"\1" * length + bytes(columns - length)
    return Picture(
        width=picture.width,
        height=picture.height,
        cell=picture.cell,
        ground=picture.ground,
        ink=picture.ink,
        rows=[*picture.rows[:-1], bar],
    )


def _sample(unit: bytes) -> bytes:
    return pack(">I", len(unit)) + unit


def _movie(picture: Picture, samples: list[bytes], position: int) -> bytes:
    frames = len(samples)
    header = pack(">IIIII", 0, 0, FRAMES_PER_SECOND, frames, 0x10000) + pack(">HHQ", 0x100, 0, 0)
    movie = _full(b"mvhd", header[4:], _MATRIX, bytes(24), pack(">I", 2))
    size = pack(">II", picture.width << 16, picture.height << 16)
    track_times = pack(">IIIII", 0, 0, 1, 0, frames)
    track = _full(b"tkhd", track_times, bytes(8), pack(">hhhh", 0, 0, 0, 0), _MATRIX, size, flags=3)
    media_times = pack(">IIII", 0, 0, FRAMES_PER_SECOND, frames) + pack(">HH", _ENGLISH, 0)
    media = _box(
        b"mdia",
        _full(b"mdhd", media_times),
        _full(b"hdlr", bytes(4), b"vide", bytes(12), b"video\0"),
        _box(
            b"minf",
            _full(b"vmhd", bytes(8), flags=1),
            _box(b"dinf", _full(b"dref", pack(">I", 1), _full(b"url ", flags=1))),
            _sample_table(picture, samples, position),
        ),
    )
    return _box(b"moov", movie, _box(b"trak", track, media))


def _sample_table(picture: Picture, samples: list[bytes], position: int) -> bytes:
    frames = len(samples)
    keys = range(1, frames + 1, FRAMES_PER_SECOND)
    return _box(
        b"stbl",
        _full(b"stsd", pack(">I", 1), _codec(picture)),
        _full(b"stts", pack(">III", 1, frames, 1)),
        _full(b"stss", pack(f">I{len(keys)}I", len(keys), *keys)),
        _full(b"stsc", pack(">IIII", 1, 1, frames, 1)),
        _full(b"stsz", pack(f">II{frames}I", 0, frames, *map(len, samples))),
        _full(b"stco", pack(">II", 1, position)),
    )


def _codec(picture: Picture) -> bytes:
    sequence, pictures = h264.parameter_sets(picture)
    settings = (
        bytes((1, h264.PROFILE, h264.COMPATIBILITY, h264.level(picture), 0xFF, 0xE1))
        + pack(">H", len(sequence)) + sequence + b"\1" + pack(">H", len(pictures)) + pictures
    )  # fmt: skip
    entry = (
        bytes(6) + pack(">H", 1) + bytes(16) + pack(">HH", picture.width, picture.height)
        + pack(">III", 0x480000, 0x480000, 0) + pack(">H", 1) + bytes(32) + pack(">Hh", 24, -1)
    )  # fmt: skip
    return _box(b"avc1", entry, _box(b"avcC", settings))


def _full(name: bytes, *parts: bytes, flags: int = 0) -> bytes:
    return _box(name, pack(">I", flags), *parts)


def _box(name: bytes, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return pack(">I", len(data) + 8) + name + data
