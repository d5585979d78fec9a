"""The table in the docs is up to date, and no operation is billed twice under any fault."""

import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

BILLED = ("llm.submit", "llm.generate", "llm.stream", "images.submit", "images.generate")
UNBILLED = ("await handle", "handle.stream", "tasks.get", "models.list")
# A rejection after acceptance looks like one before it; the task is billed once.
AMBIGUOUS_FAULTS = ("429 after acceptance",)


@pytest.fixture(scope="module")
def table() -> Iterator[ModuleType]:
    """Import the script beside this file."""
    spec = spec_from_file_location("adversity_table", Path(__file__).with_name("table.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["adversity_table"] = module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["adversity_table"]


@pytest.fixture
def committed(table: ModuleType) -> dict[str, str]:
    """Return the table of each operation in the docs."""
    parts = table.PAGE.read_text("utf-8").split("### ")[1:]
    return {part.split("\n", 1)[0]: f"### {part}".rstrip("\n") for part in parts}


def test_every_operation_is_in_the_table(table: ModuleType, committed: dict[str, str]) -> None:
    """The docs and the script have the operations that are tested below."""
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
        for observed in (row.once, row.always):
            assert observed.tasks <= 1, row
            assert observed.posts <= 1, row
            if observed.tasks == 1 and row.fault not in AMBIGUOUS_FAULTS:
                assert (
                    "Error" not in observed.caller or "SubmitOutcomeUnknownError" in observed.caller
                ), row
            if "SubmitOutcomeUnknownError" in observed.caller:
                assert observed.posts == 1, row
    assert table.page({operation: rows}).rstrip("\n") == committed[operation], (
        "run `python tests/adversity/table.py`"
    )


@pytest.mark.parametrize("operation", UNBILLED)
async def test_an_unbilled_operation_posts_nothing(
    table: ModuleType, committed: dict[str, str], operation: str
) -> None:
    """No read, poll or stream sends a POST; a stream that ends has the right text."""
    rows = await table.rows(table.OPERATIONS[operation])
    for row in rows:
        for observed in (row.once, row.always):
            assert (observed.posts, observed.tasks) == (0, 0), row
            assert "wrong" not in observed.caller, row
    assert table.page({operation: rows}).rstrip("\n") == committed[operation], (
        "run `python tests/adversity/table.py`"
    )
