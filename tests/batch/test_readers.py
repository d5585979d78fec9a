"""Laws of the readers: a row that cannot be read is one invalid row, and hides no other."""

import csv
import gzip
import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from foxapi_async._batch import source
from foxapi_async._batch.readers import read_csv, read_jsonl
from foxapi_async._batch.rows import BatchFileError, InvalidRow, Row, select
from foxapi_async._batch.source import MAX_LINE, Line, Source

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


class Bytes(Source):
    """A source whose bytes are given, in pieces of a size."""

    def __init__(self, data: bytes, size: int = 7) -> None:
        self._data = io.BytesIO(data)
        self._size_of_piece = size
        self._consumed = 0
        self.name = "rows"

    def read(self) -> bytes:
        """Return the next piece."""
        return self._data.read(self._size_of_piece)


def jsonl(data: bytes) -> list[Row | InvalidRow]:
    """Read JSON lines."""
    return list(read_jsonl(Bytes(data)))


def table(text: str | bytes, delimiter: str = ",") -> list[Row | InvalidRow]:
    """Read CSV."""
    data = text if isinstance(text, bytes) else text.encode()
    return list(read_csv(Bytes(data), delimiter))


@given(st.lists(st.dictionaries(TEXTS, VALUES, max_size=4)), st.integers(1, 50))
def test_objects_on_lines_come_back(objects: list[dict[str, Any]], size: int) -> None:
    """Every object that was written on a line is read with its line number, in any pieces."""
    data = b"".join(msgspec.json.encode(item) + b"\n" for item in objects)
    assert list(read_jsonl(Bytes(data, size))) == [
        Row(number, item) for number, item in enumerate(objects, 1)
    ]


@given(st.binary(max_size=60), st.integers(1, 9))
def test_every_line_is_a_row_or_invalid(data: bytes, size: int) -> None:
    """Whatever the bytes are, each line that is not blank is one row, valid or not."""
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    lines = [line for line in lines if line and not (line + b"\n").isspace()]
    try:
        rows = list(read_jsonl(Bytes(data, size)))
    except BatchFileError:
        is_text = not data.startswith(tuple(mark for mark, _ in source._NO_TEXT))
        assert b"\0" in data[:5] or not is_text or lines[0].strip()[:1] in {b"[", b"{"}
        return
    assert len(rows) == len(lines)


@pytest.mark.parametrize(
    ("start", "advice"),
    [
        ('{"a":1}\n'.encode("utf-16-le"), "UTF-16 or no text: convert it"),
        ("a,b\n".encode("utf-16-be"), "UTF-16 or no text: convert it"),
        ("a,b\n".encode("utf-16"), "is UTF-16: convert it"),
        ("a,b\n".encode("utf-32"), "is UTF-32: convert it"),
        (gzip.compress(b"a"), "compressed by gzip: give it a name"),
        (zstandard.compress(b"a"), "compressed by zstd: give it a name"),
        (b"PAR1\x15\x04", "--input-format parquet"),
        (b"PK\x03\x04....", "ZIP archive or an Excel file"),
    ],
)
@pytest.mark.parametrize("size", [1, 100])
def test_what_is_no_text_is_refused_before_its_first_row(
    start: bytes, advice: str, size: int
) -> None:
    """The error says what the file is and what to do about it."""
    for read in (read_jsonl, partial(read_csv, delimiter=",")):
        with pytest.raises(BatchFileError, match=advice):
            list(read(Bytes(start, size)))


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (b'[{"a":1},{"a":2}]', "is a JSON array"),
        (b'\n[\n  {"a":1},\n  {"a":2}\n]\n', "is a JSON array"),
        (b'{\n  "a":1\n}\n', "an object on several lines"),
    ],
)
def test_json_on_several_lines_is_refused_before_its_first_row(text: bytes, advice: str) -> None:
    """No line of it would be a row."""
    with pytest.raises(BatchFileError, match=advice):
        jsonl(text)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_what_only_has_the_name_of_a_compressed_file_is_refused(
    tmp_path: Path, suffix: str
) -> None:
    """Nothing of it can be read."""
    path = tmp_path / f"rows.jsonl{suffix}"
    path.write_bytes(b'{"a":1}\n')
    with Source(str(path)) as opened, pytest.raises(BatchFileError, match=f"without {suffix}"):
        list(read_jsonl(opened))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a":', "not JSON"),
        (b"[1]", "no object"),
        (b'{"a":1},', "more than one JSON value"),
        (b'{"a":1}{"a":2}', "more than one JSON value"),
        (b'{"a":1}\r{"a":2}', "tr '\\r' '\\n'"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":"\\ud800"}', "surrogate"),
        (b'{"a":"\xff"}', "UTF-8"),
        (b"[" * 100_000, "nested"),
    ],
)
def test_a_broken_line_says_why(line: bytes, reason: str) -> None:
    """A line that is no JSON object is an invalid row with its number and reason."""
    first, broken, last = jsonl(b'{"n":1}\n' + line + b'\n{"n":2}\n')
    assert (first, last) == (Row(1, {"n": 1}), Row(3, {"n": 2}))
    assert isinstance(broken, InvalidRow)
    assert broken.line == 2
    assert reason in broken.reason


def test_a_torn_last_line_is_invalid() -> None:
    """A last line that was cut off is named so; a whole one needs no line break."""
    _, torn = jsonl(b'{"n":1}\n{"n":')
    assert isinstance(torn, InvalidRow)
    assert "cut off" in torn.reason
    assert jsonl(b'{"n":1}\n{"n":2}') == [Row(1, {"n": 1}), Row(2, {"n": 2})]


