"""Laws of the output: no text controls the terminal, and any text can be written."""

import json
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from rich.text import Text

from foxapi_async.cli.output import Screen, printable
from foxapi_async.cli.render import key_values, table
from foxapi_async.types import ModelInfo, Task

# Characters that a terminal obeys, hides, or shows in another order.
TRICKS = [
    *map(chr, (*range(9), *range(11, 32), *range(0x7F, 0xA0), *range(0x2028, 0x202F))),
    *"\u061c\u200b\u200e\u200f\u2060\u2066\u2067\u2068\u2069\ufeff\xad\u3164\U000e0041\udce9",
]


@pytest.mark.parametrize("trick", TRICKS, ids=ascii)
def test_what_is_not_seen_is_escaped(trick: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No control, override or invisible character is printed raw; JSON stays the same JSON."""
    assert trick not in printable(f"a{trick}b")
    assert printable(f"a{trick}b").startswith("a\\")
    Screen(json=True).record(text=f"a{trick}b")
    line = capsys.readouterr().out
    assert line.isprintable() or line.rstrip("\n").isprintable()
    assert json.loads(line) == {"text": f"a{trick}b"}


def test_spelling_is_shown_as_it_is() -> None:
    """Newlines, tabs, accents, and joiners in a word or emoji stay; other joiners are escaped."""
    spelt = "a\n\té 你好 می\u200cشود 👩\u200d🚀"
    assert printable(spelt) == spelt
    assert printable("a\r\nb") == "a\nb"
    assert printable("pay\u200cpal \u200d") == r"pay\u200cpal \u200d"


@pytest.mark.parametrize("width", ["0", "1", "-5", "\xb2", "9" * 30, "wide", ""])
def test_a_strange_width_hides_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: str
) -> None:
    """With any COLUMNS and LINES the text is written unchanged on one line."""
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setenv("LINES", width)
    screen = Screen(json=False)
    screen.write("one ")
    screen.print("two three")
    screen.note("beside")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("one two three\n", "beside\n")


def test_a_cell_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a narrow terminal no id and no JSON is cut, wrapped or padded."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "20")
    screen = Screen(json=False)
    task_id, value = "task-llm-1776874565-yq3szvcu", '{"text": "a  b", "is": [1, 2, 3]}'
    with screen.out.capture() as shown:
        screen.print(table(["task", "say"], [[task_id, value], ["你好", "a\nb\x1b[2J"]]))
        screen.print(key_values({"id": task_id, "nothing": "", "answer": value}))
    lines = re.sub(r"\x1b\[\d*m", "", shown.get()).splitlines()
    width = len(task_id)
    assert lines == [
        f"{'task':<{width}}  say",
        f"{task_id}  {value}",
        f"你好{'':<{width - 4}}  a\\nb\\x1b[2J",
        f"id       {task_id}",
        f"answer   {value}",
    ]


def test_a_terminal_is_shown_no_controls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets escapes for control characters; a file gets the text unchanged."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    screen = Screen(json=False)
    with screen.out.capture() as shown:
        screen.write("a\x1b]0;b")
        screen.print(Text("c\x1b[2J"))
    assert shown.get() == "a\\x1b]0;bc\\x1b[2J\n"
    monkeypatch.delenv("FORCE_COLOR")
    screen = Screen(json=False)
    with screen.out.capture() as shown:
        screen.write("a\x1b]0;b")
    assert shown.get() == "a\x1b]0;b"


def test_records_and_words_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    """A screen writes records or text to stdout, and messages to stderr in both cases."""
    for is_json in (True, False):
        screen = Screen(json=is_json)
        screen.record(text="é")
        screen.print("words")
        screen.note("beside")
        shown = capsys.readouterr()
        assert shown.out == ('{"text": "é"}\n' if is_json else "words\n")
        assert shown.err == "beside\n"


def test_pending_tasks_share_one_command(capsys: pytest.CaptureFixture[str]) -> None:
    """An interrupted command prints one command for all tasks that are left."""
    screen = Screen(json=True)
    for task_id in ("task-a", "task-b", "task-c"):
        screen.remember(task_id)
    screen.remember("task-b", lambda: "foxapi stream --task task-b")
    screen.forget("task-a")
    screen.print_pending()
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("foxapi stream --task task-b")
    assert second.endswith("foxapi wait task-c")


def test_any_encoding_will_do(environment: Callable[[], dict[str, str]]) -> None:
    """Records are UTF-8 in any locale, and any text can be written."""
    code = (
        "from foxapi_async.cli.output import Screen, configure_output; configure_output(); "
        r"s = Screen(); s.record(text='é\udce9'); s.note('é')"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=environment() | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"},
        capture_output=True,
        check=True,
    )
    assert "é".encode() in done.stdout
    assert json.loads(done.stdout) == {"text": "é\udce9"}


def test_what_the_service_sent_is_plain_json() -> None:
    """``to_dict`` of a snapshot has every member that the SDK names, as plain JSON."""
    task = Task(id="task-a", status="completed")
    members = task.to_dict()
    assert members["results"] is None
    assert set(members) == {
        *("id", "object", "type", "model", "status", "progress", "created", "stream"),
        *("results", "error", "usage", "task_info"),
    }
    assert ModelInfo(id="m", capabilities=("text",)).to_dict() == {
        "id": "m",
        "object": "model",
        "capabilities": ["text"],
    }
