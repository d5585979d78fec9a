"""What an entry says that its task has used."""

import msgspec
import pytest

from foxapi_async.journal import Entry, EntryId, EntryUsage, Stage


def entry(task: bytes | None) -> Entry:
    """Return a finished entry."""
    return Entry(
        id=EntryId(run="r", number=1),
        service="https://api.foxapi.cc",
        key=None,
        model="gpt-5.5",
        fingerprint="0" * 32,
        stage=Stage.COMPLETED,
        sent_at=0.0,
        task=task,
    )


def test_an_entry_sums_the_tokens_of_all_results() -> None:
    """Consumed credits win over reserved ones, and each result counts."""
    task = msgspec.json.encode(
        {
            "usage": {"credits_reserved": 9, "credits_consumed": 2.5},
            "results": [
                {"usage": {"prompt_tokens": 3, "completion_tokens": 4}},
                {"usage": {"prompt_tokens": 0, "completion_tokens": 5}},
                {"usage": None},
            ],
        }
    )
    usage = EntryUsage(credits=2.5, prompt_tokens=3, completion_tokens=9)
    assert entry(task).read_usage() == usage


@pytest.mark.parametrize("task", [None, b"", b"[]", b"{", b"\xff", b'{"usage":3}', b"[" * 9999])
def test_a_task_that_cannot_be_read_says_nothing(task: bytes | None) -> None:
    """No error: a sum over a journal goes on."""
    assert entry(task).read_usage() == EntryUsage()


def test_negative_numbers_are_not_said() -> None:
    """They would make room in a budget."""
    result = {"usage": {"prompt_tokens": -3, "completion_tokens": -1}}
    task = msgspec.json.encode({"usage": {"credits_consumed": -2}, "results": [result]})
    assert entry(task).read_usage() == EntryUsage()
