"""The programs of the documentation that use Ray run as they stand, against the gateway."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from foxapi_async.testing import BackgroundGateway
from tests.ray.conftest import ENVIRONMENT, KEY

pytestmark = pytest.mark.ray

EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "examples"


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("ray_*.py")), ids=lambda path: path.stem)
def test_every_example_of_ray_runs(
    example: Path, background: BackgroundGateway, tmp_path: Path
) -> None:
    """An example ends well and says something, and each of its rows is billed once."""
    environment = os.environ | ENVIRONMENT | {"FOXAPI_BASE_URL": background.url}
    # It starts a cluster of its own, as that of a reader.
    environment.pop("RAY_ADDRESS", None)
    ended = subprocess.run(
        [sys.executable, str(example)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout
    assert KEY not in ended.stdout + ended.stderr
    assert 2 <= len(background.billed) <= 10
