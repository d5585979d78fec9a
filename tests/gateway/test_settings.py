"""The settings of a gateway."""

from dataclasses import fields
from typing import Any

import pytest

from foxapi_async.errors import ConfigError
from foxapi_async.gateway import GatewaySettings, TokenPrice, make_app
from foxapi_async.gateway.settings import GatewayOptions


def test_options_are_the_settings() -> None:
    """The keywords of ``make_app`` are the fields of the settings."""
    assert set(GatewayOptions.__annotations__) == {item.name for item in fields(GatewaySettings)}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("queue_delay", -1),
        ("queue_delay", float("nan")),
        ("token_delay", float("inf")),
        ("token_delay", "0.1"),
        ("token_delay", True),
        ("thinking_delay", -0.1),
        ("retention", None),
        ("task_retention", -1),
        ("body_limit", 0),
        ("body_limit", 1.5),
        ("seed", "7"),
        ("seed", True),
        ("price", -1),
        ("price", "0.5"),
        ("price", {"gpt-5.5": 1}),
        ("prices", 1.0),
        ("prices", {"gpt-5.5": None}),
        ("prices", {"gpt-5.5": float("nan")}),
        ("prices", {5: 1.0}),
        ("prices", {"gpt-9": 1.0}),
        ("api_keys", "sk-one"),
        ("api_keys", 5),
        ("api_keys", [""]),
        ("api_keys", ["sk one"]),
        ("api_keys", ["sk-ö"]),
        ("api_keys", [b"sk-one"]),
        ("allow_origins", "http://localhost"),
        ("allow_origins", [5]),
        ("log", ["text"]),
        ("clock", object()),
        ("clock", None),
    ],
)
def test_a_bad_setting_is_named(name: str, value: Any) -> None:
    """A wrong value is an error that names the setting."""
    options: Any = {name: value}
    with pytest.raises(ConfigError, match=rf"GatewaySettings\.{name}"):
        make_app(**options)


@pytest.mark.parametrize(
    ("values", "member"),
    [
        ({"prompt": -1, "completion": 1}, "prompt"),
        ({"prompt": 0, "completion": 1}, "prompt"),
        ({"prompt": 1, "completion": float("inf")}, "completion"),
        ({"prompt": 1, "completion": "1"}, "completion"),
    ],
)
def test_a_bad_token_price_is_named(values: dict[str, Any], member: str) -> None:
    """A wrong price of tokens is an error that names the member."""
    with pytest.raises(ConfigError, match=rf"TokenPrice\.{member}"):
        TokenPrice(**values)


def test_keys_are_not_shown() -> None:
    """Neither the settings nor their errors contain a key."""
    assert "sk-secret" not in repr(GatewaySettings(api_keys=["sk-secret"]))
    with pytest.raises(ConfigError) as caught:
        GatewaySettings(api_keys=["sk-secret with a space"])
    assert "sk-secret" not in str(caught.value)


def test_thinking_delay_defaults_to_token_delay() -> None:
    """``thinking_delay=None`` means ``token_delay``, and 0 means 0."""
    assert GatewaySettings(token_delay=0.5).effective_thinking_delay == 0.5
    assert GatewaySettings(token_delay=0.5, thinking_delay=0).effective_thinking_delay == 0
