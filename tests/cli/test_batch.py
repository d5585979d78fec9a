"""Laws of ``foxapi batch`` against a real gateway."""

import asyncio
import csv
import gzip
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from foxapi_async._batch.output_file import FileLock
from foxapi_async.gateway import Gateway

MODEL = ("--model", "gpt-5.5")
# Here, because its first array imports pandas where that is installed, and reads files.
TABLE = pa.table({"n": pa.array([1, 2], pa.int8()), "at": pa.array([0, 1], pa.timestamp("ms"))})
PROMPT = (*MODEL, "--prompt", "count 1 to {n}")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def batch_row(custom_id: str, prompt: str, **body: Any) -> dict[str, Any]:
    """Return an OpenAI Batch row."""
    messages = [{"role": "user", "content": prompt}]
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "gpt-5.5", "messages": messages, **body},
    }


async def write(path: Path, data: str | bytes) -> None:
    """Write a file."""
    content = data if isinstance(data, bytes) else data.encode()
    await asyncio.to_thread(path.write_bytes, content)


async def read(path: Path) -> str:
    """Read a file."""
    return (await asyncio.to_thread(path.read_bytes)).decode()


async def names(folder: Path) -> set[str]:
    """Return the names of the files in a folder."""
    return set(await asyncio.to_thread(os.listdir, folder))


async def write_lines(path: Path, rows: Iterable[object]) -> None:
    """Write JSON lines."""
    await write(path, "".join(json.dumps(row) + "\n" for row in rows))


async def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines, each of which must be whole."""
    text = await read(path)
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def text_of(line: dict[str, Any]) -> str:
    """Return the answer of a line of OpenAI's batch output."""
    text: str = line["response"]["body"]["choices"][0]["message"]["content"]
    return text


async def codes(path: Path) -> list[str]:
    """Return the codes of an errors file."""
    return [line["error"]["code"] for line in await read_lines(path)]


async def test_an_openai_batch_is_answered(gateway: Gateway, foxapi: Any, folder: Path) -> None:
    """Each row of an OpenAI Batch file has a line of OpenAI's output with its custom_id."""
    await write_lines(
        folder / "in.jsonl", [batch_row(f"r{n}", f"count 1 to {n}") for n in range(1, 30)]
    )
    done = await foxapi("batch", "run", "in.jsonl", "-o", "out.jsonl", "--in-flight", "auto")
    assert done.code == 0, done.err
    lines = await read_lines(folder / "out.jsonl")
    assert {line["custom_id"]: text_of(line) for line in lines} == {
        f"r{n}": ", ".join(map(str, range(1, n + 1))) for n in range(1, 30)
    }
    assert len({line["id"] for line in lines}) == 29
    assert all(line["error"] is None for line in lines)
    assert (await read(folder / "out.jsonl.errors.jsonl")) == ""
    assert gateway.stats.tasks == 29
    [summary] = done.records
    assert summary["answered"] == 29
    assert summary["credits"] == 29
    assert "out.jsonl.lock" not in await names(folder)


@pytest.mark.parametrize("form", ["rows", "batch", "csv"])
async def test_a_run_that_was_killed_loses_no_credits(
    gateway: Gateway, foxapi: Any, folder: Path, form: str
) -> None:
    """The sums follow from the lines of the output, and a task of two rows counts once."""
    output = f"out.{form}"
    await asyncio.to_thread((folder / "in.csv").write_text, "n\n1\n2\n3\n3\n")
    await write_lines(
        folder / "in.jsonl", [batch_row(f"r{n}", f"count to {n % 3}") for n in range(4)]
    )
    command: tuple[str, ...] = ("batch", "run", "in.csv", "-o", output, *PROMPT, "--format", form)
    if form == "batch":
        command = ("batch", "run", "in.jsonl", "-o", output)
    assert (await foxapi(*command)).code == 0
    state = folder / f"{output}.batch.json"
    members = json.loads(await read(state))
    # A kill comes before the last write of the sums.
    members["totals"] |= {"credits": 0.0, "with_credits": 0, "end": "running"}
    await asyncio.to_thread(state.write_text, json.dumps(members))
    [shown] = (await foxapi("batch", "status", output)).records
    assert (shown["state"], shown["credits"]) == ("killed", 3)
    [summary] = (await foxapi(*command)).records
    assert (summary["earlier"], summary["credits"]) == (4, 3)
    assert gateway.stats.tasks == 3


