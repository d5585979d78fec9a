"""The pytest plugin: a FoxAPI of its own for each test that asks for one.

``foxapi_gateway``
    a gateway that is listening, and to which ``FOXAPI_BASE_URL`` and ``FOXAPI_API_KEY`` point, so
    that the code under test finds it: a ``BackgroundGateway``
``foxapi_session``
    a ``FoxSession`` for it, in an ``async def`` test; it is closed when the test ends
``foxapi_clock``
    lets the gateway's time stand still until ``foxapi_clock.advance(seconds)``
``@pytest.mark.foxapi(faults=["submit:503:nth=1"], queue_delay=5)``
    the settings of the gateway; marks of a class or a module count as well, the nearest wins

Nothing is loaded before a test asks for a fixture. It works with pytest-asyncio, in each of its
modes, with anyio, and without either.
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
    """Make the mark known."""
    config.addinivalue_line(
        "markers",
        "foxapi(faults=(), **settings): how the gateway of the fixture foxapi_gateway behaves",
    )


@pytest.fixture
def foxapi_gateway(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator["BackgroundGateway"]:
    """Run a local FoxAPI beside the test, found through FOXAPI_BASE_URL and FOXAPI_API_KEY."""
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
    """Let the gateway's time stand still until ``advance(seconds)``."""
    return foxapi_gateway


@pytest.fixture
def foxapi_session(
    request: pytest.FixtureRequest, foxapi_gateway: "BackgroundGateway"
) -> Iterator["FoxSession"]:
    """Give an asynchronous test a session with the gateway; it is closed when the test ends."""
    test = getattr(request.node, "obj", None)
    if hasattr(test, "hypothesis"):
        pytest.fail(
            "foxapi_session lasts for one call of the test, and @given calls it many times: take "
            "foxapi_gateway and open `async with FoxSession() as fox` in the test",
            pytrace=False,
        )
    if not inspect.iscoroutinefunction(test):
        pytest.fail(
            "foxapi_session is for `async def` tests; take foxapi_gateway and build a FoxSession() "
            "where its loop runs",
            pytrace=False,
        )
    from foxapi_async import FoxSession

    session = FoxSession(foxapi_gateway.key, base_url=foxapi_gateway.url)

    # A session is closed in the loop that it was used in. Plugins differ in whether that loop still
    # runs when fixtures end, so the test itself does it.
    @functools.wraps(test)
    async def close_after(*args: Any, **keywords: Any) -> Any:
        async with session:
            return await test(*args, **keywords)

    request.node.obj = close_after
    yield session
    # The test may be run again, with a session of its own.
    request.node.obj = test


def _settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for mark in request.node.iter_markers("foxapi"):
        if mark.args:
            pytest.fail("@pytest.mark.foxapi takes keywords, as in faults=[...]", pytrace=False)
        settings = dict(mark.kwargs) | settings
    return settings
