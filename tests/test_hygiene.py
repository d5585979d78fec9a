"""The guards of ``conftest.py`` bark."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import foxapi_async

GUILTY = '''
"""Each test commits one crime; the last one none."""

import asyncio
import logging
import socket
import time

from foxapi_async._transport import Account
from foxapi_async.errors import ConfigError

KEY = "sk-0123456789abcdef"


async def hang_up(reader, writer):
    writer.close()
    await writer.wait_closed()


async def test_blocks():
    time.sleep(0)


async def test_leaves_a_task():
    asyncio.create_task(asyncio.Event().wait())


async def test_leaves_a_connection():
    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    globals()["kept"] = await asyncio.open_connection(*server.sockets[0].getsockname())
    server.close()


async def test_loses_an_exception():
    async def fail():
        raise ValueError
    task = asyncio.create_task(fail())
    await asyncio.wait([task])


async def test_breaks_a_callback():
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    await asyncio.sleep(0)


def test_leaves_a_socket():
    socket.socket()


def test_forgets_to_await():
    hang_up(None, None)


def test_logs_a_key():
    Account.resolve(KEY)
    logging.getLogger("foxapi_async.any").warning("%s", KEY)


def test_raises_a_key():
    Account.resolve(KEY)
    try:
        raise ConfigError(KEY)
    except ConfigError:
        pass


def test_prints_a_key():
    Account.resolve(KEY)
    print(KEY)


async def test_is_innocent():
    logging.getLogger("foxapi_async").warning("%r", Account.resolve(KEY))
    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.close()
    await writer.wait_closed()
    server.close()
'''


def test_every_guard_barks(checkout: Path, tmp_path: Path) -> None:
    """Each crime is found, in the test that committed it, and innocence is not punished."""
    # uvloop keeps its connections to itself, so only asyncio's loop shows the one left open.
    env = {name: value for name, value in os.environ.items() if name != "FOXAPI_TEST_LOOP"}
    env["PYTHONPATH"] = str(Path(foxapi_async.__file__).parents[1])
    shutil.copy(checkout / "tests/conftest.py", tmp_path)
    (tmp_path / "test_guilty.py").write_text(GUILTY, "utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "pytest", "-c", str(checkout / "pyproject.toml")),
            *("--rootdir", str(tmp_path), "-p", "no:cacheprovider", "-p", "no:xdist", "-rA", "."),
        ],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    verdicts = set(re.findall(r"^(FAILED|ERROR) \S+::test_(\w+)", done.stdout, re.MULTILINE))
    assert verdicts == {
        ("FAILED", "blocks"),
        ("ERROR", "leaves_a_task"),
        ("ERROR", "leaves_a_connection"),
        ("ERROR", "loses_an_exception"),
        ("ERROR", "breaks_a_callback"),
        ("FAILED", "leaves_a_socket"),
        ("FAILED", "forgets_to_await"),
        ("ERROR", "logs_a_key"),
        ("ERROR", "raises_a_key"),
        ("ERROR", "prints_a_key"),
    }, done.stdout
    assert "is_innocent" in done.stdout
