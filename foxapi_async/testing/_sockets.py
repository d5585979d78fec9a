"""Sockets of the proxy: non-blocking, without Nagle's algorithm, closed by FIN or by reset."""

import asyncio
import os
import socket
import struct
import sys
from contextlib import suppress

LOOPBACK = "127.0.0.1"


def bind(port: int) -> socket.socket:
    """Return a socket that is bound to a loopback port and does not listen yet."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # On Windows, the option would let another program bind the port too.
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)  # noqa: FBT003  positional-only
        sock.bind((LOOPBACK, port))
    except BaseException:
        sock.close()
        raise
    return sock


def prepare(sock: socket.socket) -> None:
    """Make a socket non-blocking, and send each write at once in a packet of its own."""
    sock.setblocking(False)  # noqa: FBT003  positional-only
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def reset(sock: socket.socket) -> None:
    """Close a socket with a TCP reset."""
    # With a linger time of 0, close() sends a reset.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def drain(sock: socket.socket) -> None:
    """Wait until the peer has acknowledged all written bytes, because a reset discards the rest.

    Only Linux reports unacknowledged bytes. On other systems a reset may overtake the last bytes of
    a large write.
    """
    if sys.platform == "linux":
        while _unacknowledged(sock):  # noqa: ASYNC110  no event exists for it
            await asyncio.sleep(0)


def end_writing(sock: socket.socket) -> None:
    """Send FIN: the peer gets no more bytes."""
    # The peer may have closed or reset the connection already.
    with suppress(OSError):
        sock.shutdown(socket.SHUT_WR)


if sys.platform == "linux":
    from fcntl import ioctl
    from termios import TIOCOUTQ

    _TCP_CLOSE = 7

    def _unacknowledged(sock: socket.socket) -> int:
        # When the peer resets the connection, the count does not change any more.
        if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE:
            return 0
        return int.from_bytes(ioctl(sock, TIOCOUTQ, bytes(4)), sys.byteorder)
