"""The programs of the documentation run as they stand, against the gateway."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from foxapi_async.gateway import Gateway

KEY = "sk-secret-0123456789abcdef"
EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
async def test_every_example_runs(example: Path, tmp_path: Path) -> None:
    """An example ends well and says something, with nothing but its two variables set."""
    async with Gateway() as gateway:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", str(example)),
            cwd=tmp_path,
            env=os.environ | {"FOXAPI_BASE_URL": gateway.url, "FOXAPI_API_KEY": KEY},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, complaints = await process.communicate()
    assert (process.returncode, complaints.decode()) == (0, "")
    assert out
    assert KEY.encode() not in out
