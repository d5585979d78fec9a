"""Laws of one worker: all rows get an answer, errors are values, nothing is left behind."""

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from foxapi_async import ConfigError, JournalError
from foxapi_async.ray import FoxGenerate
from foxapi_async.ray._columns import AnswerColumns
from foxapi_async.ray._row_worker import RowWorker
from foxapi_async.testing import BackgroundGateway
from tests.ray.conftest import KEY, Options

pytestmark = pytest.mark.usefixtures("api_key")

THREAD = "foxapi-sync"


def worker(options: dict[str, Any]) -> RowWorker:
    """Start a worker with options of the users."""
    return RowWorker(FoxGenerate(**options)._options)


def rows(count: int) -> list[dict[str, Any]]:
    """Return rows with ids and texts."""
    return [{"id": number, "text": f"say {number}"} for number in range(count)]


def threads() -> list[str]:
    """Return the names of the threads that workers have started."""
    return [thread.name for thread in threading.enumerate() if thread.name == THREAD]


def test_each_row_is_answered_in_its_place(background: BackgroundGateway, options: Options) -> None:
    """The answers are in the order of the rows, each billed once, also over several batches."""
    made = worker(options(key="id", in_flight=7))
    try:
        first, second = made.answer_all(rows(30)), made.answer_all(rows(50)[30:])
        answers = [*first.result(), *second.result()]
    finally:
        made.close()
    assert [answer.error for answer in answers] == [None] * 50
    for number, answer in enumerate(answers):
        assert f'"say {number}"' in answer.answer
        assert answer.usage is not None
        assert answer.usage["total_tokens"] > 0
    assert sorted(answer.task_id or "" for answer in answers) == sorted(background.billed)
    assert threads() == []


def test_errors_are_values(background: BackgroundGateway, options: Options) -> None:
    """A row that cannot be sent, is refused, or fails has its error and no answer; others go on."""
    background.faults.add("submit:422:nth=1")
    background.faults.add("submit:fail:code=invalid_prompt,nth=2")

    def prompt(row: dict[str, Any]) -> str:
        return row["missing"] if row["id"] == 3 else f"say {row['id']}"

    made = worker(options(prompt=prompt, key="id", in_flight=1))
    try:
        answers = made.answer_all(rows(5)).result()
    finally:
        made.close()
    failed = [answer.error for answer in answers]
    assert [error and error.partition(":")[0] for error in failed] == [
        *("UnprocessableEntityError", "TaskFailedError", None, "KeyError", None)
    ]
    assert [answer.task_id is not None for answer in answers] == [False, True, True, False, True]
    assert [answer.answer is not None for answer in answers] == [False, False, True, False, True]


def test_what_ends_the_session_is_the_error_of_the_other_rows(
    background: BackgroundGateway, options: Options
) -> None:
    """After a key is rejected no row is sent, and each row has that error."""
    background.faults.add("submit:401")
    made = worker(options(key="id", in_flight=2))
    try:
        answers = [*made.answer_all(rows(9)).result(), *made.answer_all(rows(3)).result()]
    finally:
        made.close()
    assert {answer.error and answer.error.partition(":")[0] for answer in answers} == {
        "AuthenticationError"
    }
    assert background.billed == ()


def test_a_closed_worker_answers_with_an_error(
    background: BackgroundGateway, options: Options
) -> None:
    """Rows without an answer, and rows that come later, get an error when the worker is closed."""
    background.faults.add("query:503")
    made = worker(options(key="id"))
    waiting = made.answer_all(rows(3))
    made.close()
    late = made.answer_all(rows(2))
    for answer in (*waiting.result(), *late.result()):
        assert (answer.error or "").startswith("SessionClosedError: the worker was closed")
    assert made.answer_all([]).result() == []
    assert threads() == []


def test_equal_rows_have_one_task(background: BackgroundGateway, options: Options) -> None:
    """Without a key, equal requests share one task, which is billed once."""
    made = worker(options())
    try:
        answers = made.answer_all([{"text": "a"}, {"text": "b"}, {"text": "a"}]).result()
    finally:
        made.close()
    assert answers[0] == answers[2] != answers[1]
    assert len(background.billed) == 2


def test_a_second_worker_finds_the_answers_in_the_journal(
    background: BackgroundGateway, options: Options
) -> None:
    """A worker in place of a lost one has the same answers, and nothing is billed again."""
    found: list[list[AnswerColumns]] = []
    for _ in range(2):
        made = worker(options(key="id"))
        try:
            found.append(made.answer_all(rows(5)).result())
        finally:
            made.close()
    assert found[0] == found[1]
    assert len(background.billed) == 5


def test_json_is_parsed_if_asked(background: BackgroundGateway, options: Options) -> None:
    """With ``parse`` an answer is a JSON value, and one that is no JSON is an error."""
    background.replies.add({"prompt": "say 0", "text": '{"city": "Paris"}'})
    background.replies.add({"prompt": "say 1", "text": "It is Paris."})
    made = worker(options(parse=True, key="id"))
    try:
        good, bad = made.answer_all(rows(2)).result()
    finally:
        made.close()
    assert (good.answer, good.error) == ({"city": "Paris"}, None)
    assert bad.answer is None
    assert (bad.error or "").startswith("OutputValidationError")
    assert bad.usage is not None


def test_a_worker_without_a_key_or_journal_raises(
    options: Options, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A worker whose environment has no API key, or whose journal cannot be opened, raises."""
    with pytest.raises(JournalError):
        worker(options(journal=tmp_path))
    assert threads() == []
    monkeypatch.delenv("FOXAPI_API_KEY")
    with pytest.raises(ConfigError, match="FOXAPI_API_KEY"):
        worker(options())
    assert threads() == []


def test_a_dropped_worker_closes(options: Options) -> None:
    """A worker that is collected closes its session, without a warning, and ends its thread."""
    made = worker(options(key="id"))
    made.answer_all(rows(2)).result()
    assert threads() == [THREAD]
    del made
    gc.collect()
    assert threads() == []


SCRIPT = """
import asyncio, sys
from foxapi_async.ray import FoxGenerate
url, journal = sys.argv[1:]
made = FoxGenerate(model="gpt-5.5", prompt="text", journal=journal, session={"base_url": url})
async def main():
    batch = await made({"text": ["a", "b"]})
    assert list(batch["error"]) == [None, None], batch
asyncio.run(main())
"""


def test_a_process_ends_without_noise(background: BackgroundGateway, tmp_path: Path) -> None:
    """A process that never closes its worker exits with 0, prints nothing, and has written all."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, background.url, tmp_path / "t.db"],
        env=os.environ | {"FOXAPI_API_KEY": KEY},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert len(background.billed) == 2
