"""Laws of commands whose stdin, stdout or stderr is closed or full."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from foxapi_async.gateway import Gateway

Environment = Callable[[], dict[str, str]]

pytestmark = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="the system has no device that is always full"
)


def shell(command: str, environment: Environment) -> subprocess.CompletedProcess[str]:
    """Run ``foxapi`` with the redirections of ``command``."""
    return subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -P -m foxapi_async {command}"],
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    [
        "models --offline --json >&-",
        "models --offline --text >&-",
        "models --offline --json >/dev/full",
        "models --offline --text >/dev/full",
        "--help >/dev/full",
        "--version >/dev/full",
        "serve --port 0 >/dev/full",
        "demo >/dev/full",
        "stream gpt-5.5 hello >&-",
    ],
)
def test_a_stdout_that_cannot_be_written_is_74(environment: Environment, command: str) -> None:
    """If stdout cannot be written, one line on stderr gives the reason and the exit code is 74."""
    done = shell(command, environment)
    assert done.returncode == 74, done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("foxapi: stdout cannot be written: ")


@pytest.mark.parametrize(
    ("command", "records"), [("submit", "--json"), ("submit", "--text"), ("stream", "--text")]
)
async def test_an_unwritable_result_leaves_a_command_on_stderr(
    gateway: Gateway, environment: Environment, command: str, records: str
) -> None:
    """If a billed result cannot be written, stderr has the command that gets it."""
    words = f"{command} gpt-5.5 'count 1 to 3' {records} >/dev/full"
    done = await asyncio.to_thread(shell, words, environment)
    assert done.returncode == 74
    assert re.search(r"get its result by: foxapi \w+ (--task )?task-llm-\S+", done.stderr)
    assert gateway.stats.tasks == 1


async def test_a_closed_stdout_submits_nothing(gateway: Gateway, environment: Environment) -> None:
    """With a closed stdout nothing is submitted."""
    done = await asyncio.to_thread(shell, "submit gpt-5.5 hello >&-", environment)
    assert done.returncode == 74
    assert gateway.stats.submits == 0


def test_a_closed_stdin_is_no_prompt(environment: Environment) -> None:
    """A closed stdin is a usage error when the prompt has to come from it."""
    done = shell("submit gpt-5.5 <&-", environment)
    assert done.returncode == 2
    assert "stdin is closed" in done.stderr


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full"])
async def test_an_unwritable_stderr_changes_nothing(
    gateway: Gateway, environment: Environment, stderr: str
) -> None:
    """A closed or full stderr changes neither stdout nor the exit code."""
    words = f"submit gpt-5.5 'count 1 to 3' --wait --text {stderr}"
    done = await asyncio.to_thread(shell, words, environment)
    assert (done.returncode, done.stdout) == (0, "1, 2, 3\n")
    failed = await asyncio.to_thread(shell, f"submit gpt-6 hello {stderr}", environment)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert gateway.stats.tasks == 1


def test_a_file_that_is_opened_is_not_taken_for_a_stream(
    environment: Environment, tmp_path: Path
) -> None:
    """With all standard streams closed, no output goes into a file that the command opens."""
    journal = tmp_path / "tasks.db"
    done = shell(f"journal list {journal} <&- >&- 2>&-", environment)
    assert done.returncode == 74
    assert not journal.exists()


async def test_a_strange_width_does_not_hide_a_paid_answer(
    gateway: Gateway, environment: Environment
) -> None:
    """``COLUMNS=0``, which some shells set, means that the width is unknown."""
    done = await asyncio.to_thread(
        shell,
        "stream gpt-5.5 'count 1 to 3' --text",
        lambda: environment() | {"COLUMNS": "0", "LINES": "0"},
    )
    assert (done.returncode, done.stdout) == (0, "1, 2, 3\n")
    assert gateway.stats.tasks == 1