async def test_a_second_run_sends_nothing(gateway: Gateway, foxapi: Any, folder: Path) -> None:
    """Run again, the command leaves the output as it is; new rows of the input are answered."""
    rows = [{"n": n} for n in range(1, 9)]
    await write_lines(folder / "in.jsonl", rows)
    command = ("batch", "run", "in.jsonl", "-o", "out.jsonl", *PROMPT)
    assert (await foxapi(*command)).code == 0
    before = await read(folder / "out.jsonl")
    again = await foxapi(*command)
    assert again.code == 0
    assert again.records[0]["earlier"] == 8
    assert (await read(folder / "out.jsonl")) == before
    assert gateway.stats.submits == 8
    await write_lines(folder / "in.jsonl", [{"n": 100}, *rows])
    assert (await foxapi(*command)).code == 0
    assert sorted(line["n"] for line in await read_lines(folder / "out.jsonl")) == [
        *range(1, 9),
        100,
    ]
    assert gateway.stats.submits == 9


async def test_a_torn_output_is_mended(gateway: Gateway, foxapi: Any, folder: Path) -> None:
    """An output that is cut at any place is whole after the next run, and nothing is sent."""
    await write(folder / "in.csv", "n,note\n" + 'n,"a ""b""\nc"\n'.replace("n,", "7,") + "8,x\n")
    for name in ("out.jsonl", "out.csv"):
        command = ("batch", "run", "in.csv", "-o", name, *PROMPT)
        assert (await foxapi(*command)).code == 0
        tasks = gateway.stats.tasks
        whole = await read(folder / name)
        for cut in (0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 1):
            await write(folder / name, whole[:cut])
            assert (await foxapi(*command)).code == 0
            mended = await read(folder / name)
            assert sorted(mended.split("\n")) == sorted(whole.split("\n")), (name, cut)
        assert gateway.stats.tasks == tasks


async def test_equal_rows_share_one_answer(gateway: Gateway, foxapi: Any, folder: Path) -> None:
    """Rows with one request are billed once, and each has its line."""
    await write_lines(folder / "in.jsonl", [{"n": 3, "id": n % 5} for n in range(10)])
    done = await foxapi("batch", "run", "in.jsonl", "-o", "out.jsonl", *PROMPT)
    assert done.code == 0
    lines = await read_lines(folder / "out.jsonl")
    assert [line["answer"] for line in lines] == ["1, 2, 3"] * 10
    assert sorted(line["id"] for line in lines) == sorted([*range(5)] * 2)
    assert len({line["task_id"] for line in lines}) == 1
    assert gateway.stats.tasks == 1
    assert done.records[0]["credits"] == 1


async def test_a_key_column_names_the_rows(gateway: Gateway, foxapi: Any, folder: Path) -> None:
    """With ``--key-column`` equal requests are billed for each key, and a key has one request."""
    await write_lines(
        folder / "in.jsonl", [{"n": 3, "k": "a"}, {"n": 3, "k": "b"}, {"n": 4, "k": "a"}]
    )
    done = await foxapi("batch", "run", "in.jsonl", "-o", "out.jsonl", *PROMPT, "--key-column", "k")
    assert done.code == 1
    assert gateway.stats.tasks == 2
    [error] = await read_lines(folder / "out.jsonl.errors.jsonl")
    assert error["error"]["code"] == "key_conflict"


