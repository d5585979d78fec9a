"""Laws of what objects show of themselves: readable, bounded, escaped, and hidden on request."""

import json
import pickle
from html.parser import HTMLParser
from typing import Any

import pytest
import rich.console
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from foxapi_async import ChatCompletion, Delta, Task
from foxapi_async._wire.chunk import DeltaChoice, DeltaMessage
from foxapi_async._wire.completion import decode_completion
from foxapi_async._wire.display import html_card, shown_text
from foxapi_async._wire.request import GenerationRequest, Message
from foxapi_async._wire.task import task_decoder

SCRIPT = "<script>alert('secret')</script>"
VOID = {"progress"}


class Tags(HTMLParser):
    """Collects the tags and the text of HTML, and checks that every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag; no attribute may be a handler of events."""
        assert not [name for name, _ in attrs if name.startswith("on")]
        self.seen.add(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost tag."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note a text."""
        self.text += data


def completion(text: str) -> ChatCompletion:
    """Return the completion of a stored result."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    return decode_completion(Raw(json.dumps({"model": "m", "choices": [choice]}).encode()))


def task(*results: Any, **members: Any) -> Task:
    """Return a task with results."""
    whole = {"id": "task-1", "model": "m", "status": "completed", "results": results, **members}
    return task_decoder.decode(json.dumps(whole).encode())


def test_a_completion_shows_its_text() -> None:
    """``repr`` and ``str`` show the beginning of the text on one line."""
    shown = repr(completion("Paris\nis the capital"))
    assert shown == str(completion("Paris\nis the capital"))
    assert r"text='Paris\nis the capital'" in shown
    assert len(repr(completion("x" * 100_000))) < 250
    assert repr(ChatCompletion()).endswith("text=''>")
    assert repr(pickle.loads(pickle.dumps(completion("Paris")))) == repr(completion("Paris"))


def test_a_task_shows_its_results() -> None:
    """The text of a completion, the URL of a file, and the JSON of anything else."""
    choice = {"index": 0, "message": {"content": "1, 2, 3"}}
    assert "results='1, 2, 3'" in repr(task({"choices": [choice]}))
    assert "results='https://x/1.png' 'https://x/2.png'" in repr(
        task({"url": "https://x/1.png"}, {"url": "https://x/2.png"})
    )
    assert """results='{"a": 1}'""" in repr(task({"a": 1}))
    assert "results='text'" in repr(task("text"))
    failed = task(status="failed", results=None, error={"message": "secret", "code": "timeout"})
    assert "error='timeout'" in repr(failed)
    assert "secret" not in repr(failed)


@given(st.recursive(st.none() | st.integers() | st.text(), st.lists))
def test_any_result_is_shown(result: Any) -> None:
    """Whatever a result is, ``repr`` and HTML show it, within bounds."""
    shown = task(result, {"choices": result}, {"choices": [{"message": result}]}, {"url": result})
    assert len(repr(shown)) < 2000
    Tags(shown._repr_html_())


@given(st.text(), st.text(), st.text())
def test_html_has_no_tag_of_a_text(title: str, name: str, text: str) -> None:
    """Titles, names, values and texts are escaped."""
    tags = Tags(html_card(title + SCRIPT, [(name + SCRIPT, text + SCRIPT)], text=text + SCRIPT))
    assert tags.seen == {"div", "strong", "table", "tr", "th", "td", "pre"}
    assert tags.text.count(SCRIPT) == 4


def test_an_answer_is_escaped_in_html() -> None:
    """A script in an answer is text, also in a task."""
    choice = {"index": 0, "message": {"content": SCRIPT}}
    for shown in (completion(SCRIPT), task({"choices": [choice]})):
        tags = Tags(shown._repr_html_())
        assert "script" not in tags.seen
        assert SCRIPT in tags.text
    assert len(completion("x" * 100_000)._repr_html_()) < 12_000


def test_private_hides_every_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``FOXAPI_REPR=private`` nothing shows a prompt or an answer, rich and HTML included."""
    monkeypatch.setenv("FOXAPI_REPR", "private")
    choice = {"index": 0, "message": {"content": "secret"}}
    whole = completion("secret")
    delta = Delta(choices=(DeltaChoice(delta=DeltaMessage(content="secret")),))
    objects: list[Any] = [
        whole,
        whole.message,
        whole.choices,
        task({"choices": [choice]}),
        task("secret"),
        Message(role="user", content="secret"),
        GenerationRequest(model="m", messages=(Message(role="user", content="secret"),)),
        delta,
    ]
    console = rich.console.Console(file=None, width=200)
    for shown in objects:
        assert "secret" not in repr(shown) + str(shown)
        assert "secret" not in getattr(shown, "_repr_html_", str)()
        with console.capture() as printed:
            console.print(shown)
        assert "secret" not in printed.get()
    assert "text=<6 characters>" in repr(whole)


def test_a_long_text_is_cut() -> None:
    """``repr`` shows eighty characters at most, the last of them an ellipsis."""
    assert shown_text("x" * 80) == repr("x" * 80)
    assert shown_text("x" * 81) == repr("x" * 79 + "…")
