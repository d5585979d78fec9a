"""The settings of a gateway."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Final, Literal, TypedDict, cast
from urllib.parse import urlsplit

from foxapi_async._clock import Clock, LoopClock, is_clock
from foxapi_async.config import is_whole_number
from foxapi_async.errors import ConfigError
from foxapi_async.gateway.faults.rule import FaultRule
from foxapi_async.gateway.prices import TokenPrice, check_amount, check_price, check_prices
from foxapi_async.gateway.upstream_settings import Upstream, check_upstreams

LogFormat = Literal["text", "json"]

_DAY: Final = 86_400.0
_MIB: Final = 1024 * 1024
_GIB: Final = 1024 * _MIB
_ORIGIN: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
)
_PUBLIC_URL: Final = re.compile(
    r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?"
)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_MAX_PORT: Final = 65_535


class GatewayOptions(TypedDict, total=False):
    """The fields of ``GatewaySettings`` as keywords, all of them optional."""

    api_keys: Collection[str] | Mapping[str, float | None]
    price: float | TokenPrice
    prices: Mapping[str, float | TokenPrice]
    hosts: Collection[str]
    allow_origins: Collection[str]
    models: Collection[str]
    replies: Collection[object]
    upstreams: Collection[Upstream]
    only_upstream: bool
    local: bool | str | PathLike[str] | None
    local_names: Collection[str]
    faults: Collection[FaultRule | str]
    log: LogFormat | None
    queue_delay: float
    token_delay: float
    thinking_delay: float | None
    media_delay: float
    retention: float
    task_retention: float
    body_limit: int
    file_limit: int | None
    storage_limit: int | None
    public_url: str | None
    seed: int | None
    data: str | PathLike[str] | None
    clock: Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """The settings of a gateway. By default it is fast and accepts any bearer token.

    Times are in seconds. A wrong value raises ``ConfigError``, which names the setting.
    """

    api_keys: Collection[str] | Mapping[str, float | None] = field(default=(), repr=False)
    """The accepted API keys. Without any, every token that is not empty is accepted. A mapping
    gives the credits of each key, ``None`` for unlimited ones. A key cannot see the tasks of
    another key."""
    price: float | TokenPrice = 1.0
    """The credits of an accepted generation, or a ``TokenPrice``. A key with fewer credits left
    gets a 402. A task that fails keeps its credits; by a ``TokenPrice`` it costs nothing."""
    prices: Mapping[str, float | TokenPrice] = field(default_factory=dict[str, float | TokenPrice])
    """The prices of single models, in place of ``price``."""
    hosts: Collection[str] = ()
    """Host names, beside localhost, that requests over the loopback interface may use."""
    allow_origins: Collection[str] = ()
    """The origins of web pages that may use the gateway, such as ``"http://localhost:5173"``.
    Without any, requests of web pages get a 403, on loopback too. No page may use ``/_gateway``."""
    models: Collection[str] = ()
    """Models beside those of the service. ``"NAME"`` accepts text, ``"NAME:vision,file"`` accepts
    these inputs as well. A name that ends in a colon and a word needs its inputs, as in
    ``"llama3:latest:text"``. Their answers are simulated."""
    replies: Collection[object] = field(default=(), repr=False)
    """The scripted answers, in order: texts, ``Reply`` objects, or objects with their fields. While
    there are any, each submit takes the first that fits its prompt, and one that finds none is
    refused with 422. ``gateway.replies`` changes them."""
    upstreams: Collection[Upstream] = ()
    """Servers with OpenAI's chat API that answer the requests for some models. A model of an
    upstream takes the place of the service's simulated model that has the same id. An id that
    another upstream, ``models`` or ``local`` has too is an error."""
    only_upstream: bool = False
    """Whether the gateway has only the models of upstreams and no simulated ones."""
    local: bool | str | PathLike[str] | None = None
    """A small model on this machine: ``True`` for ``smollm2-135m-instruct``, whose weights
    ``foxapi local fetch`` gets, or a GGUF file, whose name is the model id. It runs on the CPU, in
    a process of its own, and needs the extra ``local``."""
    local_names: Collection[str] = ()
    """More model ids that the local model answers, such as ``"gpt-5.5"``."""
    faults: Collection[FaultRule | str] = ()
    """The fault rules, as objects or in the short form such as ``"submit:503:nth=2"``."""
    log: LogFormat | None = None
    """Write a line to stderr for each response, as ``"text"`` or ``"json"``; keys are masked."""
    queue_delay: float = 0.02
    """How long a task stays pending."""
    token_delay: float = 0.002
    """The time between two tokens of an answer."""
    thinking_delay: float | None = None
    """The time between two tokens of reasoning; ``None`` means the same as ``token_delay``."""
    media_delay: float = 0.05
    """How long a task of an image, a video, audio or a document is processed."""
    retention: float = 900.0
    """How long the stream of a task can be read after the task has ended (contract §6)."""
    task_retention: float = 30 * _DAY
    """How long a task can be queried after it has ended."""
    body_limit: int = 64 * 1024 * 1024
    """The maximum size of a request body in bytes."""
    file_limit: int | None = None
    """The maximum size of an uploaded file in bytes; a larger one gets a 413. ``None`` means
    100 MiB, and 5 GiB with ``data``."""
    storage_limit: int | None = None
    """The bytes that the uploads of a key may have together. The oldest make room for a new one, or
    it gets a 403 if it has ``auto_cleanup=false``. ``None`` means 256 MiB, and 20 GiB with
    ``data``."""
    public_url: str | None = None
    """What the links of files begin with, such as ``"https://gateway.example"`` for a proxy with
    TLS before the gateway. ``None`` means the address that a request was sent to."""
    seed: int | None = None
    """The seed of task ids and of fault probabilities: the same seed repeats a run."""
    data: str | PathLike[str] | None = None
    """The file in which tasks and chunks survive a restart, even after ``kill -9``. It needs the
    extra ``gateway``, and one gateway can use it at a time. Uploads and the files of results are in
    a folder beside it, whose name has ``.files`` at its end. ``None`` keeps all in memory only.
    """
    clock: Clock = field(default_factory=LoopClock, repr=False)
    """The source of time. A ``ManualClock`` is advanced by ``POST /_gateway/clock``."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "api_keys", _keys(self.api_keys))
        object.__setattr__(self, "hosts", _names(self.hosts))
        object.__setattr__(self, "allow_origins", _origins(self.allow_origins))
        object.__setattr__(self, "models", _texts("models", self.models))
        object.__setattr__(self, "replies", _items("replies", self.replies))
        object.__setattr__(self, "upstreams", check_upstreams(self.upstreams))
        object.__setattr__(self, "local_names", _texts("local_names", self.local_names))
        object.__setattr__(self, "faults", _rules(self.faults))
        for name in ("queue_delay", "token_delay", "media_delay", "retention", "task_retention"):
            _check_number(name, getattr(self, name))
        check_price("GatewaySettings.price", self.price)
        object.__setattr__(self, "prices", check_prices("GatewaySettings.prices", self.prices))
        if self.thinking_delay is not None:
            _check_number("thinking_delay", self.thinking_delay)
        if self.log not in (None, "text", "json"):
            raise _bad("log", "'text', 'json' or None", self.log)
        for name in ("body_limit", "file_limit", "storage_limit"):
            _check_size(name, getattr(self, name), is_optional=name != "body_limit")
        object.__setattr__(self, "public_url", _public_url(self.public_url))
        if self.seed is not None and not is_whole_number(self.seed):
            raise _bad("seed", "a whole number or None", self.seed)
        if not is_clock(self.clock):
            raise _bad("clock", "an object with time(), unix() and call_at()", self.clock)
        if not _is_path(self.data):
            raise _bad("data", "the path of a file or None", self.data)
        _check_local(self.local, self.local_names)

    @property
    def credits(self) -> Mapping[str, float | None]:
        """The keys, each with its initial credits."""
        # `__post_init__` has converted any collection into a mapping.
        return cast("Mapping[str, float | None]", self.api_keys)

    @property
    def known_hosts(self) -> Collection[str]:
        """The ``hosts``, and the one of ``public_url``."""
        host = urlsplit(self.public_url or "").hostname
        return self.hosts if host is None else (*self.hosts, host)

    @property
    def effective_file_limit(self) -> int:
        """The effective ``file_limit``."""
        default = 100 * _MIB if self.data is None else 5 * _GIB
        return default if self.file_limit is None else self.file_limit

    @property
    def effective_storage_limit(self) -> int:
        """The effective ``storage_limit``."""
        default = 256 * _MIB if self.data is None else 20 * _GIB
        return default if self.storage_limit is None else self.storage_limit

    @property
    def effective_thinking_delay(self) -> float:
        """The effective ``thinking_delay``."""
        return self.token_delay if self.thinking_delay is None else self.thinking_delay


