"""Reads the JSON in the text of an answer. Nothing is repaired and nothing is guessed."""

import json
import math
import re
from typing import Any, Final

_FENCE: Final = re.compile(r"```(?:json|JSON)?[ \t]*\r?\n(.*)```", re.DOTALL)
_OPEN_FENCE: Final = re.compile(r"\s*```(?:json|JSON)?[ \t]*\r?\n")
_MIN_INTEGER: Final = -(2**63)
_MAX_INTEGER: Final = 2**64 - 1


class AnswerError(ValueError):
    """A text that is not an answer of the type.

    Args:
        reason: What is wrong. It may have words of the answer.
        path: The path of the wrong value, such as ``pets[0].age``; empty for the whole answer.
        safe: What is wrong, without words of the answer; ``reason`` by default.
        safe_path: The path, without words of the answer; ``path`` by default.
    """

    def __init__(
        self, reason: str, path: str = "", *, safe: str | None = None, safe_path: str | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        self.safe = reason if safe is None else safe
        self.safe_path = path if safe_path is None else safe_path


class ExactInteger(int):
    """An integer of more than 64 bits, which msgspec encodes as its ``digits`` only."""

    digits: str


class ExactFloat(float):
    """A number with a fraction or an exponent, and its ``digits`` in the answer."""

    digits: str


def read_json(text: str) -> Any:
    """Return the JSON value that ``text`` is: alone, or in one fence of Markdown.

    Raises:
        AnswerError: The text is empty or not exactly one JSON value, an object has a member twice,
            or a number is too large for a float.
    """
    text = text.strip()
    if not text:
        raise AnswerError("is empty")
    fenced = _FENCE.fullmatch(text)
    try:
        return _decoder.decode(fenced[1].strip() if fenced else text)
    except json.JSONDecodeError as error:
        raise AnswerError(f"is not JSON: {error.msg} at character {error.pos}") from None
    except AnswerError:
        raise
    except ValueError:
        raise AnswerError("has an integer of too many digits") from None
    except RecursionError:
        raise AnswerError("is nested too deep") from None


def strip_open_fence(text: str) -> str:
    """Return the beginning of an answer without the line that opens a fence."""
    return _OPEN_FENCE.sub("", text, count=1) if "`" in text[:100] else text


def _read_object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    if len(value) < len(members):
        raise AnswerError("has an object with one member twice")
    return value


def _read_integer(digits: str) -> int:
    value = int(digits)
    if _MIN_INTEGER <= value <= _MAX_INTEGER:
        return value
    exact = ExactInteger(value)
    exact.digits = digits
    return exact


def _read_float(digits: str) -> float:
    value = ExactFloat(digits)
    if math.isinf(value):
        raise AnswerError("has a number that is too large")
    value.digits = digits
    return value


def _refuse_constant(name: str) -> Any:
    raise AnswerError(f"has {name}, which is no JSON")


_decoder: Final = json.JSONDecoder(
    object_pairs_hook=_read_object,
    parse_int=_read_integer,
    parse_float=_read_float,
    parse_constant=_refuse_constant,
)
