"""A server that sends bytes from memory and throws uploads away: ``file_server.py MEGABYTES``.

It reads sockets by hand, so that its own CPU limits no client. It prints its URL when it is ready,
and serves until its standard input ends.
"""

import socket
import sys
import threading

import process

BLOCK = bytes(1 << 20)
STORED = (
    b'{"id":"file-1-a","url":"https://files.example/a","filename":"a.bin","size":1,"created":1}'
)


def serve(connection: socket.socket, blocks: int) -> None:
    """Answer the requests of one connection."""
    with connection:
        received = b""
        while True:
            while b"\r\n\r\n" not in received:
                found = connection.recv(1 << 16)
                if not found:
                    return
                received += found
            head, _, received = received.partition(b"\r\n\r\n")
            if head.startswith(b"GET"):
                size = blocks * len(BLOCK)
                connection.sendall(
                    b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: "a"\r\n\r\n' % size
                )
                for _ in range(blocks):
                    connection.sendall(BLOCK)
            else:
                received = skip_body(connection, head, received)
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(STORED), STORED)
                )


def skip_body(connection: socket.socket, head: bytes, received: bytes) -> bytes:
    """Read the body of a request; return what follows it."""
    length = next(
        int(line.partition(b":")[2])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    )
    left = length - len(received)
    buffer = bytearray(1 << 20)
    while left > 0:
        count = connection.recv_into(buffer, min(left, len(buffer)))
        if not count:
            return b""
        left -= count
    return b""


def main() -> None:
    """Serve until standard input ends."""
    process.pin(process.SERVER_CORE)
    blocks = int(sys.argv[1])
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection, blocks), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
