"""An API key and the one origin that it is sent to."""

import platform
import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NoReturn, Self, final
from urllib.parse import quote, urlencode

import aiohttp
import yarl
from multidict import CIMultiDict, CIMultiDictProxy

from foxapi_async._environment import environment
from foxapi_async._protocol.mask import Mask
from foxapi_async._version import __version__
from foxapi_async.config import (
    SecretString,
    URLObject,
    environment_switch,
    is_loopback,
)
from foxapi_async.errors import ConfigError

DEFAULT_BASE_URL = "https://api.foxapi.cc"

# Cloudflare refuses the default user agents of HTTP libraries (contract §1, Q7).
USER_AGENT = (
    f"foxapi-async/{__version__} python/{platform.python_version()} aiohttp/{aiohttp.__version__}"
)

_MIN_KEY_LENGTH = 8
_ENDPOINT = re.compile(
    r"/v1/(llm|llm_async|tasks|configs|models|chat|images|videos|audios?|run|files)(/|$)"
)


@final
class Account:
    """An API key and the base URL that it is for. Compared by identity; its repr masks the key."""

    __slots__ = (
        "__weakref__",
        "_allow_http",
        "_base",
        "_base_path",
        "_base_url",
        "_key",
        "_root",
        "base",
        "headers",
        "mask",
        "origin",
        "post_headers",
        "stream_headers",
    )

    def __init__(self, api_key: str, base_url: str, *, allow_http: bool) -> None:
        self._key = _checked_key(api_key)
        self.mask: Mask = Mask(api_key)
        self._base_url = base_url
        self._allow_http = allow_http
        url = _checked_url(base_url, allow_http=allow_http)
        _refuse_short_key(api_key, url)
        self._root = url.origin()
        # Every path of the API begins with /v1; base URLs of other SDKs end with it.
        self._base_path = url.raw_path.rstrip("/").removesuffix("/v1").rstrip("/")
        self._base = f"{self._root}{self._base_path}"
        # For texts, with the key masked: a host name or a path of a proxy may contain the key.
        self.origin: str = self.mask.name(str(self._root))
        self.base: str = self.mask.name(self._base)
        self.headers: CIMultiDictProxy[str] = _headers(
            api_key, accept="application/json", encoding="gzip, deflate"
        )
        # Set here, because a borrowed session may have another default Content-Type, or none.
        self.post_headers: CIMultiDictProxy[str] = CIMultiDictProxy(
            CIMultiDict(self.headers, **{"Content-Type": "application/json"})
        )
        # A compressor holds back the bytes of a stream until it has enough of them.
        self.stream_headers: CIMultiDictProxy[str] = _headers(
            api_key, accept="text/event-stream", encoding="identity"
        )

    @classmethod
    def resolve(
        cls,
        api_key: str | SecretString | None = None,
        base_url: str | URLObject | None = None,
        allow_http: bool | None = None,  # noqa: FBT001 three-state, and named by every caller
    ) -> Self:
        """Build an account; an argument that is ``None`` is read from the environment.

        Raises:
            ConfigError: The key or the URL is missing or cannot be right.
        """
        key = environment("FOXAPI_API_KEY") if api_key is None else _key_text(api_key)
        if not key:
            raise ConfigError(
                "no API key: set the environment variable FOXAPI_API_KEY or pass api_key=..."
            )
        url = _url_text(base_url or environment("FOXAPI_BASE_URL") or DEFAULT_BASE_URL)
        if allow_http is None:
            allow_http = environment_switch("FOXAPI_ALLOW_HTTP", default=False)
        return cls(key, url, allow_http=allow_http)

    @property
    def root(self) -> yarl.URL:
        """The scheme, the host and the port."""
        return self._root

    @property
    def allow_http(self) -> bool:
        """Whether plain http is allowed to other machines."""
        return self._allow_http

    def replace(
        self,
        *,
        api_key: str | SecretString | None = None,
        base_url: str | URLObject | None = None,
        allow_http: bool | None = None,
    ) -> "Account":
        """Return a copy with the given arguments replaced."""
        return Account(
            self._key if api_key is None else _key_text(api_key),
            self._base_url if base_url is None else _url_text(base_url),
            allow_http=self._allow_http if allow_http is None else allow_http,
        )

    def request_target(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """Return the path and query of a request line; ``path`` is percent-encoded already."""
        query_part = f"?{urlencode(query, quote_via=quote)}" if query else ""
        return f"{self._base_path}{path}{query_part}"

    def url(self, path: str, query: Mapping[str, str] | None = None) -> yarl.URL:
        """Return the URL of ``path``, which is percent-encoded already."""
        if query:
            return yarl.URL(f"{self._root}{self.request_target(path, query)}", encoded=True)
        # Without a query, as nearly always, the origin is not parsed again.
        return self._root.with_path(self.request_target(path), encoded=True)

    def redact(self, text: str) -> str:
        """Return ``text`` with the key masked everywhere, whole or in part."""
        return self.mask.text(text)

    def rate_name(self) -> str:
        """Return the name of the rate of this key at this URL: a hash, which does not tell them."""
        return blake2b(f"{self._base}\n{self._key}".encode(), digest_size=16).hexdigest()

    def __repr__(self) -> str:
        return f"<Account {self.base} {self.mask.placeholder}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an account holds an API key, so it is not pickled")


