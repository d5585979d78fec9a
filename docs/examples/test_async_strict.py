"""An async test under pytest-asyncio in its strict mode, which is its default."""

import pytest

from foxapi_async import FoxSession


@pytest.mark.asyncio
async def test_it_counts(foxapi_session: FoxSession) -> None:
    completion = await foxapi_session.llm.generate(model="gpt-5.5", messages="count 1 to 3")
    assert completion.text == "1, 2, 3"
