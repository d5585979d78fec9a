"""The sessions that developers and CI run.

``nox`` runs the sessions of CI, ``nox -s tests -- -k poller`` passes its arguments on to pytest,
``nox -l`` lists the sessions.
"""

import atexit
import os
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from shutil import rmtree, which
from tempfile import mkdtemp

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "layers", "tests", "notebook", "docs", "demo"]
# `matrix` runs on the Pythons that are installed; nox would fail in CI for each that is missing.
nox.options.error_on_missing_interpreters = False

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)


def install_group(session: nox.Session, name: str, *more: str) -> None:
    """Install a dependency group. nox reads it, because pip of Python 3.11 has no ``--group``."""
    session.install(*nox.project.dependency_groups(PROJECT, name), *more)


@cache
def wheels() -> Path:
    """Return the folder of the wheel; all sessions of one run share it."""
    folder = Path(mkdtemp(prefix="foxapi-wheel-"))
    atexit.register(rmtree, folder)
    return folder


def wheel(session: nox.Session, extras: str) -> str:
    """Return the requirement of the wheel with ``extras``. The first call builds the wheel."""
    if not list(wheels().iterdir()):
        session.run(
            *("python", "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--wheel-dir", str(wheels()), str(ROOT)),
        )
    (built,) = wheels().iterdir()
    return f"foxapi-async[{extras}] @ {built.as_uri()}"


def install_local(session: nox.Session, *options: str) -> None:
    """Install the extra ``local`` where it has a wheel. Elsewhere its tests are skipped."""
    session.install(
        *("--only-binary", "xllamacpp", wheel(session, "local"), *options),
        success_codes=[0, 1],
    )


