"""Writes tones as WAV."""

import wave
from array import array
from io import BytesIO
from math import pi, sin
from sys import byteorder
from typing import Final
from zlib import crc32

DEFAULT_RATE: Final = 16_000
"""The samples of a second."""

_RATES: Final = range(8000, 48_001)
_VOLUME: Final = 8000
_LOWEST: Final = 220
_OCTAVE: Final = 440


def encode_wav(text: str, *, seconds: float, rate: int = DEFAULT_RATE) -> bytes:
    """Return a tone whose pitch depends on a text.

    Args:
        text: The text.
        seconds: The duration.
        rate: The samples of a second, 8,000 to 48,000; another one counts as the default.
    """
    rate = rate if rate in _RATES else DEFAULT_RATE
    pitch = _LOWEST + crc32(text.encode()) % _OCTAVE
    # A second of a whole number of waves can be repeated without a click.
    second = array("h", (round(_VOLUME * sin(2 * pi * pitch * at / rate)) for at in range(rate)))
    if byteorder == "big":
        second.byteswap()
    frames = round(seconds * rate)
    data = second.tobytes() * (frames // rate + 1)
    out = BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(data[: 2 * frames])
    return out.getvalue()


def wav_seconds(data: bytes) -> float | None:
    """Return the duration of a WAV file by its head; ``None`` for any other file."""
    try:
        with wave.open(BytesIO(data), "rb") as file:
            return file.getnframes() / file.getframerate()
    except (EOFError, wave.Error, ZeroDivisionError):
        return None
