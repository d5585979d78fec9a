"""Laws of the options: they pickle, show no secret, and make one request and key of a row."""

import json
import pickle
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from foxapi_async import ConfigError, FoxAPIError, Limits, RequestValidationError, Timeouts
from foxapi_async.ray import FoxGenerate
from foxapi_async.ray._row_options import RowOptions, resolve_journal, shown_journal

SECRET = "sk-secret-0123456789"


def make(**options: Any) -> RowOptions:
    """Build options with a model, and with a prompt if there are no messages."""
    given = {"model": "gpt-5.5", "journal": "tasks.db", **options}
    return FoxGenerate(**(given if "messages" in given else {"prompt": "text", **given}))._options


def fox_generate(**options: Any) -> FoxGenerate:
    """Build the class of the users with a journal."""
    return FoxGenerate(**{"model": "gpt-5.5", "prompt": "text", "journal": "tasks.db", **options})


def test_it_pickles_and_shows_no_secret() -> None:
    """A pickled copy has the same options; neither shows an instruction."""
    made = fox_generate(system=SECRET, session={"timeouts": Timeouts(wait=5)})
    copy = pickle.loads(pickle.dumps(made))
    assert repr(copy) == repr(made)
    assert "gpt-5.5" in repr(made)
    assert SECRET not in repr(made)


def test_a_journal_is_shown_without_a_password() -> None:
    """The repr of options shows where the journal is, and no password in its URL."""
    shown = shown_journal(f"postgresql://me:{SECRET}@db/fox?password={SECRET}&connect_timeout=5")
    assert shown == "postgresql://...@db/fox?password=...&connect_timeout=5"


def test_an_api_key_is_refused() -> None:
    """An API key is no option, neither of its own nor of the session; the text does not show it."""
    for options in ({"api_key": SECRET}, {"session": {"api_key": SECRET}}):
        with pytest.raises(ConfigError, match="FOXAPI_API_KEY in the environment") as raised:
            fox_generate(**options)
        assert SECRET not in str(raised.value)


def test_without_a_journal_it_warns() -> None:
    """Options without a journal warn that a lost worker bills rows twice."""
    with pytest.warns(RuntimeWarning, match="no journal.*billed again"):
        FoxGenerate(model="gpt-5.5", prompt="text")


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        ({"promt": "text"}, TypeError, "promt"),
        ({"temperature": "hot"}, RequestValidationError, "temperature"),
        ({"prompt": None}, TypeError, "either prompt= or messages="),
        ({"messages": "messages"}, TypeError, "either prompt= or messages="),
        ({"prompt": 5}, ConfigError, "prompt= must be the name of a column"),
        ({"unknown": "again"}, ConfigError, "unknown="),
        ({"timeout": -1}, ConfigError, "timeout="),
        ({"attempts": 0}, ConfigError, "attempts="),
        ({"in_flight": 0}, ConfigError, "in_flight="),
        ({"limits": 5}, ConfigError, "limits"),
        ({"session": {"http": None}}, ConfigError, "'http'"),
        ({"session": {"timeouts": 5}}, ConfigError, "timeouts"),
        ({"journal": b"tasks.db"}, ConfigError, "journal"),
        ({"prefix": 5}, ConfigError, "prefix="),
    ],
)
def test_what_cannot_work_is_refused_at_once(
    wrong: dict[str, Any], error: type[Exception], text: str
) -> None:
    """A wrong option raises in the driver, where it is given, and not in a worker."""
    with pytest.raises(error, match=text):
        fox_generate(**wrong)


def test_a_path_means_the_same_file_in_each_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path becomes absolute; a URL and a query stay as they are."""
    monkeypatch.chdir(tmp_path)
    assert resolve_journal("tasks.db?synchronous=full") == f"{tmp_path}/tasks.db?synchronous=full"
    assert resolve_journal(Path("tasks.db")) == f"{tmp_path}/tasks.db"
    assert resolve_journal("postgresql://db/fox") == "postgresql://db/fox"


def test_a_row_becomes_a_request() -> None:
    """Columns, functions of the row and constant values become the keywords of a submit."""
    options = make(
        model=lambda row: row["model"],
        system="Be brief.",
        key="id",
        temperature=0.5,
        max_tokens=itemgetter("size"),
    )
    request = options.request({"id": 7, "text": "hello", "model": "kimi-k2.6", "size": 9})
    assert request.key == "7"
    assert request.params == {
        "model": "kimi-k2.6",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hello"},
        ],
        "temperature": 0.5,
        "max_tokens": 9,
    }
    assert "hello" not in repr(request)


@pytest.mark.parametrize("write", [lambda value: value, json.dumps])
def test_messages_are_a_list_or_json(write: Any) -> None:
    """A column of messages has lists, or their JSON texts."""
    messages = [{"role": "user", "content": "hello"}]
    request = make(messages="chat").request({"chat": write(messages)})
    assert request.params["messages"] == messages


@pytest.mark.parametrize(
    ("options", "row", "text"),
    [
        ({}, {"text": None}, "prompt.*column 'text' has no value"),
        ({}, {"text": ""}, "prompt.*column 'text' has no value"),
        ({"prompt": lambda _row: None}, {"text": "a"}, "the function has no value"),
        ({"key": "id"}, {"text": "a", "id": None}, "key.*column 'id' has no value"),
        ({"key": "id"}, {"text": "a", "id": 0.5}, "key.*float"),
        ({"messages": "chat"}, {"chat": "hello"}, "messages.*no JSON"),
        ({"messages": "chat"}, {"chat": 5}, "messages.*int"),
    ],
)
def test_a_row_without_a_request_is_an_error(
    options: dict[str, Any], row: dict[str, Any], text: str
) -> None:
    """A row whose prompt, messages or key are missing or wrong raises an error of the package."""
    with pytest.raises(FoxAPIError, match=text):
        make(**options).request(row)


def test_the_default_key_names_the_request() -> None:
    """The default key is a hash of input and parameters: it ignores other columns and positions."""
    hot, cold = make(temperature=1.0), make(temperature=0.0)
    key = hot.request({"text": "a", "id": 1}).key
    assert hot.request({"text": "a", "id": 2}).key == key
    others = {hot.request({"text": "b"}).key, cold.request({"text": "a"}).key}
    assert len({key, *others}) == 3
    assert len(key) == 32


def test_only_the_needed_columns_are_read() -> None:
    """The named columns are read, or all of them if a value is a function of the row."""
    assert make(key="id").columns == ("text", "id")
    assert not make(key="id", limits=Limits()).reads_all_columns
    assert make(temperature=lambda row: row["heat"]).reads_all_columns
    assert not make(response_format=list[int]).reads_all_columns
