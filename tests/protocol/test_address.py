"""Laws of the addresses and redirects that a download may follow."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxapi_async._protocol.address import (
    AddressClass,
    address_class,
    is_local_host,
    refused_hop,
)

PUBLIC = AddressClass.PUBLIC


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("8.8.8.8", AddressClass.PUBLIC),
        ("2606:4700::1111", AddressClass.PUBLIC),
        ("::ffff:8.8.8.8", AddressClass.PUBLIC),
        ("64:ff9b::808:808", AddressClass.PUBLIC),
        ("127.0.0.1", AddressClass.LOCAL),
        ("127.255.255.254", AddressClass.LOCAL),
        ("10.1.2.3", AddressClass.LOCAL),
        ("172.31.0.1", AddressClass.LOCAL),
        ("192.168.0.1", AddressClass.LOCAL),
        ("100.64.0.1", AddressClass.LOCAL),
        ("::1", AddressClass.LOCAL),
        ("fd00::1", AddressClass.LOCAL),
        ("::ffff:10.0.0.1", AddressClass.LOCAL),
        ("64:ff9b::7f00:1", AddressClass.LOCAL),
        ("169.254.169.254", AddressClass.SPECIAL),
        ("::ffff:169.254.169.254", AddressClass.SPECIAL),
        ("0.0.0.0", AddressClass.SPECIAL),
        ("224.0.0.1", AddressClass.SPECIAL),
        ("255.255.255.255", AddressClass.SPECIAL),
        ("192.0.2.1", AddressClass.SPECIAL),
        ("198.18.0.1", AddressClass.SPECIAL),
        ("::", AddressClass.SPECIAL),
        ("fe80::1%eth0", AddressClass.SPECIAL),
        ("ff02::1", AddressClass.SPECIAL),
        ("2001:db8::1", AddressClass.SPECIAL),
        ("2001::1", AddressClass.SPECIAL),
        ("2002:7f00:1::", AddressClass.SPECIAL),
        ("::127.0.0.1", AddressClass.SPECIAL),
        ("fec0::1", AddressClass.SPECIAL),
        ("no address", AddressClass.SPECIAL),
    ],
)
def test_an_address_has_its_class(address: str, kind: AddressClass) -> None:
    """Every kind of address is recognised, also inside an IPv6 address."""
    assert address_class(address) is kind


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_what_is_public_is_public_for_the_standard_library(address: IPv4Address) -> None:
    """No address that Python calls private, multicast or reserved is public."""
    if address_class(str(address)) is AddressClass.PUBLIC:
        assert address.is_global
        assert not address.is_multicast


@given(st.integers(0, 2**128 - 1).map(IPv6Address) | st.integers(2**125, 2**126).map(IPv6Address))
def test_a_public_ipv6_address_is_global(address: IPv6Address) -> None:
    """No IPv6 address that Python calls special is public, unless it holds a public IPv4 one."""
    if address_class(str(address)) is AddressClass.PUBLIC:
        assert (
            address.is_global or address.ipv4_mapped is not None or address.packed[:2] == b"\0\x64"
        )


@pytest.mark.parametrize(
    ("scheme", "host", "previous", "word"),
    [
        ("https", "cdn.example", None, None),
        ("http", "cdn.example", None, None),
        ("https", "cdn.example", "http", None),
        ("http", "cdn.example", "http", None),
        ("http", "cdn.example", "https", "plain http"),
        ("file", "cdn.example", "https", "file:"),
        ("ftp", "cdn.example", None, "ftp:"),
        ("", "", None, "no:"),
        ("https", "", None, "no host"),
        ("https", "10.0.0.1", None, "10.0.0.1"),
        ("https", "::ffff:127.0.0.1", "https", "127.0.0.1"),
        ("https", "169.254.169.254", "https", "169.254.169.254"),
    ],
)
def test_a_hop_is_checked(scheme: str, host: str, previous: str | None, word: str | None) -> None:
    """A link and each redirect lead to http or https, without a downgrade, to a public address."""
    reason = refused_hop(scheme, host, previous=previous, allow_http=False, allowed=PUBLIC)
    assert (reason is None) == (word is None)
    assert word is None or word in (reason or "")


def test_a_local_session_may_follow_local_links() -> None:
    """Private addresses are allowed to a session that is itself at one, metadata addresses not."""

    def refused(host: str) -> str | None:
        return refused_hop(
            "http", host, previous=None, allow_http=False, allowed=AddressClass.LOCAL
        )

    assert refused("127.0.0.1") is None
    assert refused("192.168.1.1") is None
    assert refused("169.254.169.254") is not None


def test_a_downgrade_can_be_allowed() -> None:
    """With ``allow_http`` a redirect may lead from https to http."""
    assert (
        refused_hop("http", "cdn.example", previous="https", allow_http=True, allowed=PUBLIC)
        is None
    )


def test_local_hosts_are_known_by_name_and_address() -> None:
    """``localhost`` and private addresses are local, other names and public addresses not."""
    assert all(
        map(is_local_host, ("localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "fd00::1"))
    )
    assert not any(map(is_local_host, ("localhost.example", "8.8.8.8", "10.0.0.1.example")))
