"""Laws of the files that a run writes: whole lines, mended tails, one writer."""

import io
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxapi_async._batch.output_file import FileLock, LineFile, mend, whole_records, write_whole
from foxapi_async._batch.output_lines import (
    ANSWER_COLUMNS,
    BatchLines,
    CSVLines,
    LineFormat,
    RowLines,
    WrittenRow,
)
from foxapi_async._batch.parquet import write_parquet
from foxapi_async._batch.requests import PreparedRow
from foxapi_async._batch.row_ids import RowIds
from foxapi_async._batch.rows import BatchFileError, InvalidRowError, Row
from foxapi_async.types import ChatCompletion, Choice, CompletionMessage, Usage

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=15)


def prepared(number: int, values: dict[str, Any] | None = None) -> PreparedRow:
    """Return a row whose id ends with its number."""
    return PreparedRow(
        Row(number, values or {"a": "x", "b": "y"}), {}, "key", f"{number:032x}", f"c{number}"
    )


def answer(text: str = "hi") -> ChatCompletion:
    """Return a completion of three and two tokens."""
    choice = Choice(message=CompletionMessage(content=text), finish_reason="stop")
    return ChatCompletion(
        id="chatcmpl-1",
        choices=(choice,),
        usage=Usage(prompt_tokens=3, completion_tokens=2, total_tokens=5),
    )


FORMATS: dict[str, LineFormat] = {
    "batch": BatchLines(),
    "rows": RowLines(),
    "csv": CSVLines(["a", "b"], ","),
    "semicolons": CSVLines(["a", "b"], ";"),
}
formats = pytest.mark.parametrize("name", FORMATS)


@formats
@given(text=TEXTS, value=TEXTS)
def test_a_line_says_which_row_it_is(name: str, text: str, value: str) -> None:
    """Whatever a row and its answer are, the line is one record with the row's id and tokens."""
    lines = FORMATS[name]
    line = lines.line(prepared(7, {"a": value, "b": value}), answer(text), None)
    assert lines.read(line) == WrittenRow(f"{7:032x}", 3, 2)
    assert [record for _, record in whole_records(io.BytesIO(line), is_quoted=lines.is_quoted)] == [
        line
    ]


@formats
def test_a_file_torn_at_any_byte_keeps_its_whole_lines(name: str, tmp_path: Path) -> None:
    """A file that is cut at any byte has the rows of its whole lines, and no others."""
    lines = FORMATS[name]
    written = [
        lines.line(prepared(number, {"a": 'q"\n,;', "b": "ü\r\n"}), answer('a "b"\nc,d;'), None)
        for number in range(3)
    ]
    data = lines.header + b"".join(written)
    ends = list(itertools.accumulate(map(len, written), initial=len(lines.header)))
    path = tmp_path / "out"
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        found: list[WrittenRow] = []
        size = mend(path, lines, found.append)
        assert size == max((end for end in ends if end <= cut), default=0) * (cut >= ends[0])
        assert [row.id for row in found] == [f"{number:032x}" for number in range(len(found))]
        assert len(found) == sum(end <= cut for end in ends[1:])
        file = LineFile(path, size)
        file.append([written[2]])
        file.close()
        assert path.read_bytes() == data[:size] + written[2]


def test_a_tail_of_zeros_is_cut_off(tmp_path: Path) -> None:
    """What a power cut left after the last line is no line."""
    path = tmp_path / "out"
    line = BatchLines().line(prepared(1), answer(), None)
    path.write_bytes(line + bytes(50) + b"\n" + bytes(9))
    assert mend(path, BatchLines(), lambda _: None) == len(line)


@formats
def test_a_file_of_another_program_is_refused(name: str, tmp_path: Path) -> None:
    """A foreign line before a line of ours is an error, and the file is not changed."""
    lines = FORMATS[name]
    path = tmp_path / "out"
    data = lines.header + b"mine\n" + lines.line(prepared(1), answer(), None)
    path.write_bytes(data)
    with pytest.raises(BatchFileError, match="use another -o"):
        mend(path, lines, lambda _: None)
    assert path.read_bytes() == data


def test_a_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    """A CSV whose header differs is not continued."""
    path = tmp_path / "out.csv"
    path.write_bytes(CSVLines(["a"], ",").header)
    with pytest.raises(BatchFileError, match="other columns"):
        mend(path, CSVLines(["a", "b"], ","), lambda _: None)