def _keys(value: object) -> dict[str, float | None]:
    """Return the keys with their credits. Error messages contain no key."""
    if not isinstance(value, list | tuple | set | frozenset | Mapping):
        raise ConfigError(
            "GatewaySettings.api_keys must be a list, tuple or set of keys, or a mapping from keys "
            "to credits"
        )
    given = cast("Collection[object]", value)
    keys: dict[str, float | None] = {}
    for number, key in enumerate(given):
        if not isinstance(key, str) or not key.isascii() or not key.isprintable() or " " in key:
            raise ConfigError(f"GatewaySettings.api_keys[{number}] must be printable ASCII")
        if not key:
            raise ConfigError(f"GatewaySettings.api_keys[{number}] must not be empty")
        keys[key] = None
        if isinstance(given, Mapping):
            budget = cast("Mapping[str, object]", given)[key]
            if budget is not None:
                _check_number(f"api_keys[{number}]", budget)
                keys[key] = cast("float", budget)
    return keys


def _names(value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Collection):
        raise _bad("hosts", "a list of names", value)
    names = tuple(cast("Collection[object]", value))
    for name in names:
        if not isinstance(name, str) or not name or any(character in name for character in "/@ "):
            raise _bad("hosts", "a list of names without port or path", name)
    return cast("tuple[str, ...]", names)


