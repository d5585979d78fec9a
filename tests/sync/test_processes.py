"""Laws of processes: the end of the interpreter, forks, spawned workers, a running loop."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import foxapi_async
from foxapi_async.testing import BackgroundGateway

HEAD = """
import os, sys, threading
from foxapi_async.sync import FoxSession, as_completed

def generate(last=3):
    with FoxSession() as fox:
        return fox.llm.generate(model="gpt-5.5", messages=f"count 1 to {last}").text
"""

Run = Callable[..., tuple[str, str]]


@pytest.fixture
def run(served: BackgroundGateway, tmp_path: Path) -> Run:
    """Return a function that runs a script on the gateway and returns its output and errors."""

    def run(body: str, *options: str, returncode: int = 0) -> tuple[str, str]:
        script = tmp_path / "script.py"
        script.write_text(HEAD + body, "utf-8")
        done = subprocess.run(
            [sys.executable, *options, str(script)],
            env={
                **os.environ,
                "PYTHONPATH": str(Path(foxapi_async.__file__).parents[1]),
                "FOXAPI_API_KEY": served.key,
                "FOXAPI_BASE_URL": served.url,
            },
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert done.returncode == returncode, done.stderr
        return done.stdout.strip(), done.stderr

    return run


def test_an_exit_without_close_is_quiet(run: Run) -> None:
    """The interpreter ends at once and says nothing."""
    out, errors = run("""
fox = FoxSession()
handle = fox.llm.submit(model="gpt-5.5", messages="count 1 to 3", stream=True)
stream = handle.stream()
next(stream)
waiting = fox.llm.submit(model="gpt-5.5", messages="count 1 to 100000")
def wait():
    try:
        waiting.result()
    except Exception:
        pass
threading.Thread(target=wait, daemon=True).start()
print(handle.result().text)
""")
    assert (out, errors) == ("1, 2, 3", "")


def test_an_exit_without_close_warns_if_warnings_are_on(run: Run) -> None:
    """The only line is the ``ResourceWarning`` of the session."""
    _, errors = run("fox = FoxSession()\nfox.models.list()\n", "-W", "default")
    assert "ResourceWarning: unclosed <FoxSession" in errors
    assert errors.count("unclosed <") == 1
    assert "Traceback" not in errors


def test_an_exit_lets_a_post_under_way_finish(run: Run, served: BackgroundGateway) -> None:
    """Its task id is in the log of the process."""
    served.faults.add("submit:slow:seconds=0.05,size=100")
    _, errors = run("""
import logging
logging.basicConfig()
fox = FoxSession()
submit = lambda: fox.llm.submit(model="gpt-5.5", messages="count 1 to 3")
threading.Thread(target=submit, daemon=True).start()
while not (fox.stats().submits_in_flight or fox.stats().tasks):
    pass
""")
    assert len(served.billed) == 1
    assert served.billed[0] in errors or not errors


def test_an_error_at_the_end_of_the_program_is_the_only_noise(run: Run) -> None:
    """A traceback of the program, and nothing after it."""
    _, errors = run("fox = FoxSession()\nfox.models.list()\n1 / 0\n", returncode=1)
    assert errors.strip().endswith("ZeroDivisionError: division by zero")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to a process")
def test_ctrl_c_ends_a_program(run: Run) -> None:
    """The ``with`` block closes the session, and the traceback ends with KeyboardInterrupt."""
    _, errors = run(
        """
import signal
with FoxSession() as fox:
    handle = fox.llm.submit(model="gpt-5.5", messages="count 1 to 100000")
    def interrupt():
        while not fox.stats().waiting:
            pass
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=interrupt, daemon=True).start()
    handle.result()
""",
        returncode=-2,
    )
    assert errors.strip().endswith("KeyboardInterrupt")
    assert errors.count("Traceback") == 1


def test_a_session_works_inside_a_running_loop(run: Run) -> None:
    """As in a cell of a notebook, whose loop waits meanwhile."""
    out, _ = run("""
import asyncio

async def cell():
    return generate()

print(asyncio.run(cell()))
""")
    assert out == "1, 2, 3"


def test_spawned_workers_have_sessions_of_their_own(run: Run) -> None:
    """Handles and completions go to them and back by pickle."""
    out, errors = run(
        """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

def finish(handle):
    with FoxSession() as fox:
        return handle, handle.bind(fox).result()

if __name__ == "__main__":
    with FoxSession() as fox:
        handles = [fox.llm.submit(model="gpt-5.5", messages=f"count 1 to {n}") for n in (2, 3)]
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            for handle, completion in pool.map(finish, handles):
                print(handle.id in {one.id for one in handles}, completion.text)
""",
        *("-W", "error"),
    )
    assert (out, errors) == ("True 1, 2\nTrue 1, 2, 3", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork_opens_a_session_of_its_own(run: Run) -> None:
    """The session of the parent is refused there, closing it does nothing, and a new one works."""
    out, errors = run(
        """
fox = FoxSession()
handle = fox.llm.submit(model="gpt-5.5", messages="count 1 to 4")
child = os.fork()
if child == 0:
    try:
        handle.result()
    except RuntimeError as error:
        print("refused:", error, flush=True)
    fox.close()
    print(generate(2), threading.active_count(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(handle.result().text)
fox.close()
""",
        *("-W", "ignore::DeprecationWarning"),
    )
    refused, child, parent = out.splitlines()
    assert "build one FoxSession in each process" in refused
    assert child.startswith("1, 2 ")
    assert parent == "1, 2, 3, 4"
    assert errors == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_forked_workers_work_while_the_parent_does(run: Run) -> None:
    """A pool of forks beside an open session finishes, and so does the parent."""
    out, _ = run(
        """
from multiprocessing import get_context

if __name__ == "__main__":
    with FoxSession() as fox:
        handle = fox.llm.submit(model="gpt-5.5", messages="count 1 to 4")
        with get_context("fork").Pool(2) as pool:
            print(pool.map(generate, [2, 3]))
        print(handle.result().text)
""",
        *("-W", "ignore::DeprecationWarning"),
    )
    assert out.splitlines() == ["['1, 2', '1, 2, 3']", "1, 2, 3, 4"]
