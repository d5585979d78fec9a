"""The size of a picture or a video, as the parameters of many models ask for it."""

import re
from collections.abc import Mapping
from math import sqrt
from typing import Any, Final

from foxapi_async._wire.base import is_object

Size = tuple[int, int]
"""Width and height in pixels."""

_MIN_SIDE: Final = 16
_MAX_SIDE: Final = 4096
_SQUARE: Final = 1024
_PIXELS: Final = re.compile(r"(\d{2,5})\s*[xX*]\s*(\d{2,5})", re.ASCII)
_RATIO: Final = re.compile(r"(\d{1,3}(?:\.\d{1,2})?):(\d{1,3}(?:\.\d{1,2})?)", re.ASCII)
_LINES: Final = re.compile(r"(\d{3,4})p", re.ASCII | re.IGNORECASE)
# The side of a square with as many pixels.
_SIDES: Final = {"512": 512, "0.5k": 512, "1k": 1024, "2k": 2048, "4k": 4096}
_NAMED: Final = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
# In the order in which the first that says anything decides.
_SIZE_PARAMS: Final = ("resolution", "image_size", "size", "aspect_ratio")
_RATIO_PARAMS: Final = ("aspect_ratio", "size")
_SCALE_PARAMS: Final = ("resolution", "quality")
_VIDEO_LINES: Final = 720


def image_size(params: Mapping[str, Any]) -> Size:
    """Return the size of an image; 1024 by 1024 without a parameter that says it."""
    exact = _exact_size(params)
    if exact is not None:
        return exact
    scale = (str(params.get(name, "")).lower() for name in _SCALE_PARAMS)
    side = next((_SIDES[text] for text in scale if text in _SIDES), _SQUARE)
    ratio = _ratio(params) or 1.0
    return _bounded(side * sqrt(ratio), side / sqrt(ratio))


def video_size(params: Mapping[str, Any]) -> Size:
    """Return the size of a video, whose sides are even; 1280 by 720 without a parameter."""
    exact = _exact_size(params)
    if exact is not None:
        return exact[0] // 2 * 2, exact[1] // 2 * 2
    resolution = str(params.get("resolution", ""))
    found = _LINES.fullmatch(resolution)
    lines = int(found[1]) if found else _VIDEO_LINES
    if resolution.lower() == "4k":
        lines = 2160
    ratio = _ratio(params) or (9 / 16 if params.get("orientation") == "portrait" else 16 / 9)
    # The name of a resolution is that of the shorter side.
    width, height = (lines * ratio, lines) if ratio >= 1 else (lines, lines / ratio)
    return _bounded(width, height)


def _exact_size(params: Mapping[str, Any]) -> Size | None:
    for name in _SIZE_PARAMS:
        value: Any = params.get(name)
        if is_object(value):
            value = f"{value.get('width')}x{value.get('height')}"
        if name == "image_size" and isinstance(value, int):
            return _bounded(value, value)
        if isinstance(value, str):
            found = _PIXELS.fullmatch(value.strip())
            if found is not None:
                width, height = int(found[1]), int(found[2])
                return min(max(width, 1), _MAX_SIDE), min(max(height, 1), _MAX_SIDE)
            if value in _NAMED:
                return _NAMED[value]
    return None


def _ratio(params: Mapping[str, Any]) -> float | None:
    for name in _RATIO_PARAMS:
        found = _RATIO.fullmatch(str(params.get(name, "")))
        if found is not None and float(found[1]) and float(found[2]):
            return float(found[1]) / float(found[2])
    return None


def _bounded(width: float, height: float) -> Size:
    """Return the sides as multiples of eight pixels, none too small or too large."""
    sides = (min(max(round(side / 8) * 8, _MIN_SIDE), _MAX_SIDE) for side in (width, height))
    first, second = sides
    return first, second
