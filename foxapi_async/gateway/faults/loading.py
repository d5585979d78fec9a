"""Reads fault rules from a TOML file or from the JSON of a request.

Both have the same form: an object with ``faults`` (a list of rules) and an optional ``seed``. A
list of rules or a single rule is accepted too. A rule is an object or a text in the short form.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from foxapi_async.config import is_whole_number
from foxapi_async.errors import ConfigError
from foxapi_async.gateway.faults.rule import FaultRule
from foxapi_async.gateway.settings_files import parse_toml, read_settings_file

_MEMBERS = {"faults", "seed"}
_MAX_RULES = 1000


def read_faults(value: object) -> tuple[tuple[FaultRule, ...], int | None]:
    """Return the rules and the seed of a decoded document.

    Raises:
        ConfigError: A rule or the seed is invalid.
    """
    seed: object = None
    if _is_document(value):
        members = cast("Mapping[str, object]", value)
        if unknown := sorted(members.keys() - _MEMBERS):
            raise ConfigError(f"there is no {unknown[0]!r} beside `faults`; write it into a rule")
        value, seed = members.get("faults", []), members.get("seed")
    if seed is not None and not is_whole_number(seed):
        raise ConfigError(f"seed must be a whole number, got {seed!r}")
    items: list[object] = [value]
    if isinstance(value, list):
        items = cast("list[object]", value)
    if len(items) > _MAX_RULES:
        raise ConfigError(f"at most {_MAX_RULES} rules, got {len(items)}")
    return tuple(FaultRule.of(item) for item in items), seed


def _is_document(value: object) -> bool:
    return isinstance(value, Mapping) and bool(
        _MEMBERS & cast("Mapping[str, object]", value).keys()
    )


def load_faults(path: str | Path) -> tuple[tuple[FaultRule, ...], int | None]:
    """Read fault rules from a TOML file.

    Args:
        path: The file.

    Returns:
        The rules, and the seed or ``None``.

    Raises:
        ConfigError: The file cannot be read, or a rule in it is invalid.
    """
    text = read_settings_file("faults", path)
    try:
        return read_faults(_with_faults(parse_toml(text)))
    except ConfigError as error:
        raise ConfigError(f"faults file {path}: {error}") from None


def _with_faults(value: dict[str, object]) -> dict[str, object]:
    if "faults" not in value:
        raise ConfigError('it names no `faults`; write faults = ["submit:503"], or [[faults]]')
    return value
