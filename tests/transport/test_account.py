"""An account sends its key to one origin and shows it in no text."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pydantic
import pytest
import yarl

from foxapi_async._transport import Account
from foxapi_async.config import is_loopback
from foxapi_async.errors import ConfigError

KEY = "sk-0123456789abcdef"


# Account.resolve


def test_resolve_defaults() -> None:
    """Without a base URL, that of the service is used."""
    account = Account.resolve(KEY)
    assert account.origin == "https://api.foxapi.cc"
    assert str(account.url("/v1/x")) == "https://api.foxapi.cc/v1/x"


def test_resolve_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing argument is read from the environment; a given one wins."""
    monkeypatch.setenv("FOXAPI_API_KEY", KEY)
    monkeypatch.setenv("FOXAPI_BASE_URL", "http://fox.example/api")
    monkeypatch.setenv("FOXAPI_ALLOW_HTTP", "1")
    account = Account.resolve()
    assert account.headers["Authorization"] == f"Bearer {KEY}"
    assert str(account.url("/x")) == "http://fox.example/api/x"
    given = Account.resolve("sk-other", "https://other.example")
    assert given.headers["Authorization"] == "Bearer sk-other"
    assert given.origin == "https://other.example"
    with pytest.raises(ConfigError, match="unencrypted"):
        Account.resolve(allow_http=False)


def test_empty_variables_are_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable counts as unset."""
    for name in ("FOXAPI_API_KEY", "FOXAPI_BASE_URL", "FOXAPI_ALLOW_HTTP"):
        monkeypatch.setenv(name, "")
    assert Account.resolve(KEY).origin == "https://api.foxapi.cc"
    with pytest.raises(ConfigError, match=r"FOXAPI_API_KEY .*api_key="):
        Account.resolve()


@pytest.mark.parametrize("key", [None, ""])
def test_a_missing_key_says_what_to_set(key: str | None) -> None:
    """The error of a missing key names the variable and the parameter."""
    with pytest.raises(ConfigError, match=r"FOXAPI_API_KEY .*api_key="):
        Account.resolve(key)


def test_resolve_a_bad_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A switch that is neither on nor off is refused."""
    monkeypatch.setenv("FOXAPI_ALLOW_HTTP", "maybe")
    with pytest.raises(ConfigError, match="FOXAPI_ALLOW_HTTP"):
        Account.resolve(KEY)


@pytest.mark.parametrize(
    "key", [f"{KEY}\n", f" {KEY}", "sk-\r\nHost: evil", "sk-\0", "sk-é", "sk-ключ", "sk-0 1"]
)
def test_bad_keys_are_refused_unseen(key: str) -> None:
    """A key that could break a header is refused, and not shown."""
    with pytest.raises(ConfigError) as refused:
        Account.resolve(key)
    assert key.strip() not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8787",
        "http://127.9.9.9",
        "http://[::1]:80",
        "http://localhost:1",
        "https://fox.example",
        "HTTPS://FOX.example:8443/base/",
    ],
)
def test_resolve_good_urls(url: str) -> None:
    """Https is allowed to any host, plain http to loopback."""
    assert str(Account.resolve(KEY, url).url("/v1")).endswith("/v1")


@pytest.mark.parametrize(
    "url",
    [
        "http://fox.example",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "http://10.0.0.1",
        "http://0.0.0.0",
        "http://[::]",
        "http://127.1",
    ],
)
def test_plain_http_leaves_this_machine_only_if_allowed(url: str) -> None:
    """Plain http to another machine would show the key to the network."""
    with pytest.raises(ConfigError, match="FOXAPI_ALLOW_HTTP=1"):
        Account.resolve(KEY, url)
    assert Account.resolve(KEY, url, allow_http=True).origin


@pytest.mark.parametrize(
    "url",
    [
        "fox.example",
        "//fox.example",
        "ftp://fox.example",
        "https://",
        "https:///path",
        "https://fox.example/?x=1",
        "https://fox.example/?",
        "https://fox.example/#x",
        "https://user:pass@fox.example",
        "https://user@fox.example",
        "https://@fox.example",
        "https://fox.example:port",
        "https://fox.example:99999",
        "https://fox.example\\@evil.example",
        "https://fox example",
        "https://fox.example\r\nHost: evil",
        "https://[::1",
        "https://xn--zzzz--.example",
        " ",
    ],
)
def test_resolve_bad_urls(url: str) -> None:
    """A base URL that is invalid, or has more than a base, is refused; no password is shown."""
    with pytest.raises(ConfigError, match="FOXAPI_BASE_URL") as refused:
        Account.resolve(KEY, url)
    assert "pass" not in str(refused.value).replace("password", "")


# No text shows the key.


def test_secrecy_repr() -> None:
    """The repr shows the base URL and the masked key."""
    account = Account.resolve(KEY, "https://fox.example/base/")
    assert repr(account) == "<Account https://fox.example/base sk-0…cdef>"
    assert repr(Account.resolve("sk-local")) == "<Account https://api.foxapi.cc …>"


def test_secrecy_redaction() -> None:
    """Every spelling of the key is masked; a text without it stays as it is."""
    account = Account.resolve("sk-0123456789/abc+def")
    text = "Bearer sk-0123456789/abc+def, ?key=sk-0123456789%2Fabc%2Bdef"
    assert account.redact(text) == "Bearer sk-0…+def, ?key=sk-0…+def"
    assert account.redact("nothing") == "nothing"