async def test_broken_rows_go_to_the_errors_file(
    gateway: Gateway, foxapi: Any, folder: Path
) -> None:
    """Of a CSV with quotes, line breaks, a mark and broken rows, all good rows are answered."""
    lines = [
        f'{n},"open\n' if n % 20 == 0 else f'{n},"say ""hi"",\nplease"\n' for n in range(1, 101)
    ]
    await write(folder / "in.csv", "\ufeffn,text\n" + "".join(lines))
    done = await foxapi("batch", "run", "in.csv", "-o", "out.csv", *PROMPT)
    assert done.code == 1
    text = await read(folder / "out.csv")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert sorted(int(row["n"]) for row in rows) == [n for n in range(1, 101) if n % 20]
    assert {row["text"] for row in rows} == {'say "hi",\nplease'}
    assert await codes(folder / "out.csv.errors.jsonl") == ["invalid_row"] * 5
    assert gateway.stats.tasks == 95
    assert done.records[0]["invalid"] == 5
    assert "out.csv.errors.jsonl" in done.err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--prompt", "{nope}"), "has no column 'nope'; it has 'n', 'note'"),
        (("--prompt", "{n"), "--prompt"),
        (("--prompt", "{n}", "--key-column", "id"), "--key-column"),
        (("--prompt", "{n}", "--image-column", "img"), "--image-column"),
        (("--prompt", "{n}", "--format", "batch"), "--format batch"),
        (("--prompt", "{n}", "--max-errors", "many"), "--max-errors"),
        (("--prompt", "{n}", "--in-flight", "0"), "--in-flight"),
        (("--prompt", "{n}", "--delimiter", ",,"), "--delimiter"),
        (("--prompt", "{n}", "--param", "model=1"), "--model"),
        (("--prompt", "{n}", "--param", "x"), "NAME=JSON"),
        (("--prompt", "{n}", "--schema", "none.json"), "--schema"),
        (("--prompt", "{n}", "--errors", "in.csv"), "INPUT and --errors are one file"),
        (("--prompt", "{n}", "--errors", "out.csv"), "-o and --errors are one file"),
        (("--prompt", "{n}", "--errors", "out.csv.journal.db"), "--journal and --errors"),
        (("--prompt", "{n}", "--errors", "out.csv.batch.json"), "out.csv.batch.json and --errors"),
        (("--prompt", "{n}", "--report", "in.csv"), "INPUT and --report are one file"),
        (("--prompt", "{n}", "--report", "./in.csv"), "INPUT and --report are one file"),
        (("--prompt", "{n}", "--report", "out.csv"), "-o and --report are one file"),
        (
            ("--prompt", "{n}", "--report", "out.csv.journal.db-wal"),
            "log of --journal and --report",
        ),
        (("--prompt", "{n}", "--journal", "sqlite:///in.csv"), "INPUT and --journal are one file"),
        (("--prompt", "{n}", "-o", "x.gz"), "plain file"),
        (("--prompt", "{n}", "-o", os.devnull), "plain file"),
        (("--prompt", "{n}", "--report", "."), "--report . is a folder"),
        (("--prompt", "hello"), "--prompt names no column"),
    ],
)
async def test_a_mistake_costs_nothing(
    gateway: Gateway, foxapi: Any, folder: Path, arguments: tuple[str, ...], why: str
) -> None:
    """A wrong option or a missing column ends with 2 before anything is sent or written."""
    await write(folder / "in.csv", "n,note\n1,x\n")
    done = await foxapi("batch", "run", "in.csv", "-o", "out.csv", *MODEL, *arguments)
    assert done.code == 2, done.err
    assert why in " ".join(done.err.split())
    assert gateway.stats.submits == 0
    assert "out.csv" not in await names(folder)
    assert (await read(folder / "in.csv")) == "n,note\n1,x\n"


async def test_a_model_must_be_named(gateway: Gateway, foxapi: Any, folder: Path) -> None:
    """Rows without a model need ``--model``."""
    await write(folder / "in.csv", "n\n1\n")
    done = await foxapi("batch", "run", "in.csv", "-o", "out.csv", "--prompt", "{n}")
    assert (done.code, gateway.stats.submits) == (2, 0)
    assert "--model is missing" in done.err


async def test_a_file_of_another_program_is_safe(
    gateway: Gateway, foxapi: Any, folder: Path
) -> None:
    """A file that this command did not write is never changed."""
    await write(folder / "in.csv", "n\n1\n")
    await write(folder / "mine.txt", "precious")
    done = await foxapi("batch", "run", "in.csv", "-o", "mine.txt", *PROMPT)
    assert (done.code, gateway.stats.submits) == (2, 0)
    assert "not an output of this command" in done.err
    errors = ("--errors", "mine.txt")
    done = await foxapi("batch", "run", "in.csv", "-o", "out.jsonl", *PROMPT, *errors)
    assert (done.code, gateway.stats.submits) == (2, 0)
    assert "has no errors of this command" in done.err
    assert (await read(folder / "mine.txt")) == "precious"


@pytest.mark.skipif(os.name == "nt", reason="the null device of Windows is no file")
async def test_errors_may_go_nowhere_or_to_an_errors_file(
    gateway: Gateway, foxapi: Any, folder: Path
) -> None:
    """The null device is written to, and an errors file of another output may be reused."""
    await write(folder / "in.jsonl", '{"n":1}\nbroken\n')
    for output, errors in (("a.jsonl", os.devnull), ("b.jsonl", "e.jsonl"), ("c.jsonl", "e.jsonl")):
        done = await foxapi("batch", "run", "in.jsonl", "-o", output, *PROMPT, "--errors", errors)
        assert done.code == 1, done.err
        assert len(await read_lines(folder / output)) == 1
    assert await codes(folder / "e.jsonl") == ["invalid_row"]
    assert gateway.stats.submits == 3


@pytest.mark.parametrize(("name", "text"), [("in.jsonl", ""), ("in.jsonl", " \n"), ("in.csv", "n")])
async def test_an_input_without_rows_says_so(
    gateway: Gateway, foxapi: Any, folder: Path, name: str, text: str
) -> None:
    """It is no error, because a pipeline may have nothing to do."""
    await write(folder / name, text)
    done = await foxapi("batch", "run", name, "-o", "out.jsonl", *PROMPT)
    assert (done.code, gateway.stats.submits) == (0, 0)
    assert "has no rows" in done.err


