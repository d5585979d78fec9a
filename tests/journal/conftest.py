"""A gateway, a journal on disk, and sessions that share them."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from foxapi_async import Exponential, FoxSession, PollPolicy
from foxapi_async.gateway import Gateway
from foxapi_async.testing import TCPCutter

KEY = "sk-secret-0123456789abcdef"
QUICK = PollPolicy(pacing=Exponential(first=0.01, factor=1.2, cap=0.05))

Open = Callable[..., FoxSession]


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    """Run the service's stand-in."""
    async with Gateway() as gateway:
        yield gateway


@pytest.fixture
async def cutter(gateway: Gateway) -> AsyncIterator[TCPCutter]:
    """Put a line that can be cut before the gateway."""
    async with TCPCutter(gateway.url) as cutter:
        yield cutter


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return where the journal is."""
    return tmp_path / "tâches 任务.db"


@pytest.fixture
def open_fox(gateway: Gateway, file: Path) -> Open:
    """Return what opens a session with the journal; other options as it takes them."""

    def make(**options: object) -> FoxSession:
        settings: dict[str, object] = {"base_url": gateway.url, "journal": file, "polling": QUICK}
        settings["api_key"] = KEY
        return FoxSession(**(settings | options))  # type: ignore[arg-type]

    return make
