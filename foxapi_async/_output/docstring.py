"""Reads what a docstring, in Google's style or that of Sphinx, says of a function."""

import re
from inspect import cleandoc
from typing import Final

_GOOGLE_ARGS: Final = re.compile(
    r"^(?:Args|Arguments|Parameters):[ \t]*\n((?:[ \t]+.*\n?|\n)*)", re.MULTILINE
)
_GOOGLE_ARG: Final = re.compile(r"\*{0,2}(\w+)(?: ?\([^)]*\))?:[ \t]*(.*)", re.DOTALL)
_SPHINX_ARG: Final = re.compile(
    r"^:(?:param|parameter|arg|argument|key|keyword) (?:[^:\n]* )?\*{0,2}(\w+):"
    r"(.*(?:\n+[ \t]+.*)*)",
    re.MULTILINE,
)
# Where the description ends: at `Returns:`, or at `:returns:` or `:param city:`.
_SECTION: Final = re.compile(r"^(?:[A-Z][A-Za-z ]*:[ \t]*$|:[a-z]+(?: [^:\n]+)?:)", re.MULTILINE)


def description(text: str) -> str:
    """Return a docstring up to its first section or field."""
    section = _SECTION.search(text)
    return (text[: section.start()] if section else text).strip()


def parameter_texts(text: str) -> dict[str, str]:
    """Return what a docstring says of each parameter, by its name."""
    found = _SPHINX_ARG.findall(text)
    if (section := _GOOGLE_ARGS.search(text)) is not None:
        entries = re.split(r"\n(?=\S)", cleandoc("\n" + section[1]))
        matches = map(_GOOGLE_ARG.fullmatch, entries)
        found += [(match[1], match[2]) for match in matches if match is not None]
    return {name: " ".join(words.split()) for name, words in found}