async def test_an_output_keeps_to_its_requests(gateway: Gateway, foxapi: Any, folder: Path) -> None:
    """Another prompt or model for the same output is refused, and the option is named."""
    await write(folder / "in.csv", "n\n1\n")
    command = ("batch", "run", "in.csv", "-o", "out.jsonl")
    assert (await foxapi(*command, *PROMPT)).code == 0
    other = await foxapi(*command, *MODEL, "--prompt", "{n}")
    assert other.code == 2
    assert "another --prompt" in other.err
    assert gateway.stats.submits == 1


async def test_one_process_writes_an_output(gateway: Gateway, foxapi: Any, folder: Path) -> None:
    """A run is refused while another one writes the same output."""
    await write(folder / "in.csv", "n\n1\n")
    lock = await asyncio.to_thread(FileLock, folder / "out.csv.lock")
    done = await foxapi("batch", "run", "in.csv", "-o", "out.csv", *PROMPT)
    await asyncio.to_thread(lock.release)
    assert (done.code, gateway.stats.submits) == (2, 0)
    assert "another `foxapi batch` writes this output" in done.err
    assert (await foxapi("batch", "run", "in.csv", "-o", "out.csv", *PROMPT)).code == 0


@pytest.mark.parametrize("name", ["in.jsonl.gz", "in.jsonl.zst", "in.parquet", "-", "in.ndjson"])
async def test_every_kind_of_input(gateway: Gateway, foxapi: Any, folder: Path, name: str) -> None:
    """JSONL, compressed or from stdin, and Parquet give the same answers."""
    text = b"".join(b'{"n":%d}\n' % n for n in range(1, 6))
    if name == "in.parquet":
        await asyncio.to_thread(
            lambda: pq.write_table(pa.table({"n": [1, 2, 3, 4, 5]}), folder / name)
        )
    elif name != "-":
        packs: dict[str, Callable[[bytes], bytes]] = {
            ".gz": gzip.compress,
            ".zst": zstandard.compress,
        }
        pack = packs.get(Path(name).suffix, bytes)
        await write(folder / name, pack(text))
    stdin = text if name == "-" else b""
    done = await foxapi("batch", "run", name, "-o", "out.jsonl", *PROMPT, stdin=stdin)
    assert done.code == 0, done.err
    answers = {line["n"]: line["answer"] for line in await read_lines(folder / "out.jsonl")}
    assert answers == {n: ", ".join(map(str, range(1, n + 1))) for n in range(1, 6)}
    assert gateway.stats.tasks == 5


async def test_parquet_out_of_parquet(gateway: Gateway, foxapi: Any, folder: Path) -> None:
    """A Parquet output has the columns of its input with their types, and those of the answer."""
    await asyncio.to_thread(pq.write_table, TABLE, folder / "in.parquet")
    command = ("batch", "run", "in.parquet", "-o", "out.parquet", *PROMPT)
    assert (await foxapi(*command)).code == 0
    written = (await asyncio.to_thread(pq.read_table, folder / "out.parquet")).sort_by("n")
    assert written.select(["n", "at"]).equals(TABLE)
    assert written.column("answer").to_pylist() == ["1", "1, 2"]
    assert (await foxapi(*command)).code == 0
    assert (await asyncio.to_thread(pq.read_table, folder / "out.parquet")).num_rows == 2
    assert gateway.stats.tasks == 2


async def test_other_delimiters(gateway: Gateway, foxapi: Any, folder: Path) -> None:
    """``--delimiter`` is that of the input and the output; ``.tsv`` files have tabs."""
    await write(folder / "in.csv", "n;note\n2;a,b\n")
    command = ("batch", "run", "in.csv", "-o", "out.csv", *PROMPT, "--delimiter", ";")
    assert (await foxapi(*command)).code == 0
    assert (await read(folder / "out.csv")).splitlines()[1].startswith("2;a,b;1, 2;stop;")
    await write(folder / "in.tsv", "n\tnote\n2\ta,b\n")
    assert (await foxapi("batch", "run", "in.tsv", "-o", "out.tsv", *PROMPT)).code == 0
    assert (await read(folder / "out.tsv")).splitlines()[1].startswith("2\ta,b\t1, 2\tstop\t")
    assert gateway.stats.tasks == 2


