"""The programs of the documentation run as they stand, against the gateway."""

import asyncio
import os
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from foxapi_async.gateway import Gateway

KEY = "sk-secret-0123456789abcdef"
IS_INSTALLED = any(point.name == "foxapi" for point in entry_points(group="pytest11"))
SCOPE = ("-o", "asyncio_default_fixture_loop_scope=function")
ASYNCIO_MODES = {
    "test_async_strict": ("--asyncio-mode=strict", *SCOPE),
    "test_async_auto": ("--asyncio-mode=auto", *SCOPE),
}
EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"


def command(example: Path) -> tuple[str, ...]:
    """Return how an example is run: tests by pytest, which has the plugin where it is installed."""
    if not example.stem.startswith("test_"):
        return (str(example),)
    plugin = () if IS_INSTALLED else ("-p", "foxapi_async.testing.plugin")
    mode = ASYNCIO_MODES.get(example.stem, ("-p", "no:asyncio"))
    return ("-m", "pytest", "-q", "-c", os.devnull, *mode, *plugin, str(example))


# The servers do not end by themselves: `test_relay_examples` runs them. `nox -s ray` runs Ray's.
PROGRAMS = sorted(
    set(EXAMPLES.glob("*.py"))
    - set(EXAMPLES.glob("streaming_web*.py"))
    - set(EXAMPLES.glob("ray_*.py"))
)


@pytest.mark.parametrize("example", PROGRAMS, ids=lambda path: path.stem)
async def test_every_example_runs(example: Path, tmp_path: Path) -> None:
    """An example ends well and says something, with nothing but its two variables set."""
    async with Gateway() as gateway:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", *command(example)),
            cwd=tmp_path,
            # A bar of progress is no complaint.
            env=os.environ
            | {"FOXAPI_BASE_URL": gateway.url, "FOXAPI_API_KEY": KEY, "TQDM_DISABLE": "1"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, complaints = await process.communicate()
    assert (process.returncode, complaints.decode()) == (0, "")
    assert out
    assert KEY.encode() not in out


@pytest.mark.skipif(sys.platform == "win32", reason="the scripts are for a POSIX shell")
@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.sh")), ids=lambda path: path.stem)
async def test_every_script_runs(example: Path, tmp_path: Path) -> None:
    """A script of commands ends well and writes what it says."""
    tool = tmp_path / "bin" / "foxapi"
    await asyncio.to_thread(_write_tool, tool)
    async with Gateway() as gateway:
        process = await asyncio.create_subprocess_exec(
            *("sh", str(example)),
            cwd=tmp_path,
            env=os.environ
            | {
                "FOXAPI_BASE_URL": gateway.url,
                "FOXAPI_API_KEY": KEY,
                "PATH": f"{tool.parent}{os.pathsep}{os.environ['PATH']}",
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    # Ids of tasks go to stderr, beside errors and advice.
    assert b"foxapi: " not in complaints
    assert out.startswith(b"{")
    assert KEY.encode() not in out


def _write_tool(tool: Path) -> None:
    """Write the command, which is not installed in a checkout."""
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" -W error -m foxapi_async "$@"\n')
    tool.chmod(0o755)
