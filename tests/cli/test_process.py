"""Laws of the command as a process: its extra, signals, pipes and terminal."""

import ast
import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from packaging.requirements import Requirement

from foxapi_async import __version__
from foxapi_async.gateway import Gateway

Spawn = Callable[..., subprocess.Popen[str]]
Environment = Callable[[], dict[str, str]]

PUBLIC = {"config", "content", "errors", "gateway", "hooks", "journal", "testing", "types"}

FOXAPI = f"{sys.executable} -P -m foxapi_async"

only_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")


def run_python(code: str, environment: Environment) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter."""
    return subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_a_missing_extra_is_one_line(environment: Environment, missing: str) -> None:
    """Without the ``cli`` extra one line names the extra to install, and the exit code is 2."""
    done = run_python(
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from foxapi_async.__main__ import main\nsys.exit(main())",
        environment,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert "python -m pip install 'foxapi-async[cli]'" in line


@pytest.mark.parametrize("option", ["-V", "--version"])
@pytest.mark.parametrize("missing", ["typer", "nothing"])
def test_the_version_needs_no_extra(environment: Environment, option: str, missing: str) -> None:
    """The version is printed with and without the ``cli`` extra."""
    done = run_python(
        f"import sys; sys.modules[{missing!r}] = None; sys.argv[1:] = [{option!r}]\n"
        "from foxapi_async.__main__ import main\nsys.exit(main())",
        environment,
    )
    assert (done.returncode, done.stdout) == (0, f"foxapi {__version__}\n")


def test_the_extra_of_the_command_is_all_that_it_needs(checkout: Path) -> None:
    """The extra ``cli`` has all that ``serve --data`` and ``journal`` need."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text("utf-8"))["project"]
    [others] = [
        Requirement(text).extras
        for text in project["optional-dependencies"]["cli"]
        if text.startswith("foxapi-async[")
    ]
    assert others == {"gateway", "journal"}


def test_a_command_loads_what_it_needs(environment: Environment) -> None:
    """``foxapi models`` loads no other command, no server and no database."""
    done = run_python(
        "import sys\nfrom foxapi_async.cli.app import run_command_line\n"
        "assert run_command_line(['models', '--offline']) == 0\n"
        "print(*sys.modules, file=sys.stderr)",
        environment,
    )
    loaded = set(done.stderr.split())
    assert "foxapi_async.cli.models" in loaded
    assert not loaded & {
        *("aiohttp.web", "foxapi_async.gateway", "sqlalchemy"),
        *("foxapi_async.cli.demo", "foxapi_async.cli.serve", "foxapi_async.cli.submit"),
    }