def _headers(api_key: str, *, accept: str, encoding: str) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(
        CIMultiDict(
            {
                "Authorization": f"Bearer {api_key}",
                "User-Agent": USER_AGENT,
                "Accept": accept,
                "Accept-Encoding": encoding,
            }
        )
    )


def _key_text(api_key: str | SecretString) -> str:
    value: Any = api_key
    if hasattr(value, "get_secret_value"):
        value = value.get_secret_value()
    if not isinstance(value, str):
        raise ConfigError(
            "the API key (api_key=..., FOXAPI_API_KEY) must be a text or a secret string, "
            f"got {type(value).__name__}"
        )
    return str.__str__(value)


def _url_text(base_url: str | URLObject) -> str:
    value: Any = base_url
    if isinstance(value, str):
        return str.__str__(value)
    if hasattr(value, "scheme") and hasattr(value, "host"):
        return str(value)
    raise ConfigError(
        "the base URL (base_url=..., FOXAPI_BASE_URL) must be a text or a URL, "
        f"got {type(value).__name__}"
    )


def _refuse_short_key(api_key: str, url: yarl.URL) -> None:
    """Refuse a key that must be incomplete; a local gateway accepts any key."""
    is_local = url.scheme == "http" or is_loopback(url.host or "")
    if len(api_key) < _MIN_KEY_LENGTH and not is_local:
        raise ConfigError(
            f"the API key (api_key=..., FOXAPI_API_KEY) has only {len(api_key)} characters, and a "
            f"key of the service has at least {_MIN_KEY_LENGTH}: was it copied whole?"
        )


def _checked_key(api_key: str) -> str:
    if not api_key or not (api_key.isascii() and api_key.isprintable()) or " " in api_key:
        raise ConfigError(
            "the API key (api_key=..., FOXAPI_API_KEY) may hold visible ASCII characters only; "
            "is there a line break or a blank in it?"
        )
    return api_key


def _checked_url(base_url: str, *, allow_http: bool) -> yarl.URL:
    """Parse the base URL; refuse one that could send the key to the wrong place."""

    def config_error(why: str) -> ConfigError:
        # The part before an @ may be a password.
        shown = base_url.rpartition("@")[2][:200]
        return ConfigError(f"the base URL (base_url=..., FOXAPI_BASE_URL) {why}: {shown!r}")

    if not base_url.isprintable() or " " in base_url or "\\" in base_url:
        raise config_error("holds a blank, a backslash or a control character")
    if "?" in base_url or "#" in base_url:
        raise config_error("must not have a query or a fragment")
    url = _parsed(base_url)
    if url is None:
        raise config_error("is not a URL")
    if url.scheme not in {"http", "https"} or not url.host:
        raise config_error("must begin with https:// and a host")
    if url.raw_user is not None or url.raw_password is not None or "@" in base_url:
        raise config_error("must not hold a user name or a password")
    if _ENDPOINT.search(url.raw_path):
        raise config_error("is the address of one endpoint; end it before /v1")
    if environment_switch("FOXAPI_FORBID_NETWORK", default=False) and not is_loopback(url.host):
        raise config_error(
            "is not on this machine, and FOXAPI_FORBID_NETWORK=1 allows nothing else; set "
            "FOXAPI_BASE_URL to a local gateway"
        )
    if url.scheme == "http" and not allow_http and not is_loopback(url.host):
        raise config_error(
            "would send the API key unencrypted to another machine; use https, or allow it with "
            "allow_http=True or FOXAPI_ALLOW_HTTP=1"
        )
    return url


def _parsed(base_url: str) -> yarl.URL | None:
    # None instead of an error: as a context, the error of yarl would show a password.
    try:
        url = yarl.URL(base_url)
        # They are parsed here, and may be invalid.
        url.host  # noqa: B018
        url.port  # noqa: B018
    except ValueError:
        return None
    return url
