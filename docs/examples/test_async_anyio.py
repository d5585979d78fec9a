"""An async test under anyio's pytest plugin, on asyncio."""

import pytest

from foxapi_async import FoxSession

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_it_counts(foxapi_session: FoxSession) -> None:
    completion = await foxapi_session.llm.generate(model="gpt-5.5", messages="count 1 to 3")
    assert completion.text == "1, 2, 3"
