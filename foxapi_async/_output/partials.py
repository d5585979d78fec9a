"""The part of an answer that is written so far, as plain data.

The cost is linear in the length of the answer: a part is only parsed again when it has grown by one
64th. So the data of a long answer is at most that far behind its text.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import UNSET

from foxapi_async._output.answer_text import AnswerError, strip_open_fence
from foxapi_async._output.answer_value import encode_answer
from foxapi_async._output.output_type import OutputType
from foxapi_async._output.parse import answer_of, validation_error
from foxapi_async._wire.completion import ChatCompletion
from foxapi_async.errors import ConfigError

_GROWTH: Final = 64
_QUOTES: Final = re.compile(r'\\.|"', re.DOTALL)


class PartialAnswer:
    """Parses an answer again and again while it grows.

    Args:
        output: The type of the answer.

    Raises:
        ConfigError: jiter is not installed.
    """

    __slots__ = ("_grown", "_in_text", "_length", "_output", "_parse", "_pieces", "_scanned")

    def __init__(self, output: OutputType[Any]) -> None:
        self._parse = _parser()
        self._output = output
        self._pieces: list[str] = []
        self._length = 0
        self._grown = 0
        # Whether the first `_scanned` characters end inside of a text.
        self._scanned = 0
        self._in_text = False

    def add(self, piece: str) -> None:
        """Add what was written next."""
        self._pieces.append(piece)
        self._length += len(piece)
        self._grown += len(piece)

    def value(self) -> Any:
        """Return the data so far; ``UNSET`` if none has begun, or little is new.

        A text may be cut at its end. A number, a boolean and null are whole.
        """
        if self._grown <= self._length // _GROWTH:
            return UNSET
        self._grown = 0
        text = "".join(self._pieces)
        self._pieces = [text]
        return self._output.unwrap(self._read(self._without_open_number(text)))

    def _without_open_number(self, text: str) -> str:
        """Cut off a number at the end, which may go on: 12 may become 123."""
        end = len(text)
        backslashes = end - len(text.rstrip("\\"))
        if backslashes % 2:
            end -= 1
        for _ in filter('"'.__eq__, _QUOTES.findall(text, self._scanned, end)):
            self._in_text = not self._in_text
        self._scanned = end
        return text if self._in_text else text.rstrip("0123456789+-.eE")

    def _read(self, text: str) -> Any:
        try:
            return self._parse(strip_open_fence(text).encode(errors="replace"))
        except (ValueError, RecursionError):
            # Nothing was written yet, or no JSON, which is an error at the end of the answer.
            return UNSET


def _parser() -> Callable[[bytes], Any]:
    try:
        from jiter import from_json
    except ImportError:
        raise ConfigError(
            "partials() needs an extra: python -m pip install 'foxapi-async[partials]'"
        ) from None
    return partial(from_json, allow_inf_nan=False, partial_mode="trailing-strings")


def whole_answer(completion: ChatCompletion, output: OutputType[Any]) -> tuple[Any, Any]:
    """Return the data of a whole answer, and the value of the type.

    Raises:
        OutputError: The answer is not a value of the type.
    """
    text = answer_of(completion, output)
    try:
        plain = output.plain(text)
        return msgspec.json.decode(encode_answer(plain)), output.convert(plain)
    except AnswerError as error:
        raise validation_error(error, output.claim, completion, text) from None