def test_secrecy_short_keys() -> None:
    """A short key is masked completely; a very short one is not searched for in texts."""
    assert Account.resolve("sk-local").redact("key sk-local") == "key …"
    assert Account.resolve("k", "http://127.0.0.1:8787").redact("key") == "key"


def test_a_piece_of_a_key_is_refused() -> None:
    """A key that is too short for the service is refused without showing it; loopback takes any."""
    for url in (None, "https://fox.example"):
        with pytest.raises(ConfigError, match="only 6 characters") as caught:
            Account.resolve("sk-abc", url)
        assert "sk-abc" not in str(caught.value)
    local = Account.resolve("k", "https://127.0.0.1:8787")
    with pytest.raises(ConfigError, match="only 1 characters"):
        local.replace(base_url="https://fox.example")
    assert Account.resolve("k", "http://gateway:8787", allow_http=True).headers


def test_an_account_cannot_be_pickled() -> None:
    """An account cannot be pickled."""
    account = Account.resolve(KEY)
    for write in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="API key"):
            write(account)


# Account.replace


def test_replace_one_by_one() -> None:
    """Each part can be replaced alone."""
    account = Account.resolve(KEY, "http://fox.example/a", allow_http=True)
    other = account.replace(api_key="sk-other")
    assert other.headers["Authorization"] == "Bearer sk-other"
    assert str(other.url("/x")) == "http://fox.example/a/x"
    moved = account.replace(base_url="https://b.example")
    assert moved.headers["Authorization"] == f"Bearer {KEY}"
    assert moved.origin == "https://b.example"
    with pytest.raises(ConfigError):
        account.replace(allow_http=False)


def test_replace_identity() -> None:
    """Accounts are compared by identity, even with the same key."""
    assert Account.resolve(KEY) != Account.resolve(KEY)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://fox.example/v1", "/v1/tasks"),
        ("https://fox.example/v1/", "/v1/tasks"),
        ("https://fox.example/proxy/v1", "/proxy/v1/tasks"),
        ("https://fox.example/v12", "/v12/v1/tasks"),
        (yarl.URL("https://fox.example/v1"), "/v1/tasks"),
        (pydantic.HttpUrl("https://fox.example"), "/v1/tasks"),
    ],
)
def test_a_version_at_the_end_of_the_base_url_is_dropped(url: Any, target: str) -> None:
    """A base URL may end with /v1, and may be a URL object."""
    account = Account.resolve(KEY, url)
    assert account.request_target("/v1/tasks") == target
    assert account.base == f"https://fox.example{target.removesuffix('/v1/tasks')}"
    assert Account.resolve(KEY).replace(base_url=url).base == account.base


@pytest.mark.parametrize(
    "url",
    [
        "https://fox.example/v1/llm/generations",
        "https://fox.example/v1/chat/completions",
        "https://fox.example/proxy/v1/tasks/",
    ],
)
def test_the_address_of_an_endpoint_is_no_base_url(url: str) -> None:
    """The URL of an endpoint is refused; the prefix of a proxy that looks like one is not."""
    with pytest.raises(ConfigError, match="end it before /v1"):
        Account.resolve(KEY, url)
    assert Account.resolve(KEY, "https://fox.example/v1/foxapi").base.endswith("/v1/foxapi")


def test_a_secret_string_is_a_key() -> None:
    """A secret string is unwrapped; a key that is not a text is refused without showing it."""
    hidden = pydantic.SecretStr(KEY)
    assert Account.resolve(hidden).headers["Authorization"] == f"Bearer {KEY}"
    assert Account.resolve("sk-other-key").replace(api_key=hidden).mask.may_contain(KEY.encode())
    wrong: list[Any] = [KEY.encode(), pydantic.SecretBytes(KEY.encode()), 7]
    for key in wrong:
        with pytest.raises(ConfigError, match="must be a text or a secret string"):
            Account.resolve(key)
    with pytest.raises(ConfigError, match="no API key"):
        Account.resolve(pydantic.SecretStr(""))
    for url in (b"https://fox.example", 7, Path("https://fox.example")):
        with pytest.raises(ConfigError, match="must be a text or a URL"):
            Account.resolve(KEY, url)  # type: ignore[arg-type]


@pytest.mark.parametrize("url", [None, "https://api.example", "https://127.0.0.1.example"])
def test_the_network_can_be_forbidden(monkeypatch: pytest.MonkeyPatch, url: str | None) -> None:
    """With ``FOXAPI_FORBID_NETWORK=1`` only loopback base URLs are allowed."""
    monkeypatch.setenv("FOXAPI_FORBID_NETWORK", "1")
    with pytest.raises(ConfigError, match="FOXAPI_FORBID_NETWORK=1"):
        Account.resolve("sk-local", url)
    local = Account.resolve("sk-local", "http://127.0.0.1:8787")
    with pytest.raises(ConfigError, match="FOXAPI_FORBID_NETWORK=1"):
        local.replace(base_url=url or "https://api.foxapi.cc")
    monkeypatch.setenv("FOXAPI_FORBID_NETWORK", "0")
    Account.resolve("sk-local", url)


def test_loopback_is_known_by_its_addresses() -> None:
    """Loopback addresses and localhost are this machine; other names and addresses are not."""
    assert all(map(is_loopback, ["localhost", "127.0.0.1", "127.9.9.9", "::1"]))
    assert not any(map(is_loopback, ["", "0.0.0.0", "::", "10.0.0.1", "localhost.example", "x"]))
