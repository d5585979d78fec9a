"""Laws of the guards in ``conftest.py``: each finds its mistake."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import foxapi_async

GUILTY = '''
"""Each test makes one mistake; the last one makes none."""

import asyncio
import logging
import socket
import subprocess
import sys
import time

import pytest

from foxapi_async._transport import Account
from foxapi_async.errors import ConfigError

KEY = "sk-0123456789abcdef"
SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]


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


def test_leaves_a_process():
    globals()["left"] = subprocess.Popen(SLEEPER)


def hear_nothing():
    with subprocess.Popen(SLEEPER, stdout=subprocess.PIPE) as process:
        process.stdout.read()


@pytest.mark.timeout(0.5)
def test_overruns_beside_a_process():
    hear_nothing()


@pytest.mark.timeout(0.5)
async def test_overruns_in_a_thread():
    await asyncio.to_thread(hear_nothing)


async def test_is_innocent():
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", ""], check=True)
    logging.getLogger("foxapi_async").warning("%r", Account.resolve(KEY))
    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.close()
    await writer.wait_closed()
    server.close()
'''
FORGETFUL = '''
"""The first test keeps a socket in a circle, which only the second lets go."""

import socket

kept = []


def test_keeps_a_circle():
    kept.append([socket.socket()])
    kept[0].append(kept[0])


def test_lets_a_circle_go():
    kept.clear()


def test_is_the_last_of_its_file():
    pass
'''


@pytest.mark.timeout(60)
def test_every_guard_barks(checkout: Path, tmp_path: Path) -> None:
    """Each mistake fails the test that made it, and no other test."""
    # uvloop keeps its connections to itself, so only asyncio's loop shows the one left open.
    env = {name: value for name, value in os.environ.items() if name != "FOXAPI_TEST_LOOP"}
    # The package first, because the checkout has one too; conftest imports `tests.postgres`.
    paths = (Path(foxapi_async.__file__).parents[1], checkout)
    env["PYTHONPATH"] = os.pathsep.join(map(str, paths))
    shutil.copy(checkout / "tests/conftest.py", tmp_path)
    (tmp_path / "test_forgetful.py").write_text(FORGETFUL, "utf-8")
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
    outcomes = set(re.findall(r"^(FAILED|ERROR) \S+::test_(\w+)", done.stdout, re.MULTILINE))
    # Whether the task of that test has ended by then is a matter of chance.
    assert outcomes - {("ERROR", "overruns_in_a_thread")} == {
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
        ("ERROR", "leaves_a_process"),
        # Between two tests of a file, the collector sees only what the first one has made.
        ("ERROR", "is_the_last_of_its_file"),
        ("FAILED", "overruns_beside_a_process"),
        ("FAILED", "overruns_in_a_thread"),
    }, done.stdout
    assert "is_innocent" in done.stdout
    # What a guard forbids to tests is not forbidden to the words about a test that overran.
    assert done.stdout.count("Failed: Timeout (>0.5s)") >= 2
