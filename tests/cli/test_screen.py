"""Whatever is written, nothing steers the terminal and nothing breaks the pipe."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest
from rich.text import Text

from foxapi_async.cli.answer import plain
from foxapi_async.cli.screen import Screen, printable
from foxapi_async.types import ModelInfo, Task


def test_controls_are_not_printed() -> None:
    """What a model writes cannot move the cursor, retitle the window or ring; lines stay lines."""
    assert printable("a\x1b[2Jb\x07c\x9bd\re\n\tf") == "a[2Jbcde\n\tf"


def test_a_terminal_is_shown_no_controls(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal text is cleaned; in a file it is what it was."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    screen = Screen(json=False)
    with screen.out.capture() as shown:
        screen.write("a\x1b]0;b")
        screen.print(Text("c\x1b[2J"))
    assert shown.get() == "a]0;bc[2J\n"
    monkeypatch.delenv("FORCE_COLOR")
    screen = Screen(json=False)
    with screen.out.capture() as shown:
        screen.write("a\x1b]0;b")
    assert shown.get() == "a\x1b]0;b"


def test_records_and_words_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    """A screen shows records or words on stdout, and messages on stderr in both cases."""
    for is_json in (True, False):
        screen = Screen(json=is_json)
        screen.record(text="é")
        screen.print("words")
        screen.note("beside")
        shown = capsys.readouterr()
        assert shown.out == ('{"text": "é"}\n' if is_json else "words\n")
        assert shown.err == "beside\n"


def test_what_is_owed_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever leaves early is told one command for all tasks that are to be waited for."""
    screen = Screen(json=True)
    for task_id in ("task-a", "task-b", "task-c"):
        screen.owe(task_id)
    screen.owe("task-b", lambda: "foxapi stream --task task-b")
    screen.settle("task-a")
    screen.note_owed()
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("foxapi stream --task task-b")
    assert second.endswith("foxapi wait task-c")


def test_any_encoding_will_do(environment: Callable[[], dict[str, str]]) -> None:
    """Records are UTF-8 whatever the locale says, and no text fails to be written."""
    code = (
        "from foxapi_async.cli.screen import Screen, tame_output; tame_output(); "
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
    """A snapshot becomes JSON with the members that the SDK has no name for."""
    task = Task(id="task-a", status="completed")
    assert plain(task)["results"] is None
    assert set(plain(task)) == {
        *("id", "object", "type", "model", "status", "progress", "created", "stream"),
        *("results", "error", "usage", "task_info"),
    }
    assert plain(ModelInfo(id="m", capabilities=("text",))) == {
        "id": "m",
        "object": "model",
        "capabilities": ["text"],
    }