def _origins(value: object) -> tuple[str, ...]:
    """Return the origins as browsers write them: lower case, without the default port."""
    return tuple(map(_origin, _texts("allow_origins", value)))


def _origin(text: str) -> str:
    if text in {"*", "null"}:
        reason = (
            "every web page could read and submit generations"
            if text == "*"
            else "any page can have it, by a sandbox or a local file"
        )
        raise ConfigError(
            f"GatewaySettings.allow_origins cannot have {text!r}: {reason}; name each origin, "
            "such as 'http://localhost:5173'"
        )
    found = _ORIGIN.fullmatch(text.lower())
    port = int(found["port"] or 0) if found is not None else 0
    if found is None or port > _MAX_PORT:
        raise _bad("allow_origins", "origins, scheme://host[:port] in ASCII without a path", text)
    scheme, host = found["scheme"], found["host"]
    return f"{scheme}://{host}" + (
        f":{port}" if port not in {0, _DEFAULT_PORTS.get(scheme)} else ""
    )


def _items(name: str, value: object) -> tuple[object, ...]:
    # The value may have prompts in it, so an error shows its type.
    kind = type(value).__name__
    if isinstance(value, str | Mapping) or not isinstance(value, Collection):
        raise _bad(name, "a list", kind)
    return tuple(cast("Collection[object]", value))


def _texts(name: str, value: object) -> tuple[str, ...]:
    texts = _items(name, value)
    for text in texts:
        if not isinstance(text, str):
            raise _bad(name, "a list of texts", text)
    return cast("tuple[str, ...]", texts)


def _rules(value: object) -> tuple[FaultRule, ...]:
    if isinstance(value, str) or not isinstance(value, Collection):
        raise _bad("faults", "a list of rules or their short forms", value)
    return tuple(FaultRule.of(rule) for rule in cast("Collection[object]", value))


def _is_path(value: object) -> bool:
    return value is None or isinstance(value, PathLike) or (isinstance(value, str) and value != "")


def _check_local(local: object, names: Collection[str]) -> None:
    if not isinstance(local, bool) and not _is_path(local):
        raise _bad("local", "True, the path of a GGUF file or None", local)
    if names and not local:
        raise ConfigError("GatewaySettings.local_names needs local")
    for name in names:
        if [*names].count(name) > 1:
            raise ConfigError(f"GatewaySettings.local_names has {name[:80]!r} twice; give it once")


def _check_size(name: str, value: object, *, is_optional: bool) -> None:
    if value is None and is_optional:
        return
    if not is_whole_number(value) or value < 1:
        wanted = "a number of bytes above 0"
        raise _bad(name, f"{wanted} or None" if is_optional else wanted, value)


def _public_url(value: object) -> str | None:
    """Return the URL without a slash at its end."""
    if value is None:
        return None
    text = value.rstrip("/") if isinstance(value, str) else ""
    if not _PUBLIC_URL.fullmatch(text):
        raise _bad("public_url", "an http(s) URL without query, such as 'https://host'", value)
    return text


def _check_number(name: str, value: object) -> None:
    check_amount(f"GatewaySettings.{name}", value)


def _bad(name: str, wanted: str, value: object) -> ConfigError:
    return ConfigError(f"GatewaySettings.{name} must be {wanted}, got {value!r}")
