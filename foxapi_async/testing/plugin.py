"""The pytest plugin: a local FoxAPI for each test that uses one of its fixtures.

``foxapi_gateway``
    a running ``BackgroundGateway``; ``FOXAPI_BASE_URL`` and ``FOXAPI_API_KEY`` are set to it, so
    that the code under test uses it
``foxapi_session``
    a ``FoxSession`` for the gateway, in an ``async def`` test; it is closed when the test ends
``foxapi_clock``
    stops the time of the gateway; ``foxapi_clock.advance(seconds)`` advances it
``@pytest.mark.foxapi(faults=["submit:503:nth=1"], queue_delay=5)``
    the settings of the gateway; marks of the class and the module apply too, the nearest first

The fixtures import what they need at their first use. The plugin works with pytest-asyncio in any
mode, with anyio, and without either.
"""

import functools
import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from foxapi_async import FoxSession
    from foxapi_async.testing.background import BackgroundGateway

__all__ = ["foxapi_clock", "foxapi_gateway", "foxapi_session"]


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark."""
    config.addinivalue_line(
        "markers",
        "foxapi(faults=(), **settings): the settings of the fixture foxapi_gateway",
    )


@pytest.fixture
def foxapi_gateway(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator["BackgroundGateway"]:
    """Run a local FoxAPI, and set FOXAPI_BASE_URL and FOXAPI_API_KEY to it."""
    settings = _settings(request)
    from foxapi_async.testing import BackgroundGateway, ManualClock

    if "foxapi_clock" in request.fixturenames:
        settings.setdefault("clock", ManualClock())
    with BackgroundGateway(**settings) as gateway:
        monkeypatch.setenv("FOXAPI_BASE_URL", gateway.url)
        monkeypatch.setenv("FOXAPI_API_KEY", gateway.key)
        yield gateway


@pytest.fixture
def foxapi_clock(foxapi_gateway: "BackgroundGateway") -> "BackgroundGateway":
    """Stop the time of the gateway; ``advance(seconds)`` advances it."""
    return foxapi_gateway


@pytest.fixture
def foxapi_session(
    request: pytest.FixtureRequest, foxapi_gateway: "BackgroundGateway"
) -> Iterator["FoxSession"]:
    """Open a session for the gateway; it is closed when the test ends."""
    test = getattr(request.node, "obj", None)
    if hasattr(test, "hypothesis"):
        pytest.fail(
            "foxapi_session is for one call of the test, and @given calls it many times: use "
            "foxapi_gateway and open `async with FoxSession() as fox` in the test",
            pytrace=False,
        )
    if not inspect.iscoroutinefunction(test):
        pytest.fail(
            "foxapi_session is for `async def` tests; use foxapi_gateway and build a FoxSession() "
            "in the loop of the code under test",
            pytrace=False,
        )
    from foxapi_async import FoxSession

    session = FoxSession(foxapi_gateway.key, base_url=foxapi_gateway.url)

    # A session must be closed in its loop. Depending on the plugin, that loop has already stopped
    # when the fixture ends, so the test itself closes the session.
    @functools.wraps(test)
    async def close_after(*args: Any, **keywords: Any) -> Any:
        async with session:
            return await test(*args, **keywords)

    request.node.obj = close_after
    yield session
    # The test may run again with another session.
    request.node.obj = test


def _settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for mark in request.node.iter_markers("foxapi"):
        if mark.args:
            pytest.fail("@pytest.mark.foxapi takes keywords, as in faults=[...]", pytrace=False)
        settings = dict(mark.kwargs) | settings
    return settings
