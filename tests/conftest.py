"""Loop hygiene for every test: what blocks, leaks or fails behind the scenes fails the test.

And the gateway that most of them talk to.
"""

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import settings

import foxapi_async
from foxapi_async import Exponential, PollPolicy
from foxapi_async._transport import Account
from foxapi_async.errors import FoxAPIError
from foxapi_async.gateway import Gateway
from foxapi_async.testing import FaultProxy
from tests.postgres import postgres_schema, postgres_server

PACKAGE = Path(foxapi_async.__file__).parent

settings.register_profile("ci", deadline=None, max_examples=100, print_blob=True)
settings.register_profile("soak", settings.get_profile("ci"), max_examples=2000)
settings.load_profile(os.environ.get("FOXAPI_TEST_PROFILE", "ci"))


def pytest_configure() -> None:
    """Refuse to test the checkout in place of the wheel, and forget the developer's own key."""
    if os.environ.get("FOXAPI_TEST_WHEEL") == "1" and "site-packages" not in PACKAGE.parts:
        raise pytest.UsageError(f"the wheel was to be tested, but foxapi_async is {PACKAGE}")
    for name in ("FOXAPI_API_KEY", "FOXAPI_BASE_URL", "FOXAPI_ALLOW_HTTP", "FOXAPI_FORBID_NETWORK"):
        os.environ.pop(name, None)


if os.environ.get("FOXAPI_TEST_LOOP") == "uvloop":
    import uvloop

    def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
        """Run every asynchronous test on uvloop."""
        return {"uvloop": uvloop.new_event_loop}


class LoopComplaints(logging.Handler):
    """Collects what the default exception handler of any loop logs."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the whole text, traceback included."""
        self.texts.append(self.format(record))


COMPLAINTS = pytest.StashKey[LoopComplaints]()
PROCESSES = pytest.StashKey[list[subprocess.Popen[Any]]]()