def run_tests(
    session: nox.Session,
    *options: str,
    runner: Sequence[str] = ("pytest",),
    profile: str = "ci",
    tests: Sequence[str] = ("tests",),
) -> None:
    """Run pytest on the installed wheel, from a folder where the checkout cannot be imported."""
    paths = [word for word in session.posargs if (ROOT / word.partition("::")[0]).exists()]
    words = [word for word in session.posargs if word not in paths]
    session.chdir(session.create_tmp())
    session.run(
        *(*runner, "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)),
        # A worker has whole files as long as there are enough of them.
        *("-n2", "--dist", "worksteal"),
        *options,
        *words,
        *(str(ROOT / path) for path in paths or tests),
        env={
            "FOXAPI_TEST_WHEEL": "1",
            "FOXAPI_TEST_PROFILE": profile,
            # Where it is set, each pytest that a test starts compiles all plugins again: 3 s.
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPATH": "",
        },
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Run ruff: rules and format."""
    install_group(session, "lint")
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Run mypy and pyright, and check that the whole public API is typed."""
    # The checkers read sources: compiling some ten thousand files would be for nothing.
    install_group(session, "types", "--no-compile", "-e", ".[all]")
    session.run("mypy")
    session.run("pyright")
    session.run("pyright", "--verifytypes", "foxapi_async", "--ignoreexternal")


@nox.session
def layers(session: nox.Session) -> None:
    """Check with import-linter that imports go strictly down."""
    install_group(session, "layers")
    session.run("lint-imports", "--no-cache")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests on the Python that runs nox."""
    install_group(session, "test", wheel(session, "all"))
    install_local(session)
    run_tests(session)


@nox.session(python=False)
def matrix(session: nox.Session) -> None:
    """Run the tests on every supported Python that this machine has."""
    for version in PYTHONS:
        run_on(session, version, find_python(session, version))


@nox.session(python=False)
def newest(session: nox.Session) -> None:
    """Run the tests on the newest Python that this machine has beside the one that runs nox."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    for version in reversed(PYTHONS):
        python = find_python(session, version) if version != own else None
        if python is not None:
            return run_on(session, version, python)
    return session.skip("this machine has no other supported Python")


def run_on(session: nox.Session, version: str, python: str | None) -> None:
    """Run the session ``tests`` on ``python``; say so where there is none."""
    if python is None:
        session.warn(f"Python {version} is not installed: skipped")
    else:
        session.run(
            *(sys.executable, "-m", "nox", "-s", "tests", "--force-python", python),
            *("--", *session.posargs),
        )


def find_python(session: nox.Session, version: str) -> str | None:
    """Return an interpreter of ``version`` from the PATH or from pyenv.

    Each candidate is run: pyenv puts shims on the PATH for versions that are not active.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [which(f"python{version}"), *sorted(pyenv.glob(f"{version}[.-]*/bin/python"))]
    for candidate in filter(None, candidates):
        code = "import sys; print(*sys.version_info[:2], sep='.'); print(sys.executable)"
        # A shim of a version that is not active fails.
        printed = session.run(
            *(str(candidate), "-c", code), external=True, silent=True, success_codes=range(256)
        )
        found, _, python = str(printed).strip().partition("\n")
        if found == version:
            return python
    return None


@nox.session
def coverage(session: nox.Session) -> None:
    """Measure the branches of the package that the tests run, those in subprocesses included.

    It fails below the floor in pyproject.toml.
    """
    install_group(session, "coverage", wheel(session, "all"))
    install_local(session)
    config = f"--rcfile={ROOT / 'pyproject.toml'}"
    # Measuring makes the tests slower.
    run_tests(session, "--timeout=120", runner=("coverage", "run", config, "-m", "pytest"))
    session.run("coverage", "combine", "--quiet", config)
    session.run("coverage", "report", config)


@nox.session
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest supported version of each dependency."""
    session.install("uv")
    constraints = Path(session.create_tmp()) / "lowest.txt"
    session.run(
        *("uv", "pip", "compile", "--quiet", "--resolution", "lowest-direct"),
        *("--python", sys.executable, "--all-extras", "--output-file", str(constraints)),
        str(ROOT / "pyproject.toml"),
    )
    install_group(session, "test", wheel(session, "all"), "--constraint", str(constraints))
    install_local(session, "--constraint", str(constraints))
    run_tests(session)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a broken link or an unknown name is an error."""
    install_group(session, "docs")
    session.run("mkdocs", "build", "--strict", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Run ``foxapi demo``, the first command of the README."""
    session.install(".[cli]")
    session.run("foxapi", "demo", *session.posargs)


@nox.session
def local(session: nox.Session) -> None:
    """Run the demo and the tests of the default local model; its weights are fetched once."""
    install_group(session, "test", wheel(session, "all,local"))
    session.run("foxapi", "local", "fetch")
    session.run("foxapi", "demo", "--local")
    run_tests(session, "-m", "weights", "--timeout=600")


@nox.session
def canary(session: nox.Session) -> None:
    """Run the tests of HTTP with the newest pre-release of aiohttp, or its newest release."""
    install_group(session, "test", wheel(session, "all"))
    session.install("--pre", "--upgrade", "aiohttp")
    session.run("python", "-c", "import aiohttp; print('aiohttp', aiohttp.__version__)")
    session.chdir(session.create_tmp())
    session.run(
        *("pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), "-n2"),
        # Deprecations do not break anything yet.
        *("-o", "filterwarnings=ignore::DeprecationWarning"),
        *(session.posargs or [str(ROOT / "tests/transport"), str(ROOT / "tests/client")]),
        env={"FOXAPI_TEST_WHEEL": "1", "PYTHONPATH": ""},
    )


@nox.session
def upstream(session: nox.Session) -> None:
    """Run the tests of upstreams, also those with the proxy of LiteLLM, which is installed."""
    install_group(session, "upstream", wheel(session, "all"))
    found = sorted((ROOT / "tests" / "gateway").glob("test_upstream*.py"))
    run_tests(session, tests=[str(path.relative_to(ROOT)) for path in found])


@nox.session
def notebook(session: nox.Session) -> None:
    """Run the notebook of the docs in a kernel, and interrupt its cells."""
    install_group(session, "notebook", wheel(session, "all,notebook"))
    run_tests(session, tests=["tests/notebooks"])


@nox.session
def frameworks(session: nox.Session) -> None:
    """Run the examples of models for agent frameworks, which are installed."""
    install_group(session, "frameworks", wheel(session, "all"))
    run_tests(session, tests=("tests/test_framework_examples.py",))


@nox.session
def ray(session: nox.Session) -> None:
    """Run the tests of Ray Data on one cluster of this machine, and the examples that use it."""
    install_group(session, "ray", wheel(session, "all,ray"))
    # One cluster; `-m ray` would leave out the laws that need none.
    run_tests(session, "-m", "not soak", "-n0", tests=["tests/ray"])


@nox.session
def soak(session: nox.Session) -> None:
    """Run the long tests: many random trials, kills at random instants, hours of virtual time."""
    install_group(session, "test", wheel(session, "all"))
    run_tests(session, "-m", "soak", "--timeout=1800", profile="soak")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Send mutated requests to a gateway for ten minutes; ``-- --seconds 60 --seed 7`` changes it.

    The first line shows the seed. A failure shows the command that sends its request again.
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
    """Run the benchmarks on the wheel: all of them, or those that are named."""
    install_group(session, "bench", wheel(session, "all"))
    # bench_compare needs two wheels: `python benchmarks/bench_compare.py OLD NEW`.
    every = {path.stem for path in (ROOT / "benchmarks").glob("bench_*.py")} - {"bench_compare"}
    names = session.posargs or every
    for name in sorted(names):
        session.run("python", str(ROOT / "benchmarks" / f"{name}.py"))
