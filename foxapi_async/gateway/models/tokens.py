"""Tokens as the simulated models count them: one a word, with the space before it."""

import re
from collections.abc import Sequence

_WORD = re.compile(r"\s*\S+")


def tokens(text: str) -> tuple[str, ...]:
    """Cut ``text`` into words; joined again they are ``text``."""
    words: list[str] = _WORD.findall(text)
    rest = text[sum(map(len, words)) :]
    if rest:
        words = [*words[:-1], words[-1] + rest] if words else [rest]
    return tuple(words)


def count_tokens(text: str) -> int:
    """Return how many words ``text`` has."""
    return len(text.split())


def cut_at_stop(text: str, stops: Sequence[str]) -> str:
    """Return what comes before the first of ``stops``."""
    places = [place for stop in stops if stop and (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else text
