"""Texts that an upstream has split at the wrong places."""

import re
from typing import Final, Literal

from foxapi_async._protocol.mask import Mask

_OPEN: Final = "<think>"
_CLOSE: Final = "</think>"
# White space before `<think>` is held back up to this length.
_MAX_BLANK: Final = 64

# JSON that is not valid UTF-8 is decoded with one lone surrogate for each wrong byte.
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_PAIR: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_BYTES: Final = re.compile("[\udc80-\udcff]+")
# The first half of a pair, or the first bytes of a character.
_INCOMPLETE: Final = re.compile(
    "(?:[\ud800-\udbff]|[\udcc2-\udcdf]|[\udce0-\udcef][\udc80-\udcbf]?"
    "|[\udcf0-\udcf4][\udc80-\udcbf]{0,2})$"
)


def escape_wrong_bytes(data: bytes) -> bytes:
    """Return JSON with each byte that is not UTF-8 as the JSON escape of a lone surrogate."""
    return data.decode("utf-8", "surrogateescape").encode("utf-8", "backslashreplace")


class TextJoiner:
    """Joins characters that are split between the pieces of a text.

    A half that finds no other half becomes U+FFFD.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: str = ""

    def push(self, text: str) -> str:
        """Return the next piece with what was held back, without its incomplete end."""
        if self._held:
            text = self._held + text
            self._held = ""
        if text.isascii() or not _SURROGATE.search(text):
            return text
        if half := _INCOMPLETE.search(text):
            self._held = text[half.start() :]
            text = text[: half.start()]
        return _join(text)

    def flush(self) -> str:
        """Return what was held back."""
        text, self._held = self._held, ""
        return _join(text)


def _join(text: str) -> str:
    text = _PAIR.sub(lambda pair: _from_pair(pair[0]), text)
    text = _BYTES.sub(
        lambda run: run[0].encode("utf-8", "surrogateescape").decode("utf-8", "replace"), text
    )
    return _SURROGATE.sub("\ufffd", text)


def _from_pair(pair: str) -> str:
    return pair.encode("utf-16-le", "surrogatepass").decode("utf-16-le")


class TextMask:
    """Masks a key in a text that comes in pieces, also if the key is split between them.

    An end of the text that may begin the key is held back. The key is not found in escapes that are
    split.

    Args:
        mask: Masks the key; ``None`` leaves the text as it is.
    """

    __slots__ = ("_mask", "_shown", "_tail")

    def __init__(self, mask: Mask | None) -> None:
        self._mask = mask
        # The end of the text so far that may begin the key, and how much of it was returned.
        self._tail = ""
        self._shown = 0

    def push(self, text: str) -> str:
        """Return the next piece with what was held back, without what may begin the key."""
        if self._mask is None:
            return text
        whole = self._tail + text
        end = len(whole) - self._mask.key_start(whole)
        self._tail = whole[end:]
        shown = min(self._shown, end)
        self._shown -= shown
        return _unshown(self._mask, whole[:end], shown)

    def flush(self) -> str:
        """Return what was held back. If more text comes, the rest of the key in it is masked."""
        if self._mask is None:
            return ""
        shown, self._shown = self._shown, len(self._tail)
        return _unshown(self._mask, self._tail, shown)


def _unshown(mask: Mask, text: str, shown: int) -> str:
    """Return the masked text without its beginning that was returned already."""
    masked = mask.name(text)
    if masked != text:
        # What was returned of the key cannot be taken back.
        pairs = enumerate(zip(masked, text, strict=False))
        shown = min(shown, next((at for at, (one, other) in pairs if one != other), shown))
    return masked[shown:]


class ReasoningSplitter:
    """Splits a text that begins with ``<think>`` into reasoning and answer, piece by piece.

    The white space between the reasoning and the answer is dropped. Any other text is the answer.
    """

    __slots__ = ("_held", "_is_blank", "_state")

    def __init__(self) -> None:
        self._state: Literal["start", "reasoning", "answer"] = "start"
        self._held: str = ""
        self._is_blank = False

    def expect_answer(self) -> None:
        """Take all further text as the answer, because the reasoning comes in another member."""
        if self._state == "start" and not self._held:
            self._state = "answer"

    def push(self, text: str) -> tuple[str, str]:
        """Return the reasoning and the answer that the next piece adds."""
        if self._state == "answer" and not self._is_blank:
            return "", text
        text, self._held = self._held + text, ""
        if self._state == "start":
            begin = text.lstrip()
            if _is_start(begin, _OPEN) and len(text) <= _MAX_BLANK:
                self._held = text
                return "", ""
            if not begin.startswith(_OPEN):
                self._state = "answer"
                return "", text
            self._state, self._is_blank = "reasoning", True
            text = begin[len(_OPEN) :]
        reasoning = ""
        if self._state == "reasoning":
            reasoning, text = self._split(self._without_blank(text))
        return reasoning, self._without_blank(text) if self._state == "answer" else ""

    def flush(self) -> tuple[str, str]:
        """Return the reasoning and the answer that were held back."""
        text, self._held = self._held, ""
        return (text, "") if self._state == "reasoning" else ("", text)

    def _split(self, text: str) -> tuple[str, str]:
        at = text.find(_CLOSE)
        if at >= 0:
            self._state, self._is_blank = "answer", True
            return text[:at], text[at + len(_CLOSE) :]
        kept = next(
            (size for size in range(len(_CLOSE) - 1, 0, -1) if text.endswith(_CLOSE[:size])), 0
        )
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept], ""

    def _without_blank(self, text: str) -> str:
        if self._is_blank:
            text = text.lstrip()
            self._is_blank = not text
        return text


def _is_start(text: str, whole: str) -> bool:
    return len(text) < len(whole) and whole.startswith(text)
