"""The recipe for Daft runs as it stands, without a cluster, where Daft is installed."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from foxapi_async.testing import BackgroundGateway
from tests.ray.conftest import KEY

EXAMPLE = (
    Path(__file__).parent.parent.parent / "docs" / "examples" / "frameworks" / "daft_column.py"
)


def test_a_column_of_a_data_frame_is_answered_once(
    background: BackgroundGateway, tmp_path: Path
) -> None:
    """Each row has its answer, and a second run finds all of them in the journal."""
    if find_spec("daft") is None:
        pytest.skip("daft is not installed")
    for _ in range(2):
        ended = subprocess.run(
            [sys.executable, str(EXAMPLE)],
            cwd=tmp_path,
            env=os.environ | {"FOXAPI_API_KEY": KEY, "FOXAPI_BASE_URL": background.url},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.splitlines() == [
            f"row-{last} {', '.join(str(number) for number in range(1, last + 1))}"
            for last in range(2, 8)
        ]
        assert KEY not in ended.stdout + ended.stderr
        assert len(background.billed) == 6