def test_batch_lines_are_those_of_openai() -> None:
    """A line has the members of OpenAI's batch output."""
    line = msgspec.json.decode(BatchLines().line(prepared(7), answer("hi"), None))
    assert line["id"] == f"batch_req_{7:032x}"
    assert (line["custom_id"], line["error"]) == ("c7", None)
    assert line["response"]["status_code"] == 200
    assert line["response"]["body"]["choices"][0]["message"]["content"] == "hi"


def test_rows_keep_their_columns() -> None:
    """A line of rows has the columns of the input and of the answer; a parsed answer is JSON."""
    line = msgspec.json.decode(RowLines().line(prepared(7, {"n": 1}), answer("[1]"), [1]))
    assert list(line) == ["n", *ANSWER_COLUMNS]
    assert line["answer"] == [1]
    with pytest.raises(InvalidRowError, match="'answer'"):
        RowLines().check({"answer": 1})
    with pytest.raises(InvalidRowError, match="'c'"):
        CSVLines(["a"], ",").check({"c": 1})


HOLD = """
import sys
from pathlib import Path
from foxapi_async._batch.output_file import FileLock

lock = FileLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.readline()
lock.release()
"""


def test_one_process_writes_an_output(tmp_path: Path) -> None:
    """A second process is refused, until the first one has ended."""
    path = tmp_path / "out.lock"
    with subprocess.Popen(
        [sys.executable, "-P", "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(BatchFileError, match="another `foxapi batch`"):
            FileLock(path)
        assert FileLock.is_held(path)
        process.communicate("end\n")
    assert not FileLock.is_held(path)
    FileLock(path).release()


@given(st.lists(st.sampled_from("abc")), st.lists(st.sampled_from("abc")))
def test_equal_rows_are_taken_as_often_as_they_were_written(
    written: list[str], rows: list[str]
) -> None:
    """Of equal rows, as many are taken as the output has."""
    answered = RowIds()
    for row in written:
        answered.add(row)
    taken = [row for row in rows if answered.take(row)]
    assert all(taken.count(row) == min(rows.count(row), written.count(row)) for row in "abc")
    answered.close()


def test_a_whole_file_replaces_another_or_none(tmp_path: Path) -> None:
    """A write that fails leaves the old file and nothing beside it."""
    path = tmp_path / "report.html"
    write_whole(path, lambda file: file.write(b"old"))

    def fail(_: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_whole(path, fail)
    assert [item.name for item in tmp_path.iterdir()] == ["report.html"]
    assert path.read_bytes() == b"old"


def test_parquet_keeps_the_types_of_its_input(tmp_path: Path) -> None:
    """Columns of the input have their types again; those that mix types become JSON texts."""
    table = pa.table(
        {
            "n": pa.array([1, 2], pa.int32()),
            "at": pa.array([0, 1], pa.timestamp("us")),
            "raw": pa.array([b"\xff", None], pa.binary()),
            "price": pa.array(["1.50", "2.25"]).cast(pa.decimal128(9, 2)),
            "tags": pa.array([["a"], []], pa.list_(pa.string())),
        }
    )
    lines, output = tmp_path / "rows.jsonl", tmp_path / "out.parquet"
    text = b"".join(
        RowLines().line(prepared(number, values), answer("x"), parsed)
        for number, (values, parsed) in enumerate(
            zip(table.to_pylist(), ({"a": 1}, "text"), strict=True)
        )
    )
    lines.write_bytes(text)
    write_parquet(lines, output, table.schema)
    written = pq.read_table(output)
    assert written.select(table.column_names).equals(table)
    assert written.column("answer").to_pylist() == ['{"a":1}', "text"]
    assert written.column("prompt_tokens").to_pylist() == [3, 3]
    assert written.column("credits").to_pylist() == [None, None]


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from("abcd"),
            st.none()
            | st.booleans()
            | st.integers(-(2**60), 2**60)
            | st.floats(allow_nan=False, allow_infinity=False)
            | TEXTS
            | st.lists(st.integers(0, 9) | TEXTS, max_size=2),
        ),
        max_size=6,
    )
)
def test_any_json_rows_become_parquet(rows: list[dict[str, Any]]) -> None:
    """Rows of any JSON values are written, each with its id."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        lines, output = Path(folder, "rows.jsonl"), Path(folder, "out.parquet")
        written = [
            RowLines().line(prepared(number, values), answer(), None)
            for number, values in enumerate(rows)
        ]
        lines.write_bytes(b"".join(written))
        write_parquet(lines, output, None)
        ids = pq.read_table(output).to_pylist()
    assert [row["row_id"] for row in ids] == [f"{number:032x}" for number in range(len(rows))]