async def test_answers_are_checked_by_a_schema(
    serve: Any, foxapi: Any, folder: Path, recorded_submits: Any
) -> None:
    """``--schema`` is sent as the format; a wrong answer is an error that keeps the answer."""
    bodies, middleware = recorded_submits
    await serve(middleware)
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    await write(folder / "city.json", json.dumps(schema))
    await write_lines(folder / "in.jsonl", [{"prompt": "a city"}])
    command = ("batch", "run", "in.jsonl", *MODEL, "--schema", "city.json")
    assert (await foxapi(*command, "-o", "out.jsonl")).code == 0
    [line] = await read_lines(folder / "out.jsonl")
    assert isinstance(line["answer"]["city"], str)
    assert bodies[0]["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "city", "strict": True, "schema": schema},
    }
    await write(folder / "city.json", json.dumps(schema | {"not": {"required": ["city"]}}))
    done = await foxapi(*command, "-o", "other.jsonl")
    [error] = await read_lines(folder / "other.jsonl.errors.jsonl")
    assert done.code == 1
    assert error["error"]["code"] == "schema_mismatch"
    assert error["response"]["status_code"] == 200


async def test_failed_rows_are_kept_and_retried_on_demand(
    gateway: Gateway, foxapi: Any, folder: Path
) -> None:
    """A failed task is an error with its code; only ``retry-failed`` submits it again."""
    await write_lines(
        folder / "in.jsonl",
        [batch_row("ok", "count 1 to 2"), batch_row("bad", "[[fail:content_policy_violation]]")],
    )
    command = ("batch", "run", "in.jsonl", "-o", "out.jsonl")
    done = await foxapi(*command)
    assert done.code == 1
    [error] = await read_lines(folder / "out.jsonl.errors.jsonl")
    assert error["custom_id"] == "bad"
    assert error["error"]["code"] == "content_policy_violation"
    assert error["task_id"].startswith("task-")
    assert (await foxapi(*command)).code == 1
    assert gateway.stats.submits == 2
    retried = await foxapi("batch", "retry-failed", "out.jsonl")
    assert (retried.code, gateway.stats.submits) == (1, 3)
    assert await codes(folder / "out.jsonl.errors.jsonl") == ["content_policy_violation"]
    assert (await foxapi(*command, "--retry-failed")).code == 1
    assert gateway.stats.submits == 4
    assert len(await read_lines(folder / "out.jsonl")) == 1


async def test_unknown_rows_are_an_error_of_their_own(
    serve: Any, foxapi: Any, folder: Path, losing_submits: Any
) -> None:
    """A submission without a response is an error of its own; a rerun sends it by demand only."""
    gateway: Gateway = await serve(losing_submits)
    await write_lines(folder / "in.jsonl", [{"n": 1}, {"n": 2}])
    command = ("batch", "run", "in.jsonl", "-o", "out.jsonl", *PROMPT)
    done = await foxapi(*command)
    assert done.code == 4
    assert done.records[0]["unknown"] == 2
    assert await codes(folder / "out.jsonl.errors.jsonl") == ["outcome_unknown"] * 2
    losing_submits.is_losing = False
    assert (await foxapi(*command)).code == 4
    assert gateway.stats.submits == 2
    assert (await foxapi(*command, "--unknown", "resubmit")).code == 0
    assert gateway.stats.submits == 4
    assert len(await read_lines(folder / "out.jsonl")) == 2


async def test_a_service_that_refuses_is_an_error_that_a_rerun_tries_again(
    serve: Any, foxapi: Any, folder: Path
) -> None:
    """A row that the service refused is an error; the next run submits it again."""
    gateway: Gateway = await serve(faults=["submit:503:nth=1"])
    await write_lines(folder / "in.jsonl", [{"n": 1}])
    command = ("batch", "run", "in.jsonl", "-o", "out.jsonl", *PROMPT)
    first = await foxapi(*command)
    assert first.code in {1, 4}, first
    if first.code == 1:
        assert (await foxapi(*command)).code == 0
        assert gateway.stats.tasks == 1


async def test_too_many_errors_stop_the_run(gateway: Gateway, foxapi: Any, folder: Path) -> None:
    """``--max-errors`` takes no more rows, waits for those in flight, and ends with 6."""
    await write_lines(
        folder / "in.jsonl", [{"n": "[[fail:timeout]]"}] + [{"n": n} for n in range(600)]
    )
    done = await foxapi(
        *("batch", "run", "in.jsonl", "-o", "out.jsonl", *PROMPT),
        *("--max-errors", "0", "--in-flight", "8"),
    )
    assert done.code == 6
    assert done.records[0]["end"] == "errors"
    answered = len(await read_lines(folder / "out.jsonl"))
    assert gateway.stats.tasks == answered + 1 < 601
    assert "--max-errors" in done.err


