"""Writes tones as MP3 (ISO/IEC 11172-3, Layer III): one frequency line in each granule."""

from typing import Final
from zlib import crc32

from foxapi_async.gateway.media.bits import number, to_bytes

FRAME_SECONDS: Final = 1152 / 32_000
"""The duration of a frame."""
MP3_FRAME: Final = 144
"""The bytes of a frame."""

# MPEG-1, Layer III, without a checksum; 32 kbit/s at 32 kHz, one channel.
_HEADER: Final = b"\xff\xfb\x18\xc0"
# A quarter of the full scale.
_GAIN: Final = 202
_TABLE: Final = 1
# A line is 27.8 Hz.
_LOWEST: Final = 8
_LINES: Final = 16


def encode_mp3(text: str, *, seconds: float) -> bytes:
    """Return a tone whose pitch depends on a text, a frame at least and whole frames."""
    pairs = (_LOWEST + crc32(text.encode()) % _LINES) // 2
    # Pairs of zeros, and then one whose first value is 1.
    values = "1" * pairs + "01" + "0"
    granule = (
        number(len(values), 12) + number(pairs + 1, 9) + number(_GAIN, 8) + number(0, 4) + "0"
        + number(_TABLE, 5) * 3 + number(7, 4) + number(7, 3) + "000"
    )  # fmt: skip
    # All of the data of a frame is in that frame, and both granules have factors of their own.
    side = number(0, 9) + number(0, 5) + number(0, 4) + granule * 2
    frame = _HEADER + to_bytes(side) + to_bytes(values * 2)
    return frame.ljust(MP3_FRAME, b"\0") * max(1, round(seconds / FRAME_SECONDS))
