"""A gateway on loopback and a session that talks to it."""

from collections.abc import AsyncIterator

import pytest

from foxapi_async import Exponential, FoxSession, PollPolicy
from foxapi_async.gateway import Gateway
from foxapi_async.testing import TCPCutter

KEY = "sk-secret-0123456789abcdef"
QUICK = PollPolicy(pacing=Exponential(first=0.01, factor=1.2, cap=0.05))


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
async def fox(gateway: Gateway) -> AsyncIterator[FoxSession]:
    """Open a session to the gateway."""
    async with FoxSession(KEY, base_url=gateway.url, polling=QUICK) as fox:
        yield fox


@pytest.fixture
async def cut_fox(cutter: TCPCutter) -> AsyncIterator[FoxSession]:
    """Open a session to the gateway through the cutter."""
    async with FoxSession(KEY, base_url=cutter.url, polling=QUICK) as fox:
        yield fox
