"""Which addresses and which redirects a download may follow."""

from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final


class AddressClass(IntEnum):
    """How far an address is from the public internet. A policy allows a class and those before."""

    PUBLIC = 0
    """Reachable from everywhere."""
    LOCAL = 1
    """This machine, or its private network."""
    SPECIAL = 2
    """Link-local, where clouds keep credentials, multicast, reserved and translated addresses."""


_LOCAL_4: Final = tuple(
    map(
        IPv4Network,
        ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"),
    )
)
# The registry of special addresses; `ipaddress.is_global` differs between releases of Python.
_SPECIAL_4: Final = tuple(
    map(
        IPv4Network,
        (
            *("0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24"),
            *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        ),
    )
)
_LOCAL_6: Final = (IPv6Network("::1/128"), IPv6Network("fc00::/7"))
_GLOBAL_6: Final = IPv6Network("2000::/3")
_SPECIAL_6: Final = tuple(
    map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
)
# The last four bytes are an IPv4 address, to which the packet goes.
_TRANSLATED_6: Final = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
_TEN_CHARACTERS: Final = 10


def address_class(text: str) -> AddressClass:
    """Return the class of an address. What is no address is ``SPECIAL``."""
    try:
        # A scope such as %eth0 is part of a link-local address only.
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return AddressClass.SPECIAL
    return _class_4(address) if isinstance(address, IPv4Address) else _class_6(address)


def is_address(host: str) -> bool:
    """Tell whether a host is an address, and not a name."""
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def is_local_host(host: str) -> bool:
    """Tell whether a host is this machine or a private address, without asking a resolver."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    return is_address(host) and address_class(host) is AddressClass.LOCAL


def refused_hop(
    scheme: str, host: str, *, previous: str | None, allow_http: bool, allowed: AddressClass
) -> str | None:
    """Return why a download does not follow a URL; ``None`` if it does.

    The addresses of a name are checked when the connection is made.

    Args:
        scheme: The scheme of the URL.
        host: Its host.
        previous: The scheme of the URL that redirected to it; ``None`` for the link itself.
        allow_http: Whether a redirect may lead from https to http.
        allowed: The last class of addresses that is allowed.
    """
    if scheme not in {"http", "https"}:
        return f"it leads to {scheme[:_TEN_CHARACTERS] or 'no'}: and not to http or https"
    if not host:
        return "it has no host"
    if previous == "https" and scheme == "http" and not allow_http:
        return "it redirects from https to plain http, which allow_http=True would allow"
    if is_address(host) and address_class(host) > allowed:
        return f"it leads to {host}, which is no public address"
    return None


def _class_4(address: IPv4Address) -> AddressClass:
    if any(address in network for network in _SPECIAL_4):
        return AddressClass.SPECIAL
    if any(address in network for network in _LOCAL_4):
        return AddressClass.LOCAL
    return AddressClass.PUBLIC


def _class_6(address: IPv6Address) -> AddressClass:
    if any(address in network for network in _TRANSLATED_6):
        return _class_4(IPv4Address(int(address) & 0xFFFFFFFF))
    if any(address in network for network in _LOCAL_6):
        return AddressClass.LOCAL
    if address not in _GLOBAL_6 or any(address in network for network in _SPECIAL_6):
        return AddressClass.SPECIAL
    return AddressClass.PUBLIC
