"""Which hosts are this machine itself."""

from foxapi_async._protocol.loopback import is_loopback


def test_loopback_is_known_by_its_addresses() -> None:
    """Addresses of loopback and localhost are this machine's; names and others are not."""
    assert all(map(is_loopback, ["localhost", "127.0.0.1", "127.9.9.9", "::1"]))
    assert not any(map(is_loopback, ["", "0.0.0.0", "::", "10.0.0.1", "localhost.example", "x"]))