async def test_limit_and_sample(gateway: Gateway, foxapi: Any, folder: Path) -> None:
    """``--limit`` takes the first rows, ``--sample`` the same random ones each time."""
    await write_lines(folder / "in.jsonl", [{"n": n} for n in range(1, 50)])
    command = ("batch", "run", "in.jsonl", *PROMPT)
    assert (await foxapi(*command, "-o", "a.jsonl", "--limit", "3")).code == 0
    assert sorted(line["n"] for line in await read_lines(folder / "a.jsonl")) == [1, 2, 3]
    chosen: list[list[int]] = []
    for name, seed in (("b", "0"), ("c", "0"), ("d", "1")):
        done = await foxapi(*command, "-o", f"{name}.jsonl", "--sample", "5", "--seed", seed)
        assert done.code == 0
        chosen.append(sorted(line["n"] for line in await read_lines(folder / f"{name}.jsonl")))
    assert chosen[0] == chosen[1] != chosen[2]
    assert gateway.stats.submits == 3 + 3 * 5


async def test_a_dry_run_sends_nothing(
    foxapi: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--dry-run`` needs no key, writes nothing, and shows rows, tokens and first requests."""
    monkeypatch.delenv("FOXAPI_API_KEY", raising=False)
    monkeypatch.setenv("FOXAPI_BASE_URL", "http://127.0.0.1:1")
    await write(folder / "in.csv", "n\n1\n2\n2\n3\n4,5\n")
    command = ("batch", "run", "in.csv", "-o", "out.csv", *PROMPT, "--param", "max_tokens=16")
    done = await foxapi(*command, "--dry-run")
    assert done.code == 0, done.err
    model, *requests, rows = done.records
    assert model["model"] == "gpt-5.5"
    assert (model["rows"], model["max_completion_tokens"]) == (3, 48)
    assert model["prompt_tokens"] == 3 * (4 + 3)
    assert model["credits"] is None
    assert requests[0]["request"] == {
        "model": "gpt-5.5",
        "messages": [{"role": "user", "content": "count 1 to 1"}],
        "max_tokens": 16,
    }
    assert (rows["rows"], rows["duplicates"], rows["invalid"]) == (3, 1, 1)
    assert await names(folder) == {"in.csv"}
    shown = await foxapi(*command, "--dry-run", "--text")
    assert "nothing was sent" in shown.out


async def test_a_dry_run_knows_what_tasks_have_cost(
    gateway: Gateway, foxapi: Any, folder: Path
) -> None:
    """With a journal, the cost follows from what the model's tasks have cost."""
    await write_lines(folder / "in.jsonl", [{"n": n} for n in range(1, 11)])
    command = ("batch", "run", "in.jsonl", "-o", "out.jsonl", *PROMPT)
    assert (await foxapi(*command, "--limit", "2")).code == 0
    done = await foxapi(*command, "--dry-run")
    assert done.records[0]["credits"] == 10
    assert gateway.stats.submits == 2


async def test_progress_is_lines_of_json(gateway: Gateway, foxapi: Any, folder: Path) -> None:
    """``--progress json`` writes a line a second and a last one, before the summary."""
    await write_lines(folder / "in.jsonl", [{"n": n} for n in range(1, 6)])
    done = await foxapi(
        "batch", "run", "in.jsonl", "-o", "out.jsonl", *PROMPT, "--progress", "json"
    )
    *_, last, summary = done.records
    assert last["event"] == "progress"
    assert (last["rows"], last["total"], last["answered"]) == (5, 5, 5)
    assert (last["in_flight"], last["eta_seconds"]) == (0, 0)
    assert last["rows_per_second"] > 0
    assert last["completion_tokens"] > 0
    assert summary["event"] == "summary"
    assert gateway.stats.tasks == 5


async def test_status_and_cost_send_nothing(gateway: Gateway, foxapi: Any, folder: Path) -> None:
    """``status`` and ``cost`` read the files and the journal of a batch."""
    await write_lines(folder / "in.jsonl", [{"n": 1}, {"n": "[[fail:timeout]]"}, "no row"])
    await foxapi("batch", "run", "in.jsonl", "-o", "out.jsonl", *PROMPT)
    submits = gateway.stats.submits
    [status] = (await foxapi("batch", "status", "out.jsonl")).records
    assert (status["answered"], status["state"]) == (1, "done")
    assert status["errors"] == {"timeout": 1, "invalid_row": 1}
    assert status["stages"] == {"completed": 1, "failed": 1}
    [stages] = (await foxapi("batch", "status", "out.jsonl.journal.db")).records
    assert stages["stages"] == status["stages"]
    for target in ("out.jsonl", "out.jsonl.journal.db"):
        [cost] = (await foxapi("batch", "cost", target)).records
        assert (cost["model"], cost["submitted"], cost["completed"]) == ("gpt-5.5", 2, 1)
        assert cost["completion_tokens"] > 0
    assert "completed" in (await foxapi("batch", "status", "out.jsonl", "--text")).out
    assert "gpt-5.5" in (await foxapi("batch", "cost", "out.jsonl", "--text")).out
    assert gateway.stats.submits == submits
    for command in ("status", "cost", "retry-failed"):
        nothing = await foxapi("batch", command, "in.jsonl")
        assert nothing.code == 2
        assert "neither the output" in nothing.err


async def test_the_report_is_one_safe_file(gateway: Gateway, foxapi: Any, folder: Path) -> None:
    """The report has the counts, the errors and a plot, loads nothing and runs nothing."""
    nasty = "<script>alert(1)</script>"
    await write_lines(
        folder / "in.jsonl",
        [batch_row(nasty, f"[[fail:timeout]] {nasty}"), batch_row("b", f"say {nasty}"), nasty],
    )
    done = await foxapi("batch", "run", "in.jsonl", "-o", "out.jsonl", "--report", "r.html")
    assert done.code == 1
    page = await read(folder / "r.html")
    assert "<svg" in page
    assert "invalid_row" in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"<script|<link|<img|<iframe|@import|url\(|\son\w+=", page)
    assert not re.search(r"""(?:src|href)\s*=""", page)
    assert gateway.stats.submits == 2


