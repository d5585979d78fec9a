"""The gateway beside a test: what it knows of the tasks that it made."""

import json
import socket
import struct
from pathlib import Path
from time import monotonic

from foxapi_async.testing import BackgroundGateway

HELLO = json.dumps({"model": "gpt-5.5", "messages": [{"role": "user", "content": "hello"}]})


def send_and_leave(gateway: BackgroundGateway) -> None:
    """Submit a request and reset the connection before the answer can be there."""
    port = int(gateway.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(
            b"POST /v1/llm/generations HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (len(HELLO), HELLO.encode())
        )
        # The request must have arrived: a reset takes what has not been read with it.
        while gateway.stats.submits == 0:
            pass


def test_a_task_is_billed_though_its_client_has_left(tmp_path: Path) -> None:
    """A client that leaves while its task is being made has a task that is counted as paid."""
    with BackgroundGateway(data=tmp_path / "fox.db") as gateway:
        send_and_leave(gateway)
        patience = monotonic() + 5
        while not gateway.billed and monotonic() < patience:
            pass
        assert gateway.stats.tasks == 1
        [task_id] = gateway.billed
        gateway.assert_billed_once(task_id)
