"""Laws of importing, in a new interpreter: which modules are loaded."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import foxapi_async

TERMINAL_AND_DATABASE = {"rich", "sqlalchemy", "typer"}
SHARES = 2


def run(code: str, *arguments: str) -> str:
    """Run code in a new interpreter with warnings as errors; return its output."""
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(foxapi_async.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(statement: str) -> set[str]:
    """Return the names of all modules that a statement loads."""
    modules: list[str] = json.loads(
        run(f"import json, sys\n{statement}\nprint(json.dumps(list(sys.modules)))")
    )
    return set(modules)


def test_the_session_loads_no_server_terminal_or_database() -> None:
    """``from foxapi_async import FoxSession`` loads no terminal, no database and no server."""
    loaded = loaded_by("from foxapi_async import FoxSession")
    assert not loaded & (TERMINAL_AND_DATABASE | {"aiohttp.web", "foxapi_async.gateway"})


@pytest.mark.parametrize(
    "door",
    ["", ".config", ".errors", ".hooks", ".testing", ".types"],
    ids=lambda door: door or "package",
)
def test_a_door_opens_without_aiohttp(door: str) -> None:
    """A public module without I/O does not load aiohttp."""
    assert "aiohttp" not in loaded_by(f"import foxapi_async{door}")


@pytest.mark.parametrize("share", range(SHARES))
def test_every_module_can_be_imported_first(package: Path, share: int) -> None:
    """Every module can be imported first, without a warning."""
    names = [
        ".".join(("foxapi_async", *path.relative_to(package).with_suffix("").parts))
        for path in sorted(package.rglob("*.py"))
    ]
    assert len(names) > 20 * SHARES
    # Forgetting our own modules between two imports is what a new interpreter for each would do,
    # without importing aiohttp a hundred times.
    code = """
import importlib, sys, traceback
failed = 0
for name in sys.argv[1:]:
    for known in [known for known in sys.modules if known.partition(".")[0] == "foxapi_async"]:
        del sys.modules[known]
    try:
        importlib.import_module(name)
    except BaseException:
        failed = 1
        traceback.print_exc()
sys.exit(failed)
"""
    run(code, *(name.removesuffix(".__init__") for name in names[share::SHARES]))
