"""Sockets as the proxy needs them: never blocking, never waiting to fill a packet, cut at will."""

import asyncio
import os
import socket
import struct
import sys
from contextlib import suppress

LOOPBACK = "127.0.0.1"


def bind(port: int) -> socket.socket:
    """Return a socket that owns a loopback port, and does not listen yet."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Elsewhere the option would let another program take the port as well.
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)  # noqa: FBT003  positional-only
        sock.bind((LOOPBACK, port))
    except BaseException:
        sock.close()
        raise
    return sock


def prepare(sock: socket.socket) -> None:
    """Make a socket fit for the loop, and let each write leave at once, as a packet of its own."""
    sock.setblocking(False)  # noqa: FBT003  positional-only
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def reset(sock: socket.socket) -> None:
    """Close a socket so that its peer gets a TCP reset."""
    # Lingering for no time at all is what turns close() into a reset.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def drain(sock: socket.socket) -> None:
    """Wait until the peer's system has all that was written, because a reset throws the rest away.

    The system tells on Linux only; elsewhere a reset may overtake the last of many bytes.
    """
    if sys.platform == "linux":
        while _unacknowledged(sock):  # noqa: ASYNC110  nothing tells but asking again
            await asyncio.sleep(0)


def end_writing(sock: socket.socket) -> None:
    """Tell the peer that nothing more comes."""
    # The peer may have closed or reset the connection already.
    with suppress(OSError):
        sock.shutdown(socket.SHUT_WR)


if sys.platform == "linux":
    from fcntl import ioctl
    from termios import TIOCOUTQ

    _TCP_CLOSE = 7

    def _unacknowledged(sock: socket.socket) -> int:
        # The count stays as it was when the peer resets the connection.
        if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE:
            return 0
        return int.from_bytes(ioctl(sock, TIOCOUTQ, bytes(4)), sys.byteorder)
