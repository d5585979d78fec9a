"""The examples of models for agent frameworks give the answer that ``parse`` gives."""

import asyncio
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pydantic
import pytest

from foxapi_async import FoxSession
from foxapi_async.gateway import Gateway

KEY = "sk-secret-0123456789abcdef"
FRAMEWORKS = {"pydantic_ai_model": "pydantic_ai", "langchain_model": "langchain_core"}


class City(pydantic.BaseModel):
    """A city."""

    name: str
    population: int


@pytest.mark.parametrize("example", FRAMEWORKS)
async def test_a_framework_gives_the_same_answer(
    checkout: Path, tmp_path: Path, gateway: Gateway, example: str
) -> None:
    """A framework returns what ``parse`` returns, by one generation."""
    if find_spec(FRAMEWORKS[example]) is None:
        pytest.skip(f"{FRAMEWORKS[example]} is not installed")
    async with FoxSession(KEY, base_url=gateway.url) as fox:
        city = await fox.llm.parse(
            City, model="gpt-5.5", messages="The largest city of France?", timeout=30
        )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(checkout / "docs" / "examples" / "frameworks" / f"{example}.py")),
        cwd=tmp_path,
        env=os.environ | {"FOXAPI_BASE_URL": gateway.url, "FOXAPI_API_KEY": KEY},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, complaints = await process.communicate()
    assert (process.returncode, complaints.decode()) == (0, "")
    assert out.decode().strip() == str(city)
    assert len(gateway.requests) == 2
