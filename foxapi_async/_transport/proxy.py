"""Proxies: the one of the environment, for ``trust_env``, and none for loopback addresses."""

import logging
import netrc
import os
from pathlib import Path
from urllib.request import getproxies, proxy_bypass

import aiohttp
import yarl

from foxapi_async._environment import environment
from foxapi_async.config import is_loopback
from foxapi_async.errors import ConfigError

_log = logging.getLogger("foxapi_async")


def environment_proxy(url: yarl.URL) -> yarl.URL | None:
    """Return the proxy for ``url``, with its user and password, or ``None`` to connect directly.

    A loopback address gets no proxy, with any ``no_proxy``: plain http to it is allowed
    because it does not leave the machine. The function may read files and, on Windows, resolve
    names, so it blocks.
    """
    host = url.host or ""
    if is_loopback(host) or proxy_bypass(host):
        return None
    named = getproxies().get(url.scheme)
    if not named:
        return None
    proxy = _parsed(named if "://" in named else f"http://{named}")
    if proxy is None:
        raise ConfigError(
            f"{url.scheme}_proxy in the environment is not a URL: correct it, or leave out "
            "trust_env=True"
        )
    if proxy.scheme != "http":
        _log.warning(
            "%s proxies are not supported: %s is called without a proxy", proxy.scheme, url.host
        )
        return None
    return proxy if proxy.user is not None else _with_netrc(proxy)


async def refuse_proxy_on_loopback(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Middleware for a borrowed session: refuse its proxy for plain http to a loopback address.

    Plain http to loopback is allowed because it does not leave the machine. Through a proxy it
    would, and the API key with it.
    """
    proxy, url = request.proxy, request.url
    if proxy is not None and url.scheme == "http" and is_loopback(url.host or ""):
        raise ConfigError(
            f"the aiohttp session passed as http= would send {url.origin()} over its proxy, and "
            "the API key unencrypted: set no_proxy for it, or pass a session without that proxy"
        )
    return await handler(request)


def _parsed(named: str) -> yarl.URL | None:
    # None instead of an error: the error of yarl would show a password.
    try:
        url = yarl.URL(named)
        url.port  # noqa: B018 it is parsed here
    except ValueError:
        return None
    return url if url.host else None


def _with_netrc(proxy: yarl.URL) -> yarl.URL:
    """Add the user and the password that ``.netrc`` has for the proxy, if any."""
    default = Path.home() / ("_netrc" if os.name == "nt" else ".netrc")
    try:
        found = netrc.netrc(environment("NETRC") or default).authenticators(proxy.host or "")
    except (OSError, netrc.NetrcParseError, RuntimeError) as error:
        # Most machines have no such file. The text of a parse error may quote it.
        _log.debug("no .netrc for the proxy: %s", type(error).__name__)
        return proxy
    if found is None:
        return proxy
    login, account, password = found
    return proxy.with_user(login or account).with_password(password or "")
