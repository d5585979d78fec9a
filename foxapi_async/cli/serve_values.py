"""The values of the options of ``foxapi serve`` that have several parts."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from foxapi_async.cli.errors import UsageError

_AMOUNT: Final = re.compile(r"\d{1,15}(\.\d{0,15})?|\.\d{1,15}", re.ASCII)
# What a reader may take for a number: 1e3, +5, 1,000, 0x10, nan, digits of other scripts.
_LIKE_A_NUMBER: Final = re.compile(
    r"[+-]?\.?\d[\d.,_]*(e[+-]?\d*)?|[+-]?0[box][\da-f]*|[+-]?(inf|infinity|nan)", re.IGNORECASE
)


def parse_keys(texts: Sequence[str]) -> Mapping[str, float | None]:
    """Return the credits of each key; ``None`` for unlimited ones.

    Raises:
        UsageError: A key is given twice, or ``parse_key`` refuses a text.
    """
    keys: dict[str, float | None] = {}
    for number, (key, budget) in enumerate(map(parse_key, texts), 1):
        if key in keys:
            first = [*keys].index(key) + 1
            raise UsageError(
                f"--api-key {first} and --api-key {number} have the same key, one with "
                f"{_shown(keys[key])} and one with {_shown(budget)}; give each key once"
            )
        keys[key] = budget
    return keys


def parse_key(text: str) -> tuple[str, float | None]:
    """Split ``KEY=CREDITS`` into the key and the credits; without credits they are ``None``.

    The credits are the plain decimal number after the last ``=``. A text there that no reader takes
    for a number belongs to the key, as the padding of base64 does.

    Raises:
        UsageError: The key is empty, or it is unclear whether credits are meant. The message does
            not show the key.
    """
    key, equals, credits_text = text.rpartition("=")
    if text.startswith("="):
        raise UsageError("--api-key KEY=CREDITS: there is no key before the `=`")
    if equals and _AMOUNT.fullmatch(credits_text):
        return key, float(credits_text)
    if equals and _LIKE_A_NUMBER.fullmatch(credits_text):
        raise UsageError(
            f"--api-key KEY={credits_text[:40]}: write the credits as a plain number such as 100 "
            "or 2.5, with at most 15 digits before and after the point; if this belongs to the "
            f"key, add the credits after it: KEY={credits_text[:40]}=100"
        )
    return text, None


def parse_prices(texts: Sequence[str]) -> Mapping[str, float]:
    """Return the price of each model; that of all models has an empty name.

    Raises:
        UsageError: Two prices are for the same model, or ``parse_price`` refuses a text.
    """
    prices: dict[str, float] = {}
    for model, price in map(parse_price, texts):
        if model in prices:
            whose = f"of the model {model!r}" if model else "of all models"
            raise UsageError(
                f"--price gives the price {whose} twice, {prices[model]:g} and {price:g}; give one"
            )
        prices[model] = price
    return prices


def parse_price(text: str) -> tuple[str, float]:
    """Split ``MODEL=CREDITS`` into the model and the price; the model is empty for all models.

    Raises:
        UsageError: The price is not a number of credits.
    """
    model, equals, credits_text = text.rpartition("=")
    if _AMOUNT.fullmatch(credits_text) and bool(model) == bool(equals):
        return model, float(credits_text)
    raise UsageError(
        f"--price {text[:80]!r}: write a number of credits, as in 0.5, or gpt-5.5=2 for one model"
    )


def _shown(budget: float | None) -> str:
    return "unlimited credits" if budget is None else f"{budget:g} credits"