async def test_stdin_cannot_be_retried(gateway: Gateway, foxapi: Any) -> None:
    """``retry-failed`` of rows that came from stdin says how to give them again."""
    rows = b'{"n":1}\n'
    assert (await foxapi("batch", "run", "-", "-o", "o.jsonl", *PROMPT, stdin=rows)).code == 0
    done = await foxapi("batch", "retry-failed", "o.jsonl")
    assert done.code == 2
    assert "stdin" in done.err
    assert gateway.stats.submits == 1


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("pyarrow", ("in.parquet", "-o", "out.jsonl")),
        ("zstandard", ("in.jsonl.zst", "-o", "out.jsonl")),
        ("jsonschema", ("in.jsonl", "-o", "out.jsonl", "--schema", "s.json")),
    ],
)
async def test_a_missing_extra_is_named(
    gateway: Gateway,
    foxapi: Any,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    arguments: tuple[str, ...],
) -> None:
    """Without a package of the extra, the error says how to install it, and nothing is sent."""
    await write(folder / "s.json", "{}")
    for name in ("in.parquet", "in.jsonl", "in.jsonl.zst"):
        await write(folder / name, b'{"prompt":"x"}\n')
    monkeypatch.setitem(sys.modules, module, None)
    done = await foxapi("batch", "run", *arguments, *MODEL)
    assert (done.code, gateway.stats.submits) == (2, 0)
    assert "python -m pip install 'foxapi-async[batch]'" in done.err