def test_a_huge_line_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line longer than the bound is invalid, is not kept, and the next one is read."""
    monkeypatch.setattr("foxapi_async._batch.source.MAX_LINE", 100)
    lines = list(Bytes(b"x" * 1000 + b"\n" + b"ok\n" + b"y" * 1000).lines())
    assert lines == [Line(1, None), Line(2, b"ok\n"), Line(3, None)]
    assert MAX_LINE > 1024**2


def test_a_byte_order_mark_is_no_part_of_a_name() -> None:
    """The mark before UTF-8 is dropped, and UTF-16 is refused."""
    with_mark = b"\xef\xbb\xbfa,b\n1,2\n"
    assert list(read_csv(Bytes(with_mark, 100), ",")) == [Row(2, {"a": "1", "b": "2"})]
    with pytest.raises(BatchFileError, match="UTF-16"):
        list(read_csv(Bytes("a,b\n".encode("utf-16"), 100), ","))


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@given(
    st.lists(st.tuples(CELLS, CELLS).filter(any), max_size=8),
    st.sampled_from([",", ";", "\t"]),
    st.integers(1, 40),
)
def test_cells_come_back(rows: list[tuple[str, str]], delimiter: str, size: int) -> None:
    """Every cell that the csv module writes is read: quotes, delimiters and line breaks too."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows([("a", "b"), *rows])
    found = list(read_csv(Bytes(text.getvalue().encode(), size), delimiter))
    assert [row.values for row in found if isinstance(row, Row)] == [
        {"a": first, "b": second} for first, second in rows
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('3,"open', "CSV"),
        ('3,"closed" early', "CSV"),
        ("3", "1 fields"),
        ("3,4,5", "3 fields"),
        (b"3,\xff", "UTF-8"),
    ],
)
def test_a_broken_row_hides_no_other(line: str | bytes, reason: str) -> None:
    """A row of other fields or wrong quotes is invalid, and the rows after it are read."""
    broken = line if isinstance(line, bytes) else line.encode()
    before = b'a,b\n1,"two\nlines"\n'
    after = b'4,plain\n5,"quoted, too"\n6,plain\n'
    first, invalid, *others = table(before + broken + b"\n" + after)
    assert first == Row(2, {"a": "1", "b": "two\nlines"})
    assert isinstance(invalid, InvalidRow)
    assert invalid.line == 4
    assert reason in invalid.reason
    assert [row.values["a"] for row in others if isinstance(row, Row)] == ["4", "5", "6"]


def test_a_quote_that_is_never_closed_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quote that stays open hides nothing, also when no other quote follows."""
    monkeypatch.setattr("foxapi_async._batch.readers._MAX_RECORD", 200)
    rows = table('a,b\n1,"open\n' + "".join(f"{number},x\n" for number in range(500)))
    assert [row.line for row in rows if isinstance(row, InvalidRow)] == [2]
    assert len(rows) == 501


@given(st.lists(st.integers(0, 4), max_size=30))
def test_five_kinds_of_rows_in_any_order(kinds: list[int]) -> None:
    """Of good and broken rows in any order, each good one is read once."""
    lines = {0: "{0},plain", 1: '{0},"quoted"', 2: "{0},too,many", 3: "{0}", 4: '{0},"a" b'}
    text = "a,b\n" + "".join(lines[kind].format(number) + "\n" for number, kind in enumerate(kinds))
    good = [str(number) for number, kind in enumerate(kinds) if kind < 2]
    assert [row.values["a"] for row in table(text) if isinstance(row, Row)] == good


@pytest.mark.parametrize("text", ["", "a,a\n1,2\n", '"a\n'])
def test_a_header_is_needed(text: str) -> None:
    """A CSV file without a header, or with a column twice, is refused."""
    with pytest.raises(BatchFileError):
        table(text)


def compressed(path: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield the names of two files and their compressed content."""
    content = b"".join(b'{"n":%d}\n' % number for number in range(5000))
    yield path / "rows.jsonl.gz", gzip.compress(content)
    frames = zstandard.compress(content[:100]) + zstandard.compress(content[100:])
    yield path / "rows.jsonl.zst", frames


def test_compressed_files_are_read(tmp_path: Path) -> None:
    """Gzip and zstd, of several frames too, give the same rows."""
    for path, data in compressed(tmp_path):
        path.write_bytes(data)
        with Source(str(path)) as source:
            assert [row.values["n"] for row in read_jsonl(source) if isinstance(row, Row)] == list(
                range(5000)
            )
            assert source.fraction == 1


def test_a_compressed_file_that_is_cut_off_says_so(tmp_path: Path) -> None:
    """The rows before the damage are read, and the damage is an invalid row at the end."""
    for path, data in compressed(tmp_path):
        for damaged in (data[:-9], data[: len(data) // 2]):
            path.write_bytes(damaged)
            with Source(str(path)) as source:
                *_, last = read_jsonl(source)
            assert isinstance(last, InvalidRow), (path, damaged[:10])
            assert "damaged or cut off" in last.reason


@given(st.integers(0, 60), st.integers(1, 20), st.integers(0, 5))
def test_a_sample_is_the_same_each_time(rows: int, size: int, seed: int) -> None:
    """A sample has distinct rows in the order of the input, the same ones for the same seed."""
    source = [Row(number, {}) for number in range(rows)]
    first = list(select(source, limit=None, sample=size, seed=seed))
    assert first == list(select(source, limit=None, sample=size, seed=seed))
    assert len(first) == min(size, rows)
    lines = [row.line for row in first]
    assert lines == sorted(set(lines))
    assert len(list(select(source, limit=size, sample=None, seed=seed))) == min(size, rows)
