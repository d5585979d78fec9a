"""Laws of the gateway in a thread."""

import asyncio
import json
import socket
import struct
from threading import Event
from time import monotonic
from typing import Any

import pytest

from foxapi_async.gateway.store import MemoryStore
from foxapi_async.testing import BackgroundGateway


class SocketBlockedError(RuntimeError):
    """The error of a plugin that forbids sockets."""


def test_a_gateway_that_cannot_start_says_why_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """If sockets are forbidden, entering raises that error with a note that has the fix."""

    def forbid(*_: object, **__: object) -> None:
        raise SocketBlockedError("a test tried to use socket.socket")

    gateway = BackgroundGateway()
    with monkeypatch.context() as patch:
        patch.setattr(socket, "socketpair", forbid)
        started = monotonic()
        with pytest.raises(SocketBlockedError) as caught, gateway:
            pass
    assert monotonic() - started < 5
    assert "127.0.0.1" in caught.value.__notes__[0]


def test_a_taken_port_raises_where_the_gateway_is_entered() -> None:
    """An error at the start in the gateway's thread is raised in the test."""
    with BackgroundGateway() as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(OSError, match=str(port)), BackgroundGateway(port=port):
            pass


HELLO = json.dumps({"model": "gpt-5.5", "messages": [{"role": "user", "content": "hello"}]})


def test_a_task_is_billed_though_its_client_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task whose client disconnects during the submit counts as billed."""
    begun, left = Event(), Event()
    add = MemoryStore.add

    async def add_late(self: MemoryStore, *task: Any, **kind: Any) -> bool:
        begun.set()
        while not left.is_set():
            await asyncio.sleep(0)
        # The loop gets the reset in its next iteration, and cancels the request in the one after.
        for _ in range(10):
            await asyncio.sleep(0)
        return await add(self, *task, **kind)

    monkeypatch.setattr(MemoryStore, "add", add_late)
    with BackgroundGateway() as gateway:
        port = int(gateway.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(
                b"POST /v1/llm/generations HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x"
                b"\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (len(HELLO), HELLO.encode())
            )
            assert begun.wait(5)
        left.set()
        deadline = monotonic() + 5
        while not gateway.billed and monotonic() < deadline:
            pass
        assert gateway.stats.tasks == 1
        [task_id] = gateway.billed
        gateway.assert_billed_once(task_id)
