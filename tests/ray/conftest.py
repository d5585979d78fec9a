"""One cluster of Ray for all tests that are marked ``ray``."""

import os
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from foxapi_async import Exponential, Limits, PollPolicy
from foxapi_async.testing import BackgroundGateway

KEY = "sk-secret-0123456789abcdef"
# A test may take long: a worker takes seconds to start, and more when the machine is busy.
TIMEOUT = 300
# Each process of the cluster has it in its environment.
MARK = "FOXAPI_TEST_CLUSTER"
ENVIRONMENT = {
    "FOXAPI_API_KEY": KEY,
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    # The memory of other processes is no reason to kill a worker.
    "RAY_memory_monitor_refresh_ms": "0",
    # Ray would let a worker see no GPU, and warns of it.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of the cluster time, and let Ray warn of itself."""
    for item in items:
        if item.get_closest_marker("ray"):
            item.add_marker(pytest.mark.timeout(TIMEOUT))
            # Ray leaves the files and sockets of the cluster that it connects to to the collector.
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning"))


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Run a cluster around all tests: what starts within one test has to end within it."""
    if not any(item.get_closest_marker("ray") for item in session.items):
        return (yield)
    with cluster():
        return (yield)


@contextmanager
def cluster() -> Iterator[None]:
    """Run a cluster with two CPUs, and check that none of its processes is left over."""
    mark = uuid4().hex
    os.environ.update(ENVIRONMENT | {MARK: mark})
    ray: Any = import_module("ray")
    # The paths of its sockets must be short.
    with tempfile.TemporaryDirectory(
        prefix="ray", dir="/tmp", ignore_cleanup_errors=True
    ) as folder:
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=200_000_000,
            _temp_dir=folder,
        )
        try:
            yield
        finally:
            ray.shutdown()
            for name in (*ENVIRONMENT, MARK):
                del os.environ[name]
            left = processes_after(mark, seconds=20)
    assert not left, f"processes left over: {left}"


def processes_after(mark: str, *, seconds: float) -> list[str]:
    """Return the commands of the processes of a cluster that have not ended after ``seconds``."""
    deadline = time.monotonic() + seconds
    while (left := processes_of(mark)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def processes_of(mark: str) -> list[str]:
    """Return the commands of the processes that have the mark of a cluster."""
    found: list[str] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if folder.name != str(os.getpid()) and mark in (folder / "environ").read_text(
                "latin-1"
            ):
                found.append((folder / "cmdline").read_text("latin-1").replace("\0", " "))
        except OSError:
            continue
    return found


@pytest.fixture
def background() -> Iterator[BackgroundGateway]:
    """Run a gateway in a thread, as the tests of the cluster have no loop."""
    with BackgroundGateway(queue_delay=0.05) as gateway:
        yield gateway


Options = Callable[..., dict[str, Any]]


@pytest.fixture
def options(background: BackgroundGateway, tmp_path: Path, fast_polling: PollPolicy) -> Options:
    """Return a function that returns options for the gateway, with a journal."""

    def make(**more: Any) -> dict[str, Any]:
        return {
            "model": "gpt-5.5",
            "prompt": "text",
            "journal": tmp_path / "tasks.db",
            "limits": Limits(polls_per_second=None),
            "session": {"base_url": background.url, "polling": fast_polling},
            **more,
        }

    return make


@pytest.fixture
def api_key(monkeypatch: pytest.MonkeyPatch) -> str:
    """Set the API key of the environment."""
    monkeypatch.setenv("FOXAPI_API_KEY", KEY)
    return KEY


SLOW_POLLING = PollPolicy(pacing=Exponential(initial=0.05, multiplier=1.5, max_delay=0.5))