@contextmanager
def processes_noted() -> Generator[list[subprocess.Popen[Any]], None, None]:
    """Note every process that is started; one whose ``with`` ends by an error is killed.

    ``Popen`` would wait for it instead, and it may wait for a test that has gone. asyncio and
    ``subprocess.run`` start theirs by ``Popen`` too.
    """
    started: list[subprocess.Popen[Any]] = []
    start, leave = subprocess.Popen.__init__, subprocess.Popen.__exit__

    def start_noted(self: subprocess.Popen[Any], *words: Any, **options: Any) -> None:
        start(self, *words, **options)
        started.append(self)

    def leave_quickly(self: subprocess.Popen[Any], kind: Any, *error: Any) -> None:
        if kind is not None:
            self.kill()
        leave(self, kind, *error)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", start_noted)
        patch.setattr(subprocess.Popen, "__exit__", leave_quickly)
        yield started


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Kill what a failed test has started, because its fixtures, or its loop, would wait for it."""
    try:
        return (yield)
    except BaseException:
        for process in item.stash[PROCESSES]:
            process.kill()
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Listen to the loops and note processes from before the first fixture until after the last."""
    # What exists before the test is set aside: collecting after it, and the search for transports,
    # take a millisecond then, not fifty.
    gc.freeze()
    item.stash[COMPLAINTS] = complaints = LoopComplaints()
    # The loop's own handler is a property of one loop; its logger hears every loop that a test
    # starts, those of `asyncio.run` included.
    logger = logging.getLogger("asyncio")
    logger.addHandler(complaints)
    try:
        with processes_noted() as item.stash[PROCESSES]:
            return (yield)
    finally:
        logger.removeHandler(complaints)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Blame the test that leaked, not one that happens to run when the collector does."""
    yield
    if nextitem is None or nextitem.path != item.path:
        # Circles that outlived their own test are found with the last one of the file.
        gc.unfreeze()
    # `__del__` cannot raise: a ResourceWarning that the filters turned into an error, and a task
    # whose exception was never retrieved, end in these two hooks. The loop of the test is closed.
    unraisable: list[str] = []

    def keep(report: "sys.UnraisableHookArgs") -> None:
        unraisable.append(f"{report.err_msg or 'ignored'}: {report.exc_value!r}")

    previous, sys.unraisablehook = sys.unraisablehook, keep
    try:
        gc.collect()
    finally:
        sys.unraisablehook = previous
    running = [process for process in item.stash[PROCESSES] if process.poll() is None]
    for process in running:
        process.kill()
        process.wait()
    found = unraisable + item.stash[COMPLAINTS].texts + [f"{process!r}" for process in running]
    if found:
        pytest.fail("left behind:\n" + "\n".join(found), pytrace=False)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what takes a ``database`` on each kind that there is."""
    if "database" in metafunc.fixturenames:
        is_file = metafunc.definition.get_closest_marker("sqlite_only") is not None
        kinds = ["sqlite"] if is_file else ["sqlite", "postgres"]
        metafunc.parametrize("database", kinds, indirect=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Run a PostgreSQL server for all tests of this process."""
    with postgres_server() as url:
        yield url


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Return the URL of an empty schema, or ``None`` where the database is to be a file."""
    if request.param == "sqlite":
        yield None
        return
    with postgres_schema(request.getfixturevalue("postgres")) as url:
        yield url


class Texts(logging.Handler):
    """Everything that one test logged and raised, and every API key that it used."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: set[str] = set()
        self.logged: list[str] = []
        self.raised: list[tuple[BaseException, dict[str, object]]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the whole text, traceback included."""
        self.logged.append(self.format(record))

    def leaks(self, *printed: str) -> list[str]:
        """Return the texts that show a key. A short one could be part of any word."""
        raised = [f"{error!s} {error!r} {held!r}" for error, held in self.raised]
        keys = [key for key in self.keys if len(key) >= LONG_KEY]
        texts = (*self.logged, *raised, *printed)
        return [text for text in texts if any(key in text for key in keys)]


LONG_KEY = 12


@pytest.fixture(autouse=True)
def no_leaked_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[None]:
    """Fail a test after which a key that it used can be read in a log, an error or the output."""
    texts = Texts()
    build_account, build_error = Account.__init__, FoxAPIError.__init__

    def account(self: Account, api_key: str, base_url: str, *, allow_http: bool) -> None:
        build_account(self, api_key, base_url, allow_http=allow_http)
        texts.keys.add(api_key)

    def error(self: FoxAPIError, message: str = "") -> None:
        build_error(self, message)
        texts.raised.append((self, vars(self)))

    monkeypatch.setattr(Account, "__init__", account)
    monkeypatch.setattr(FoxAPIError, "__init__", error)
    logger = logging.getLogger("foxapi_async")
    logger.addHandler(texts)
    try:
        yield
    finally:
        logger.removeHandler(texts)
    printed = capsys.readouterr()
    sys.stdout.write(printed.out)  # pytest shows it should the test fail
    sys.stderr.write(printed.err)
    leaks = texts.leaks(printed.out, printed.err)
    texts.raised.clear()
    if leaks:
        pytest.fail("an API key can be read in:\n" + "\n".join(leaks), pytrace=False)


@pytest.fixture(autouse=True)
def no_blocking() -> Iterator[None]:
    """Raise ``BlockingError`` where a call would stop the running loop."""
    # It already allows what cannot be avoided: imports, and reading sources to format a traceback.
    with blockbuster_ctx() as forbidden:
        # The timeout of a test is raised inside its loop.
        for function in forbidden.functions.values():
            function.can_block_in("pytest_timeout.py", "timeout_sigalrm")
        yield


@pytest.fixture(autouse=True)
def loop_left_clean(request: pytest.FixtureRequest) -> None:
    """Check the loop of an asynchronous test; a synchronous one has none to check."""
    if request.node.get_closest_marker("asyncio"):
        request.getfixturevalue("clean_loop")


@pytest.fixture
async def clean_loop() -> AsyncIterator[None]:
    """Fail a test that leaves a task running or a connection open in its loop."""
    before = open_transports()
    yield
    # Closing takes the loop a few turns: cancel, finish, `connection_lost`, the peer's end of file.
    # A turn is no wait.
    for _ in range(5):
        await asyncio.sleep(0)
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    transports = open_transports() - before
    assert not tasks, f"tasks still running: {tasks}"
    assert not transports, f"connections still open: {transports}"


def open_transports() -> set[asyncio.BaseTransport]:
    """Find what still holds a connection: a socket that the selector watches is never collected."""
    return {
        candidate
        for candidate in gc.get_objects()
        # `type()` and not `isinstance`, which would run the `__class__` of lazy proxies.
        if issubclass(type(candidate), asyncio.BaseTransport) and not candidate.is_closing()
    }


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    """Run the service's stand-in."""
    async with Gateway() as gateway:
        yield gateway


@pytest.fixture
async def fault_proxy(gateway: Gateway) -> AsyncIterator[FaultProxy]:
    """Put a line that can be cut before the gateway."""
    async with FaultProxy(gateway.url) as fault_proxy:
        yield fault_proxy


@pytest.fixture
def fast_polling() -> PollPolicy:
    """Look often: a test has no time."""
    return PollPolicy(pacing=Exponential(initial=0.01, multiplier=1.2, max_delay=0.05))


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Restore SIGINT for what the tests start.

    A shell without job control starts background jobs with SIGINT ignored, and their processes
    inherit it. Without this fixture, such a test run would wait forever.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def package() -> Path:
    """Return where the package under test lives: site-packages in CI."""
    return PACKAGE


@pytest.fixture(scope="session")
def checkout(pytestconfig: pytest.Config) -> Path:
    """Return where the documentation, the benchmarks and the changelog live."""
    return pytestconfig.rootpath


@pytest.fixture(scope="session")
def random_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small GGUF file with random weights; skip where llama.cpp is not installed."""
    if find_spec("xllamacpp") is None:
        pytest.skip("the extra `local` is not installed")
    pytest.importorskip("gguf", reason="the package `gguf` is not installed")
    # It is loaded in processes of its own only, and its wheel needs a library of the system.
    loaded = subprocess.run(
        [sys.executable, "-c", "import xllamacpp"], capture_output=True, text=True, check=False
    )
    if loaded.returncode:
        pytest.skip(f"llama.cpp cannot be loaded: {loaded.stderr.splitlines()[-1]}")
    from tests.gateway.random_llama import write_random_llama

    path = tmp_path_factory.mktemp("models") / "random-llama.gguf"
    write_random_llama(path)
    return path
