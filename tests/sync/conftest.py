"""Blocking sessions on a gateway in a thread of its own."""

from collections.abc import Iterator
from threading import enumerate as threads

import pytest

from foxapi_async import PollPolicy
from foxapi_async.sync import FoxSession
from foxapi_async.testing import BackgroundGateway


@pytest.fixture
def served() -> Iterator[BackgroundGateway]:
    """Run a gateway."""
    with BackgroundGateway() as gateway:
        yield gateway


@pytest.fixture
def fox(served: BackgroundGateway, fast_polling: PollPolicy) -> Iterator[FoxSession]:
    """Open a blocking session to the gateway."""
    with FoxSession(served.key, base_url=served.url, polling=fast_polling) as fox:
        yield fox


@pytest.fixture(autouse=True)
def no_loop_thread_left() -> Iterator[None]:
    """Fail a test after which the thread of the loop still runs."""
    before = set(threads())
    yield
    for thread in set(threads()) - before:
        if thread.name == "foxapi-sync":
            thread.join(5)
            assert not thread.is_alive()