async def test_a_full_disk_loses_nothing(
    gateway: Gateway, foxapi: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An output that cannot be written ends with 74; the next run has it from the journal."""
    await write_lines(folder / "in.jsonl", [{"n": n} for n in range(1, 6)])
    command = ("batch", "run", "in.jsonl", "-o", "out.jsonl", *PROMPT)
    write = os.write

    def write_half(file: int, data: bytes | memoryview) -> int:
        if b"row_id" in bytes(data):
            write(file, bytes(data)[: len(data) // 2])
            raise OSError(28, "No space left on device")
        return write(file, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_half)
        done = await foxapi(*command)
    assert done.code == 74
    assert "No space left on device" in done.err
    assert (await read(folder / "out.jsonl")) == ""
    tasks = gateway.stats.tasks
    assert (await foxapi(*command)).code == 0
    assert len(await read_lines(folder / "out.jsonl")) == 5
    assert gateway.stats.tasks == 5 >= tasks


async def test_the_first_rows_answer_while_stdin_is_open(
    gateway: Gateway, foxapi: Any, folder: Path
) -> None:
    """Rows of a pipe are answered as they come."""
    source = io.BytesIO(b'{"n":1}\n{"n":2}')
    done = await foxapi("batch", "run", "-", "-o", "o.jsonl", *PROMPT, stdin=source.read())
    assert done.code == 0
    assert len(await read_lines(folder / "o.jsonl")) == gateway.stats.tasks == 2


async def test_rows_of_unknown_outcome_can_be_left_out(
    serve: Any, foxapi: Any, folder: Path, losing_submits: Any
) -> None:
    """``--unknown skip`` leaves out what an earlier run left unknown, and answers the others."""
    gateway: Gateway = await serve(losing_submits)
    await write_lines(folder / "in.jsonl", [{"n": 1}])
    command = ("batch", "run", "in.jsonl", "-o", "out.jsonl", *PROMPT)
    assert (await foxapi(*command)).code == 4
    losing_submits.is_losing = False
    await write_lines(folder / "in.jsonl", [{"n": 1}, {"n": 2}])
    done = await foxapi(*command, "--unknown", "skip")
    assert done.code == 0
    assert (done.records[0]["skipped"], done.records[0]["answered"]) == (1, 1)
    assert gateway.stats.submits == 2


async def test_a_refused_account_stops_the_run(serve: Any, foxapi: Any, folder: Path) -> None:
    """A key without credits ends the run with 2 instead of a refusal for each row."""
    gateway: Gateway = await serve(api_keys={"sk-secret-key-of-the-test": 3})
    await write_lines(folder / "in.jsonl", [{"n": n} for n in range(1, 200)])
    command = ("batch", "run", "in.jsonl", "-o", "out.jsonl", *PROMPT)
    done = await foxapi(*command, "--in-flight", "4")
    assert done.code == 2
    assert done.records[0]["end"] == "refused"
    assert "top up the account" in done.err
    assert len(await read_lines(folder / "out.jsonl")) == gateway.stats.tasks == 3
    assert gateway.stats.submits < 20


async def test_a_rate_spreads_the_submits(gateway: Gateway, foxapi: Any, folder: Path) -> None:
    """``--submits-per-minute`` holds back what is above it, and the progress says so."""
    await write_lines(folder / "in.jsonl", [{"n": n} for n in range(1, 41)])
    rates = ("--submits-per-minute", "1200", "--tokens-per-minute", "1e6")
    done = await foxapi(
        "batch", "run", "in.jsonl", "-o", "out.jsonl", *PROMPT, *rates, "--progress", "json"
    )
    assert done.code == 0
    events = [json.loads(line) for line in done.out.splitlines()]
    # Forty at 20 a second, of which five may come at once.
    assert events[-1]["seconds"] >= 35 / 20 - 0.01
    assert max(event.get("submits_queued", 0) for event in events) > 0
    assert gateway.stats.tasks == 40


@pytest.mark.parametrize("option", ["--submits-per-minute", "--tokens-per-minute"])
@pytest.mark.parametrize("value", ["0", "-5", "nan", "inf", "many"])
async def test_a_rate_that_is_no_rate_is_refused(
    gateway: Gateway, foxapi: Any, folder: Path, option: str, value: str
) -> None:
    """Wrong usage: nothing is sent."""
    await write_lines(folder / "in.jsonl", [{"n": 1}])
    done = await foxapi(
        "batch", "run", "in.jsonl", "-o", "out.jsonl", *PROMPT, option, value, "--dry-run"
    )
    assert done.code == 2
    assert option in done.err
    assert gateway.stats.tasks == 0


async def test_a_budget_ends_the_run(gateway: Gateway, foxapi: Any, folder: Path) -> None:
    """``--budget`` sends no more than it allows, and ends with 5; without it the run goes on."""
    await write_lines(folder / "in.jsonl", [{"n": n} for n in range(1, 31)])
    command = ("batch", "run", "in.jsonl", "-o", "out.jsonl", *PROMPT)
    done = await foxapi(*command, "--budget", "tasks=10")
    assert done.code == 5
    assert "--budget" in done.err
    assert len(await read_lines(folder / "out.jsonl")) == 10
    assert gateway.stats.tasks == 10
    # What the journal holds counts.
    assert (await foxapi(*command, "--budget", "tasks=10")).code == 5
    assert gateway.stats.tasks == 10
    assert (await foxapi(*command)).code == 0
    assert gateway.stats.tasks == 30


@pytest.mark.parametrize(
    "budget", ["10", "credits=", "euros=5", "tasks=1,tasks=2", "tasks=1.5", "credits=-1", ""]
)
async def test_a_text_that_is_no_budget_is_refused(
    gateway: Gateway, foxapi: Any, folder: Path, budget: str
) -> None:
    """Nothing is sent, and the text names the option."""
    await write_lines(folder / "in.jsonl", [{"n": 1}])
    done = await foxapi("batch", "run", "in.jsonl", "-o", "out.jsonl", *PROMPT, "--budget", budget)
    assert done.code == 2
    assert "--budget" in done.err
    assert gateway.stats.tasks == 0


@pytest.mark.parametrize(
    "files", [("-o", "none/out.jsonl"), ("-o", "out.jsonl", "--report", "none/report.html")]
)
async def test_a_folder_that_is_missing_costs_nothing(
    gateway: Gateway, foxapi: Any, folder: Path, files: tuple[str, ...]
) -> None:
    """The text names the folder and what to do, before a row is sent."""
    await write_lines(folder / "in.jsonl", [{"n": 1}])
    done = await foxapi("batch", "run", "in.jsonl", *files, *PROMPT)
    assert done.code == 2
    assert "folder none does not exist: create it" in done.err
    assert gateway.stats.tasks == 0
