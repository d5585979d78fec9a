"""The only way in: laptops and CI run the same sessions.

``nox`` runs the CI set, ``nox -s tests -- -k poller`` hands its arguments on to pytest, ``nox -l``
lists the sessions.
"""

import atexit
import os
import sys
from functools import cache
from pathlib import Path
from shutil import rmtree, which
from tempfile import mkdtemp

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "layers", "tests", "docs", "demo"]
# A laptop with one Python runs that one; `nox` itself would call the others missing and fail in CI.
nox.options.error_on_missing_interpreters = False

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)


def install_group(session: nox.Session, name: str, *more: str) -> None:
    """Install a dependency group. nox reads it, because the pip of Python 3.11 cannot."""
    session.install(*nox.project.dependency_groups(PROJECT, name), *more)


@cache
def wheels() -> Path:
    """Return the folder of this run's one wheel."""
    folder = Path(mkdtemp(prefix="foxapi-wheel-"))
    atexit.register(rmtree, folder)
    return folder


def wheel(session: nox.Session, extras: str) -> str:
    """Return the requirement of the one wheel that every session tests, built at the first call."""
    if not list(wheels().iterdir()):
        session.run(
            *("python", "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--wheel-dir", str(wheels()), str(ROOT)),
        )
    (built,) = wheels().iterdir()
    return f"foxapi-async[{extras}] @ {built.as_uri()}"


def run_tests(session: nox.Session, *options: str, profile: str = "ci") -> None:
    """Run pytest on the installed wheel, from a folder where the checkout cannot be imported."""
    install_group(session, "test", wheel(session, "all"))
    paths = [word for word in session.posargs if (ROOT / word.partition("::")[0]).exists()]
    words = [word for word in session.posargs if word not in paths]
    session.chdir(session.create_tmp())
    session.run(
        *("pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), "-n2"),
        *options,
        *words,
        *(str(ROOT / path) for path in paths or ["tests"]),
        env={"FOXAPI_TEST_WHEEL": "1", "FOXAPI_TEST_PROFILE": profile, "PYTHONPATH": ""},
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Run ruff: its rules and its format."""
    install_group(session, "lint")
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Run mypy and pyright, and hold the public surface at 100 % typed."""
    install_group(session, "types", "-e", ".[all]")
    session.run("mypy")
    session.run("pyright")
    session.run("pyright", "--verifytypes", "foxapi_async", "--ignoreexternal")


@nox.session
def layers(session: nox.Session) -> None:
    """Hold the imports to the house's layers."""
    install_group(session, "layers")
    session.run("lint-imports", "--no-cache")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests on the Python that runs nox."""
    run_tests(session)


@nox.session(python=PYTHONS)
def matrix(session: nox.Session) -> None:
    """Run the tests on every supported Python that this machine has."""
    run_tests(session)


@nox.session(python=False)
def newest(session: nox.Session) -> None:
    """Run the tests on the newest Python that this machine has beside the one that runs nox."""
    other = newest_other_python(session)
    if other is None:
        session.skip("this machine has no other supported Python")
    session.run("nox", "-s", "tests", "--force-python", other, "--", *session.posargs)


def newest_other_python(session: nox.Session) -> str | None:
    """Find it on the PATH or under pyenv, whose shims stand there also for what they do not run."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    tell = "import sys; print(*sys.version_info[:2], sep='.')"
    for version in reversed(PYTHONS):
        found = [
            which(f"python{version}"),
            *sorted(map(str, pyenv.glob(f"{version}.*/bin/python"))),
        ]
        for python in filter(None, found if version != own else ()):
            told = session.run(
                *(python, "-c", tell), external=True, silent=True, success_codes=range(256)
            )
            if str(told).strip() == version:
                return python
    return None


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a broken link or an unknown name fails it."""
    install_group(session, "docs")
    session.run("mkdocs", "build", "--strict", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Run what the README promises first."""
    session.install(".[cli]")
    session.run("foxapi", "demo", *session.posargs)


@nox.session
def canary(session: nox.Session) -> None:
    """Run the tests of HTTP on aiohttp's newest pre-release: what breaks there breaks soon.

    Without a pre-release on PyPI, `pip install --pre` finds the newest release.
    """
    install_group(session, "test", wheel(session, "all"))
    session.install("--pre", "--upgrade", "aiohttp")
    session.run("python", "-c", "import aiohttp; print('aiohttp', aiohttp.__version__)")
    session.chdir(session.create_tmp())
    session.run(
        *("pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), "-n2"),
        # What is only deprecated there is no news.
        *("-o", "filterwarnings=ignore::DeprecationWarning"),
        *(session.posargs or [str(ROOT / "tests/transport"), str(ROOT / "tests/client")]),
        env={"FOXAPI_TEST_WHEEL": "1", "PYTHONPATH": ""},
    )


@nox.session
def soak(session: nox.Session) -> None:
    """Run the long tests: many random trials, kills at random instants, hours of virtual time."""
    run_tests(session, "-m", "soak", "--timeout=1800", profile="soak")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Send mutated requests to a gateway for ten minutes; ``-- --seconds 60 --seed 7`` changes it.

    The seed is printed first, and a failure tells how to send its request again.
    """
    session.install(wheel(session, "gateway"))
    session.chdir(session.create_tmp())
    session.run(
        *("python", str(ROOT / "tests" / "gateway" / "fuzzing.py"), "--seconds", "600"),
        *session.posargs,
        env={"PYTHONPATH": ""},
    )


@nox.session
def bench(session: nox.Session) -> None:
    """Answer the questions of ``benchmarks/`` anew, on the wheel: all of them, or those named."""
    install_group(session, "bench", wheel(session, "all"))
    # Two wheels are compared by hand: `python benchmarks/bench_compare.py OLD NEW`.
    every = {path.stem for path in (ROOT / "benchmarks").glob("bench_*.py")} - {"bench_compare"}
    names = session.posargs or every
    for name in sorted(names):
        session.run("python", str(ROOT / "benchmarks" / f"{name}.py"))
