"""Prompt templates: texts with the names of columns in braces."""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from foxapi_async._batch.rows import BatchFileError, InvalidRowError

_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class PromptTemplate:
    """A text such as ``Classify: {text}``. ``{{`` and ``}}`` stand for braces.

    A name is a column and nothing else: there are no attributes, indexes or formats.

    Raises:
        BatchFileError: A brace is not closed, or a name is empty.
    """

    def __init__(self, text: str) -> None:
        # Texts and columns in turns, from a text to a text.
        self._texts: list[str] = [""]
        self._columns: list[str] = []
        end = 0
        for token in _TOKEN.finditer(text):
            self._texts[-1] += text[end : token.start()]
            end = token.end()
            if token[0] in {"{{", "}}"}:
                self._texts[-1] += token[0][0]
            elif token[1]:
                self._columns.append(token[1])
                self._texts.append("")
            else:
                raise BatchFileError(
                    f"--prompt: {token[0]!r} at character {token.start() + 1} is no column: write "
                    "{column}, and {{ or }} for a brace"
                )
        self._texts[-1] += text[end:]

    @property
    def columns(self) -> Collection[str]:
        """The columns that the template names."""
        return dict.fromkeys(self._columns)

    def fill(self, values: Mapping[str, Any]) -> str:
        """Return the prompt of a row.

        Raises:
            InvalidRowError: The row lacks a column, or the column is null.
        """
        filled = [self._texts[0]]
        for column, text in zip(self._columns, self._texts[1:], strict=True):
            filled += (_text_of(values, column), text)
        return "".join(filled)


def _text_of(values: Mapping[str, Any], column: str) -> str:
    value = values.get(column)
    if isinstance(value, str):
        return value
    if value is None:
        state = "null" if column in values else "missing"
        raise InvalidRowError(f"column {column[:80]!r} is {state}")
    text = msgspec.json.encode(value, enc_hook=str).decode()
    # Dates of Parquet are texts in JSON.
    return text[1:-1] if text.startswith('"') else text