def test_the_command_uses_the_public_api(package: Path) -> None:
    """``cli`` and ``_batch`` import only public modules of the package, and ``_batch``."""
    for path in (*(package / "cli").rglob("*.py"), *(package / "_batch").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                first, _, rest = node.module.partition(".")
                names = [rest.partition(".")[0]] if rest else [alias.name for alias in node.names]
                if first == "foxapi_async":
                    private = [name for name in names if name.startswith("_") and name != "_batch"]
                    assert private in ([], ["__version__"]), path
                    assert not rest or names[0] in PUBLIC | {"cli", "_batch"}, path


@only_posix
async def test_ctrl_c_leaves_at_once_with_the_id(serve: Any, spawn: Spawn) -> None:
    """Ctrl-C during a wait ends with 130 and prints the command that waits again."""
    await serve(queue_delay=60)

    def interrupt() -> tuple[int, str, str]:
        with spawn("submit", "gpt-5.5", "hello", "--wait") as process:
            assert process.stderr is not None
            task_id = process.stderr.readline().strip()
            assert process.stdout is not None
            process.send_signal(signal.SIGINT)
            assert process.stdout.read() == ""
            return process.wait(), task_id, process.stderr.read()

    code, task_id, err = await asyncio.to_thread(interrupt)
    assert code == 130
    assert task_id.startswith("task-llm-")
    assert err.splitlines() == [f"the task goes on, get its result by: foxapi wait {task_id}"]


@only_posix
async def test_ctrl_c_in_a_submit_waits_for_the_id(serve: Any, spawn: Spawn) -> None:
    """Ctrl-C during the POST waits for the response, so that the task id is printed."""
    arrived, released = asyncio.Event(), asyncio.Event()

    @web.middleware
    async def hold(request: web.Request, handler: Handler) -> web.StreamResponse:
        arrived.set()
        await released.wait()
        return await handler(request)

    gateway: Gateway = await serve(hold)
    process = await asyncio.to_thread(spawn, "submit", "gpt-5.5", "hello")
    with process:
        assert process.stderr is not None
        assert process.stdout is not None
        await arrived.wait()
        process.send_signal(signal.SIGINT)
        said = await asyncio.to_thread(process.stderr.readline)
        assert said.startswith("waiting for the task id")
        released.set()
        rest = await asyncio.to_thread(process.stderr.read)
        assert re.fullmatch(r"the task goes on, .* foxapi wait task-llm-\S+\n", rest)
        assert await asyncio.to_thread(process.stdout.read) == ""
        assert await asyncio.to_thread(process.wait) == 130
    assert gateway.stats.tasks == 1


@only_posix
async def test_ctrl_c_keeps_the_place_in_a_stream(serve: Any, spawn: Spawn, foxapi: Any) -> None:
    """After Ctrl-C in a stream, the printed command reads exactly the missing text."""
    gateway: Gateway = await serve(token_delay=0.02)

    def interrupt() -> tuple[int, str, list[str]]:
        with spawn("stream", "gpt-5.5", "count 1 to 30", "--text") as process:
            assert process.stdout is not None
            assert process.stderr is not None
            begun = process.stdout.read(6)
            process.send_signal(signal.SIGINT)
            begun += process.stdout.read()
            return process.wait(), begun, process.stderr.read().splitlines()

    code, begun, err = await asyncio.to_thread(interrupt)
    assert code == 130
    command = re.fullmatch(r".* foxapi (stream --task \S+ --resume \S+)", err[-1])
    assert command
    rest = await foxapi(*command[1].split(), "--text")
    whole = ", ".join(map(str, range(1, 31)))
    assert begun.rstrip("\n") + rest.out.rstrip("\n") == whole
    assert gateway.stats.tasks == 1


async def test_a_reader_that_leaves_ends_it_quietly(serve: Any, spawn: Spawn) -> None:
    """``foxapi stream … | head`` writes only the id to stderr, and no traceback."""
    await serve(token_delay=0.005)

    def leave() -> tuple[int, str]:
        with spawn("stream", "gpt-5.5", "count 1 to 300") as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            return process.wait(), process.stderr.read()

    code, err = await asyncio.to_thread(leave)
    assert code == 0
    assert re.fullmatch(r"task-llm-\S+\n", err)


async def test_a_task_id_is_not_lost_if_stdout_is_closed(gateway: Gateway, spawn: Spawn) -> None:
    """A submit with a closed stdout writes the task id to stderr."""

    def close() -> str:
        with spawn("submit", "gpt-5.5", "hello") as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            return process.stderr.read()

    assert re.fullmatch(r"task-llm-\S+\n", await asyncio.to_thread(close))
    assert gateway.stats.tasks == 1


@only_posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_tells_its_address_and_stops(spawn: Spawn, number: signal.Signals) -> None:
    """``serve`` writes the address and the environment first, and a signal ends it with 0."""
    with spawn("serve", "--port", "0") as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
        assert process.stdout.readline() == f"export FOXAPI_BASE_URL={url}\n"
        assert process.stdout.readline() == "export FOXAPI_API_KEY=sk-local\n"
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as connection:
            connection.sendall(
                b"GET /v1/configs/llm_generations_models HTTP/1.1\r\nHost: localhost\r\n"
                b"Authorization: Bearer sk-local\r\nConnection: close\r\n\r\n"
            )
            assert connection.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
        process.send_signal(number)
        assert process.stdout.read() == ""
        assert process.stderr is not None
        assert process.stderr.read() == "Ctrl-C stops it\n"
    assert process.returncode == 0


async def test_serve_on_a_taken_port_says_so(gateway: Gateway, foxapi: Any) -> None:
    """A port that is in use is a usage error with the fix."""
    done = await foxapi("serve", "--port", str(gateway.port))
    assert done.code == 2
    assert "--port 0" in done.err


@pytest.mark.timeout(60)
def test_the_demo_needs_nothing_and_is_quick(spawn: Spawn) -> None:
    """``foxapi demo`` ends with 0 after ten seconds of CPU at most; a pipe gets plain text."""
    before = os.times()
    with spawn("demo") as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    # CPU time, because wall time depends on other programs of the machine.
    after = os.times()
    assert after.children_user + after.children_system < (
        before.children_user + before.children_system + 10
    )
    assert err == ""
    assert "\x1b" not in out
    for text in ("1, 2, 3", "1, 2, 3, 4, 5", "tasks", "wall time", "GETs sent", "median time"):
        assert text in out
    assert re.search(r"tasks +202\n", out)


@only_posix
async def test_a_terminal_gets_words_and_progress(serve: Any, environment: Environment) -> None:
    """On a terminal the answer is text, reasoning is dimmed, and a wait shows its progress."""
    gateway: Gateway = await serve(token_delay=0.01)
    waited = "submit gpt-5.5 'count 1 to 9' --wait"
    followed = "stream kimi-k2.6 'count 1 to 3'"

    def watch() -> str:
        import pty

        master, terminal = pty.openpty()
        with subprocess.Popen(
            ["/bin/sh", "-c", f"{FOXAPI} {waited} && {FOXAPI} {followed}"],
            env=environment() | {"TERM": "xterm-256color", "COLUMNS": "80", "NO_COLOR": ""},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        ) as process:
            os.close(terminal)
            seen = b""
            # At the end of the terminal Linux raises EIO; other systems read nothing.
            with contextlib.suppress(OSError):
                while data := os.read(master, 4096):
                    seen += data
            os.close(master)
        assert process.returncode == 0, seen
        return seen.decode()

    seen = await asyncio.to_thread(watch)
    assert "1, 2, 3, 4, 5, 6, 7, 8, 9" in seen
    assert " % " in seen
    assert "\x1b[2mThe\x1b[0m" in seen
    assert "1, 2, 3\r\n" in re.sub(r"\x1b\[\d*m", "", seen)
    assert "{" not in seen
    assert gateway.stats.tasks == 2


def imported_by(package: Path, name: str) -> set[str]:
    """Return the modules of this package that a module imports, in functions too."""
    path = package.parent.joinpath(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found = {name.rpartition(".")[0]}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found & modules_of(package)


@cache
def modules_of(package: Path) -> set[str]:
    """Return the names of all modules of the package."""
    paths = (path.relative_to(package.parent).with_suffix("") for path in package.rglob("*.py"))
    return {".".join(path.parts).removesuffix(".__init__") for path in paths}


def test_a_frozen_command_has_all_its_modules(package: Path) -> None:
    """Every module can be reached by import statements from the command, as PyInstaller needs."""
    found, left = set[str](), {"foxapi_async.__main__"}
    while left:
        found |= left
        left = set().union(*(imported_by(package, name) for name in left)) - found
    missing = modules_of(package) - found
    # pytest loads the plugin; the process of a local model runs its module as a file.
    apart = {"foxapi_async.testing.plugin", "foxapi_async.gateway.models.local.llama_server"}
    # Programs import these two; the command uses neither.
    libraries = ("foxapi_async.ray", "foxapi_async.sync")
    assert {name for name in missing if not name.startswith(libraries)} <= apart
