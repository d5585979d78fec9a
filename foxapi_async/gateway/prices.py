"""The prices of generations in credits."""

from collections.abc import Mapping
from typing import Final, TypeAlias, cast

from msgspec import Struct

from foxapi_async.config import is_finite, is_number
from foxapi_async.errors import ConfigError

_THOUSAND: Final = 1000.0
_DIGITS: Final = 9
_MAX_TOKENS: Final = 10**12


class TokenPrice(Struct, frozen=True, kw_only=True):
    """A price by tokens, in credits for 1,000 of them.

    A submit reserves the words of its prompt and the tokens that its answer may have:
    ``max_tokens``, or 1,000 without it, for each choice. The end of the task settles the price by
    the counted tokens; a failed task costs nothing. A wrong value raises ``ConfigError``.
    """

    prompt: float
    """The credits of 1,000 tokens of the prompt, above 0."""
    completion: float
    """The credits of 1,000 tokens of the answer, reasoning included."""

    def __post_init__(self) -> None:
        check_amount("TokenPrice.prompt", self.prompt)
        check_amount("TokenPrice.completion", self.completion)
        if not self.prompt:
            # `GET /api/pricing` states the price of the answer as a multiple of this one.
            raise ConfigError("TokenPrice.prompt must be above 0")


Price: TypeAlias = float | TokenPrice
"""The credits of one generation, or its price by tokens."""


def round_credits(amount: float) -> float:
    """Return an amount of credits to a billionth, for all that is shown.

    Sums and products of prices such as 0.1 are not exact; a quota unit is two millionths.
    """
    return round(float(amount), _DIGITS)


def show_credits(amount: float) -> str:
    """Return an amount of credits for a message, without an exponent."""
    return f"{round_credits(amount):.{_DIGITS}f}".rstrip("0").rstrip(".")


def token_cost(price: TokenPrice, prompt: int, completion: int) -> float:
    """Return the credits of a generation with so many tokens."""
    cost = _bounded(prompt) * price.prompt + _bounded(completion) * price.completion
    return round_credits(cost / _THOUSAND)


def _bounded(tokens: int) -> int:
    # A larger integer may be too large for a float.
    return min(max(tokens, 0), _MAX_TOKENS)


def check_price(name: str, value: object) -> Price:
    """Return a price; ``ConfigError`` names the setting that is none."""
    if isinstance(value, TokenPrice):
        return value
    check_amount(name, value, "a number or a TokenPrice")
    return cast("float", value)


def check_prices(name: str, value: object) -> dict[str, Price]:
    """Return prices by model; ``ConfigError`` names the setting that is none."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name} must be a mapping from models to prices, got {value!r}")
    prices: dict[str, Price] = {}
    for model, price in cast("Mapping[object, object]", value).items():
        if not isinstance(model, str):
            raise ConfigError(f"{name} must be a mapping from models to prices, got {model!r}")
        prices[model] = check_price(f"{name}[{model!r}]", price)
    return prices


def check_amount(name: str, value: object, wanted: str = "a number") -> None:
    """Raise ``ConfigError`` for a value that is no count of credits."""
    if not is_number(value):
        raise ConfigError(f"{name} must be {wanted}, got {value!r}")
    if not is_finite(value) or value < 0:
        raise ConfigError(f"{name} must be finite and not negative, got {value!r}")
