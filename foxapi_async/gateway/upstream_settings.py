"""The settings of an upstream: a server of models that the gateway asks."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

from foxapi_async.config import is_finite, is_number, is_whole_number
from foxapi_async.errors import ConfigError
from foxapi_async.gateway.settings_files import parse_toml, read_settings_file

_MAX_URL: Final = 2000
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# The URL at the end of an option. A name of a model may have an "@" of its own.
_AT_URL: Final = re.compile(r"@(?=https?://)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A server with OpenAI's chat API that answers the requests for some models.

    Times are in seconds. A wrong value raises ``ConfigError``, which names the setting.
    """

    url: str
    """The base URL: requests are sent to ``{url}/chat/completions``. For Ollama it is
    ``http://127.0.0.1:11434/v1``."""
    models: Mapping[str, str] | Collection[str]
    """Maps the model ids of the gateway to the names at the upstream. A collection of texts in the
    form ``"gpt-5.5=qwen3:8b"``, or ``"qwen3:8b"`` for the same name on both sides, is converted.
    An id may be followed by its inputs, as in ``"qwen-vl:vision=qwen2.5vl:7b"``."""
    key_env: str | None = None
    """The environment variable that has the API key of the upstream. The key is read when the
    gateway is built. ``None`` sends no key."""
    concurrency: int = 8
    """How many requests the upstream gets at a time. The other tasks stay pending, in order of
    arrival; the keys of the gateway take turns."""
    patience: float = 60.0
    """How long a task waits, with a slot or in the queue, for an upstream that refuses connections
    or answers 429 or 503. While it answers other tasks, the queue waits without a limit."""
    timeout: float = 300.0
    """The longest time between two chunks, or before the first one. Then the task fails. Comments
    and events without a choice, which some servers send while they work, prolong it to four times
    as long."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", _base_url(self.url))
        object.__setattr__(self, "models", _models(self.models))
        _check_variable(self.key_env)
        if not is_whole_number(self.concurrency) or self.concurrency < 1:
            raise _bad("concurrency", "a whole number above 0", self.concurrency)
        for name in ("patience", "timeout"):
            value = getattr(self, name)
            if not is_number(value) or not is_finite(value) or value < 0:
                raise _bad(name, "a finite number that is not negative", value)
        if not self.timeout:
            raise _bad("timeout", "a number above 0", self.timeout)

    @property
    def names(self) -> Mapping[str, str]:
        """The names at the upstream, by the ids of the gateway; ``""`` for the same name."""
        # `__post_init__` has converted any collection into a mapping.
        return cast("Mapping[str, str]", self.models)


def parse_upstreams(
    urls: Sequence[str],
    *,
    models: Sequence[str] = (),
    key_envs: Sequence[str] = (),
    concurrency: int | None = None,
    patience: float | None = None,
) -> tuple[Upstream, ...]:
    """Build upstreams from the options of a command line.

    A model and a variable name the upstream that they belong to by ``@URL`` at their end, which
    may be left out if there is only one upstream.

    Args:
        urls: The base URLs.
        models: Texts such as ``gpt-5.5=qwen3:8b`` or ``gpt-5.5=qwen3:8b@http://127.0.0.1:11434/v1``.
        key_envs: Names of environment variables, such as ``OPENAI_API_KEY``.
        concurrency: The value for each upstream; ``None`` for the default.
        patience: The value for each upstream; ``None`` for the default.

    Returns:
        The upstreams, in the order of ``urls``.

    Raises:
        ConfigError: A value is wrong, or belongs to no upstream.
    """
    others = {"concurrency": concurrency, "patience": patience}
    options: dict[str, Any] = {name: item for name, item in others.items() if item is not None}
    for name, item in options.items():
        if not urls:
            raise ConfigError(
                f"--upstream-{name} {item:g} needs --upstream URL; an upstream of a file has its "
                f"own {name!r} there"
            )
    bases = tuple(map(_base_url, urls))
    given_models = _by_url("--upstream-model", models, bases)
    given_keys = _by_url("--upstream-key-env", key_envs, bases)
    upstreams: list[Upstream] = []
    for url in bases:
        if not given_models[url]:
            raise ConfigError(
                f"--upstream {url} has no models; add --upstream-model NAME, or ID=NAME if the "
                "upstream has another name for the model"
            )
        if len(given_keys[url]) > 1:
            raise ConfigError(f"--upstream {url} has several --upstream-key-env; name one")
        key_env = given_keys[url][0] if given_keys[url] else None
        upstreams.append(Upstream(url=url, models=given_models[url], key_env=key_env, **options))
    return tuple(upstreams)


def load_upstreams(path: str | Path) -> tuple[Upstream, ...]:
    """Read upstreams from the ``[[upstream]]`` tables of a TOML file.

    Args:
        path: The file.

    Returns:
        The upstreams, in the order of the file.

    Raises:
        ConfigError: The file cannot be read, or an upstream in it is invalid.
    """
    text = read_settings_file("upstreams", path)
    try:
        return _read_document(_parse_document(text))
    except ConfigError as error:
        raise ConfigError(f"upstreams file {path}: {error}") from None


def _parse_document(text: str) -> Mapping[str, object]:
    try:
        return parse_toml(text)
    except ConfigError as error:
        raise ConfigError(
            f"{error}; the id of a model with a dot or a colon must be in quotes"
        ) from None


def split_model(text: str) -> tuple[str, str]:
    """Split ``ID=NAME`` into the id and the name; the name is empty if there is no ``=``.

    Raises:
        ConfigError: One of both is empty, or there are several ``=``.
    """
    model_id, equals, name = text.partition("=")
    if not model_id or (equals and not name):
        raise _bad("models", "ID=NAME, or a name", text)
    if "=" in name:
        raise ConfigError(
            f"Upstream.models: {text[:80]!r} has several `=`, so it is unclear where the name "
            "begins; write ID=NAME, or a mapping from ids to names as in a TOML file"
        )
    return model_id, name


def check_upstreams(value: object) -> tuple[Upstream, ...]:
    """Return the upstreams of a setting.

    Raises:
        ConfigError: An item is no ``Upstream``, or two have the same URL.
    """
    if isinstance(value, str | Mapping) or not isinstance(value, Collection):
        raise ConfigError("GatewaySettings.upstreams must be a list of `Upstream`")
    upstreams: list[Upstream] = []
    for item in cast("Collection[object]", value):
        if not isinstance(item, Upstream):
            raise ConfigError("GatewaySettings.upstreams must be a list of `Upstream`")
        if any(item.url == other.url for other in upstreams):
            raise ConfigError(f"the upstream {item.url} is given twice; give it all its models")
        upstreams.append(item)
    return tuple(upstreams)


def _read_document(document: Mapping[str, object]) -> tuple[Upstream, ...]:
    if unknown := sorted(document.keys() - {"upstream"}):
        raise ConfigError(f"there is no {unknown[0]!r}; write an [[upstream]] table")
    tables = document.get("upstream")
    if not isinstance(tables, list) or not tables:
        raise ConfigError("it has no [[upstream]] table")
    known = {item.name for item in fields(Upstream)}
    upstreams: list[Upstream] = []
    for number, table in enumerate(cast("list[object]", tables), 1):
        if not isinstance(table, Mapping):
            raise ConfigError(f"[[upstream]] {number} must be a table")
        members = cast("Mapping[str, Any]", table)
        if unknown := sorted(members.keys() - known):
            raise ConfigError(
                f"[[upstream]] {number} has no {unknown[0]!r}; known are {', '.join(sorted(known))}"
            )
        for name in ("url", "models"):
            if name not in members:
                raise ConfigError(f"[[upstream]] {number} needs {name!r}")
        upstreams.append(Upstream(**members))
    return check_upstreams(upstreams)


def _base_url(value: object) -> str:
    """Return a URL without a slash at its end. Messages show no password."""
    if not isinstance(value, str):
        raise _bad("url", "a URL", value)
    text = value.strip().rstrip("/")
    try:
        parts = urlsplit(text)
        is_valid = parts.scheme in {"http", "https"} and bool(parts.hostname)
        # Reading the port checks it.
        is_valid = is_valid and parts.port != 0
    except ValueError:
        raise ConfigError("Upstream.url is not a valid URL") from None
    if "@" in parts.netloc:
        raise ConfigError("Upstream.url must not have a user or a password; set key_env")
    if parts.query or parts.fragment or "?" in text or "#" in text:
        raise ConfigError("Upstream.url must not have a query or a fragment")
    if not is_valid or not text.isprintable() or " " in text or len(text) > _MAX_URL:
        raise _bad("url", "an http or https URL such as http://127.0.0.1:11434/v1", text[:80])
    if text.endswith("/chat/completions"):
        raise ConfigError(
            f"Upstream.url must be the base URL: leave out /chat/completions of {text[:80]}"
        )
    return text


def _check_variable(value: object) -> None:
    if value is not None and not (isinstance(value, str) and _VARIABLE.fullmatch(value)):
        # The value may be the key itself, so it is not shown.
        raise ConfigError(
            "Upstream.key_env must be the name of an environment variable that has the key, such "
            "as OPENAI_API_KEY"
        )


def _models(value: object) -> dict[str, str]:
    if isinstance(value, str) or not isinstance(value, Collection):
        raise _bad("models", "a mapping from ids to names, or a list of names", value)
    names: dict[str, str] = {}
    for item in cast("Collection[object]", value):
        if not isinstance(item, str):
            raise _bad("models", "a mapping from ids to names, or a list of names", item)
        if isinstance(value, Mapping):
            model_id, name = item, cast("Mapping[str, object]", value)[item]
        else:
            model_id, name = split_model(item)
        if isinstance(name, Mapping):
            raise _unquoted(model_id, cast("object", name))
        if not isinstance(name, str) or not model_id or not name.isprintable():
            raise _bad("models", "a mapping from ids to names, or a list of names", item)
        if model_id in names:
            first, second = names[model_id] or model_id, name or model_id
            raise ConfigError(
                f"Upstream.models: {model_id!r} is given twice, as {first!r} and as {second!r}; "
                "give it once"
            )
        names[model_id] = name
    if not names:
        raise ConfigError("Upstream.models must name at least one model")
    return names


def _unquoted(model_id: str, found: object) -> ConfigError:
    """Return the error for an id with a dot that TOML has taken for tables in each other."""
    while isinstance(found, Mapping) and found:
        part, found = next(iter(cast("Mapping[str, object]", found).items()))
        model_id = f"{model_id}.{part}"
    return ConfigError(
        f"Upstream.models: put the id of a model with a dot in quotes, as in "
        f'"{model_id[:80]}" = "NAME"'
    )


def _by_url(option: str, values: Sequence[str], urls: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Sort the values of an option by the upstreams that they belong to."""
    found: dict[str, list[str]] = {url: [] for url in urls}
    for value in values:
        text, *rest = _AT_URL.split(value, maxsplit=1)
        if rest:
            url = _base_url(rest[0])
            if url not in found:
                raise ConfigError(f"{option}: there is no --upstream {url}")
        elif len(found) == 1:
            (url,) = found
        elif found:
            raise ConfigError(f"{option}: name the upstream that it is for: {option} ...@URL")
        else:
            raise ConfigError(f"{option} needs --upstream URL")
        found[url].append(text)
    return found


def _bad(name: str, wanted: str, value: object) -> ConfigError:
    return ConfigError(f"Upstream.{name} must be {wanted}, got {value!r}")
