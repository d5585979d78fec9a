"""Laws of batches: rows are read from each format of Ray Data, and answers added to it."""

import math
from typing import Any

import pytest

from foxapi_async import ConfigError
from foxapi_async.ray._columns import (
    COLUMNS,
    AnswerColumns,
    arrow_columns,
    check_columns,
    names_of,
    rows_of,
    with_answers,
    without_nulls,
)

USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
ANSWERS = [
    AnswerColumns(answer="one", task_id="task-1", usage=USAGE),
    AnswerColumns(error="TaskFailedError: no"),
    AnswerColumns(answer="three", task_id="task-3", usage=USAGE),
]


@pytest.fixture(params=["numpy", "pandas", "pyarrow"])
def batch(request: pytest.FixtureRequest) -> Any:
    """Return a batch of three rows in each format, with a missing text and a missing number."""
    columns = {"id": [1, 2, 3], "text": ["a", None, "c"], "score": [0.5, math.nan, 1.5]}
    library: Any = pytest.importorskip(request.param)
    if request.param == "numpy":
        kinds = {"id": "int64", "text": object, "score": "float64"}
        return {name: library.array(values, kinds[name]) for name, values in columns.items()}
    return library.DataFrame(columns) if request.param == "pandas" else library.table(columns)


def as_rows(batch: Any) -> list[dict[str, Any]]:
    """Return the rows of a batch with all columns."""
    return rows_of(batch, names_of(batch))


def test_a_row_has_plain_values_and_none_for_missing_ones(batch: Any) -> None:
    """A row has the values of Python, and ``None`` where a value is missing."""
    rows = as_rows(batch)
    assert rows == [
        {"id": 1, "text": "a", "score": 0.5},
        {"id": 2, "text": None, "score": None},
        {"id": 3, "text": "c", "score": 1.5},
    ]
    assert [type(value) for value in rows[0].values()] == [int, str, float]


def test_only_the_named_columns_are_read(batch: Any) -> None:
    """A row has the columns that were asked for; without any it is empty."""
    assert rows_of(batch, ["id"]) == [{"id": 1}, {"id": 2}, {"id": 3}]
    assert rows_of(batch, []) == [{}, {}, {}]


def test_answers_are_added_in_the_format_of_the_batch(batch: Any) -> None:
    """The batch keeps its format, rows and columns, and has the four columns of the answers."""
    before = as_rows(batch)
    made = with_answers(batch, ANSWERS, "fox_", parsed=False)
    assert type(made) is type(batch)
    rows = as_rows(made)
    for row, old, answer in zip(rows, before, ANSWERS, strict=True):
        assert row == old | {f"fox_{name}": getattr(answer, name) for name in COLUMNS}
    assert as_rows(batch) == before


def test_a_skipped_row_is_left_out(batch: Any) -> None:
    """A batch with answers lacks the rows that are skipped."""
    answers = [ANSWERS[0], AnswerColumns(is_skipped=True), ANSWERS[2]]
    rows = as_rows(with_answers(batch, answers, "", parsed=False))
    assert [(row["id"], row["answer"]) for row in rows] == [(1, "one"), (3, "three")]


def test_an_empty_batch_stays_empty(batch: Any) -> None:
    """A batch without rows gets the columns, and no rows."""
    empty = (
        {name: values[:0] for name, values in batch.items()} if type(batch) is dict else batch[:0]
    )
    made = with_answers(empty, [], "", parsed=False)
    assert rows_of(made, ["id"]) == []
    assert set(COLUMNS) <= set(names_of(made))


def test_types_do_not_depend_on_the_answers() -> None:
    """A table without an answer or an error has the types of all other tables."""
    pytest.importorskip("pyarrow")
    full = arrow_columns(ANSWERS, parsed=False)
    failed = arrow_columns([AnswerColumns()], parsed=False)
    assert {name: str(values.type) for name, values in full.items()} == {
        name: str(values.type) for name, values in failed.items()
    }


def test_parsed_answers_without_a_common_type_are_json_texts() -> None:
    """Parsed answers have the type of their values, or are JSON texts if they have none."""
    pytest.importorskip("pyarrow")
    alike = [AnswerColumns(answer={"n": 1}), AnswerColumns(), AnswerColumns(answer={"n": 2})]
    assert arrow_columns(alike, parsed=True)["answer"].to_pylist() == [{"n": 1}, None, {"n": 2}]
    mixed = [AnswerColumns(answer={"n": 1}), AnswerColumns(), AnswerColumns(answer="text")]
    assert arrow_columns(mixed, parsed=True)["answer"].to_pylist() == ['{"n": 1}', None, '"text"']


def test_lists_of_one_length_stay_values() -> None:
    """Parsed answers that are lists become values of one column, and no second dimension."""
    numpy = pytest.importorskip("numpy")
    answers = [AnswerColumns(answer=[1, 2]), AnswerColumns(answer=[3, 4])]
    made = with_answers({"id": numpy.array([1, 2])}, answers, "", parsed=True)
    assert list(made["answer"]) == [[1, 2], [3, 4]]


@pytest.mark.parametrize("taken", COLUMNS)
def test_a_taken_name_is_refused(taken: str) -> None:
    """A data set with a column of an answer is refused; a prefix gives the answers other names."""
    with pytest.raises(ConfigError, match=f"'{taken}' already.*prefix="):
        check_columns(["text", taken], "", ["text"])
    check_columns(["text", taken], "fox_", ["text"])


def test_a_missing_column_is_refused() -> None:
    """A column that the data set does not have is named, with those that it has."""
    with pytest.raises(ConfigError, match="no column 'prompt': the data set has id, text"):
        check_columns(["id", "text"], "", ["prompt"])


def test_members_that_are_null_are_left_out() -> None:
    """A message of a column loses the members that only other messages have."""
    message = {
        "role": "user",
        "content": [{"type": "text", "text": "a", "url": None}],
        "name": None,
    }
    wanted = {"role": "user", "content": [{"type": "text", "text": "a"}]}
    assert without_nulls(message) == wanted
