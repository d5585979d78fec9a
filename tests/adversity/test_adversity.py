"""The table of the docs is what happens, and what happens bills nobody twice."""

import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

BILLED = ("llm.submit", "llm.generate", "llm.stream")
UNBILLED = ("await handle", "handle.stream", "tasks.get", "models.list")
# Where the service refuses what it has accepted, nobody can tell; it is still billed once.
LIES = ("429 after acceptance",)


@pytest.fixture(scope="module")
def table() -> Iterator[ModuleType]:
    """Load the script beside this file; tests are no package."""
    spec = spec_from_file_location("adversity_table", Path(__file__).with_name("table.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["adversity_table"] = module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["adversity_table"]


@pytest.fixture
def committed(table: ModuleType) -> dict[str, str]:
    """Return what the docs say of each operation."""
    parts = table.PAGE.read_text("utf-8").split("### ")[1:]
    return {part.split("\n", 1)[0]: f"### {part}".rstrip("\n") for part in parts}


def test_every_operation_is_in_the_table(table: ModuleType, committed: dict[str, str]) -> None:
    """The operations of the table are those that are proved below, in the docs as in the run."""
    assert tuple(committed) == (*BILLED, *UNBILLED)
    assert tuple(table.OPERATIONS) == (*BILLED, *UNBILLED)
    assert [name for name, item in table.OPERATIONS.items() if item.billed] == list(BILLED)


@pytest.mark.parametrize("operation", BILLED)
async def test_a_billed_operation_pays_at_most_once(
    table: ModuleType, committed: dict[str, str], operation: str
) -> None:
    """Under no fault are there two tasks, or a POST after one that may have been accepted."""
    rows = await table.rows(table.OPERATIONS[operation])
    for row in rows:
        for seen in (row.once, row.always):
            assert seen.tasks <= 1, row
            assert seen.posts <= 1, row
            if seen.tasks == 1 and row.fault not in LIES:
                assert "Error" not in seen.caller or "SubmitOutcomeUnknownError" in seen.caller, row
            if "SubmitOutcomeUnknownError" in seen.caller:
                assert seen.posts == 1, row
    assert table.page({operation: rows}).rstrip("\n") == committed[operation], (
        "run `python tests/adversity/table.py`"
    )


@pytest.mark.parametrize("operation", UNBILLED)
async def test_an_unbilled_operation_posts_nothing(
    table: ModuleType, committed: dict[str, str], operation: str
) -> None:
    """No read, poll or stream makes a POST, and one that ends well has the right text."""
    rows = await table.rows(table.OPERATIONS[operation])
    for row in rows:
        for seen in (row.once, row.always):
            assert (seen.posts, seen.tasks) == (0, 0), row
            assert "wrong" not in seen.caller, row
    assert table.page({operation: rows}).rstrip("\n") == committed[operation], (
        "run `python tests/adversity/table.py`"
    )
