"""The pieces of an upstream that need no socket: queue, texts, settings."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxapi_async._protocol.mask import Mask
from foxapi_async._wire.request import GenerationRequest, Message
from foxapi_async.errors import ConfigError
from foxapi_async.gateway.models.model import ModelError
from foxapi_async.gateway.models.upstream.chat_request import chat_body
from foxapi_async.gateway.models.upstream.fair_queue import FairQueue
from foxapi_async.gateway.models.upstream.text_pieces import (
    ReasoningSplitter,
    TextJoiner,
    TextMask,
    escape_wrong_bytes,
)
from foxapi_async.gateway.stats import UpstreamStats
from foxapi_async.gateway.upstream_settings import Upstream, load_upstreams, parse_upstreams

URL = "http://127.0.0.1:1/v1"
OTHER = "https://example.org/v1"


def split(text: Any, places: list[int]) -> list[Any]:
    """Split a text or bytes at these places."""
    cuts = sorted({place % (len(text) + 1) for place in places})
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, None], strict=True)]


def separate(pieces: list[str]) -> tuple[str, str]:
    """Split pieces into reasoning and answer."""
    splitter = ReasoningSplitter()
    parts = [*map(splitter.push, pieces), splitter.flush()]
    return "".join(part[0] for part in parts), "".join(part[1] for part in parts)


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("", "", ""),
        ("Hello", "", "Hello"),
        (" \n Hello", "", " \n Hello"),
        ("<think>why</think>Hello", "why", "Hello"),
        ("\n<think>\nwhy\n</think>\n\nHello\n", "why\n", "Hello\n"),
        ("<think></think>{}", "", "{}"),
        ("<think>a </thin b</think> c</think>", "a </thin b", "c</think>"),
        ("<think>cut off </th", "cut off </th", ""),
        ("<thinking>x", "", "<thinking>x"),
        ("<thin", "", "<thin"),
        ("   ", "", "   "),
        (" " * 100 + "<think>x", "", " " * 100 + "<think>x"),
        ("a <think>b</think>", "", "a <think>b</think>"),
    ],
)
@given(places=st.lists(st.integers(0, 200), max_size=12))
def test_reasoning_is_split_the_same_however_it_arrives(
    text: str, reasoning: str, answer: str, places: list[int]
) -> None:
    """Tags that are split between chunks are found, and nothing else is taken for one."""
    pieces = split(text, places)
    if len(text) > 100:
        # White space is held back only so long, so one piece is another matter.
        pieces = [*text]
    assert separate(pieces) == (reasoning, answer)


@given(st.text(alphabet="<>/think \n"), st.lists(st.integers(0, 99), max_size=9))
def test_no_text_is_lost_by_splitting(text: str, places: list[int]) -> None:
    """Each character but white space and one pair of tags is in the reasoning or the answer."""
    reasoning, answer = separate(split(text, places))
    shown = "".join((reasoning + answer).split())
    whole = "".join(text.split())
    assert shown == whole or "<think>" in text


@given(st.text(), st.lists(st.integers(0, 400), max_size=20))
def test_bytes_of_a_text_may_be_split_anywhere(text: str, places: list[int]) -> None:
    """A text whose UTF-8 is split between JSON texts is joined to itself."""
    joiner = TextJoiner()
    pieces: list[str] = []
    for piece in split(text.encode(), places):
        quoted = json.dumps(piece.decode("latin-1"), ensure_ascii=False).encode("latin-1")
        pieces.append(joiner.push(json.loads(escape_wrong_bytes(quoted))))
    assert "".join((*pieces, joiner.flush())) == text


@given(st.binary(), st.lists(st.integers(0, 400), max_size=20))
def test_wrong_bytes_become_replacement_characters(data: bytes, places: list[int]) -> None:
    """Whatever bytes come, the result is a text that can be encoded."""
    joiner = TextJoiner()
    pieces = [
        joiner.push(piece.decode("utf-8", "surrogateescape")) for piece in split(data, places)
    ]
    "".join((*pieces, joiner.flush())).encode()


@pytest.mark.parametrize("key", ["sk-9Qd2-0123456789abcdef", "aaaaaaaabaaaaaaaab", "abcd" * 6])
@given(data=st.data())
def test_a_key_is_masked_however_it_is_split(key: str, data: st.DataObject) -> None:
    """No key is in the joined text, other texts are unchanged, and flushes change neither."""
    parts = [st.just(key), st.integers(1, 15).map(lambda size: key[:size]), st.sampled_from("xyz ")]
    words = data.draw(st.lists(st.one_of(parts), max_size=12))
    text = "".join(words)
    places = data.draw(st.lists(st.integers(0, 400), max_size=20))
    flushes = data.draw(st.sets(st.integers(0, 20)))
    mask = TextMask(Mask(key))
    shown = ""
    for number, piece in enumerate(split(text, places)):
        shown += mask.push(piece)
        if number in flushes:
            shown += mask.flush()
    shown += mask.flush()
    assert key not in shown
    if Mask(key).name(text) == text:
        assert shown == text


@given(st.text(), st.lists(st.integers(0, 99), max_size=9))
def test_without_a_key_nothing_is_held_back(text: str, places: list[int]) -> None:
    """Each piece passes as it is."""
    mask = TextMask(None)
    for piece in split(text, places):
        assert mask.push(piece) == piece
    assert not mask.flush()


async def test_a_slot_goes_to_the_owners_by_turns() -> None:
    """Each owner's tasks keep their order; an owner with many waits no longer than one turn."""
    stats = UpstreamStats(URL)
    queue = FairQueue(1, stats)
    order: list[str] = []

    async def use(name: str) -> None:
        async with queue.slot(name[0]):
            order.append(name)
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(use(name)) for name in ("a1", "a2", "a3", "b1", "c1", "b2")]
    await asyncio.sleep(0)
    assert (stats.running, stats.waiting) == (1, 5)
    await asyncio.gather(*tasks)
    assert order == ["a1", "a2", "b1", "c1", "a3", "b2"]
    assert (stats.running, stats.waiting) == (0, 0)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 6)), max_size=12),
    st.tuples(st.integers(0, 6), st.integers(0, 12)),
)
def test_cancelled_waiters_lose_no_slot(plan: list[tuple[str, int]], fail: tuple[int, int]) -> None:
    """Whenever waiters are cancelled or give up, the others get their slot, and no slot is lost."""

    async def trial() -> None:
        stats = UpstreamStats(URL)
        queue = FairQueue(2, stats)
        peak = 0

        async def use(owner: str, entered: int) -> None:
            nonlocal peak
            async with queue.slot(owner, entered):
                peak = max(peak, stats.running)
                await asyncio.sleep(0)

        tasks = [asyncio.create_task(use(owner, at)) for at, (owner, _) in enumerate(plan)]
        for turn in range(6):
            for task, (_, when) in zip(tasks, plan, strict=True):
                if when == turn:
                    task.cancel()
            if fail[0] == turn:
                queue.fail(fail[1], ModelError("timeout", "too long"))
                assert queue.oldest is None or queue.oldest > fail[1]
            await asyncio.sleep(0)
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, ModelError | asyncio.CancelledError | None) for end in ends)
        assert peak <= 2
        assert (stats.running, stats.waiting) == (0, 0)
        async with queue.slot("x"), queue.slot("y"):
            assert stats.running == 2

    asyncio.run(trial())


def test_members_of_the_request_pass_through() -> None:
    """Only the model, the stream and its options are the gateway's; null stays null."""
    request = GenerationRequest(
        model="gpt-5.5",
        messages=(
            Message(role="user", content="a"),
            Message(role="assistant", content=None, tool_calls=[{"id": "1"}]),
            Message(role="tool", tool_call_id="1", content="b"),
        ),
        stop=["x", "y"],
        seed=7,
        n=2,
        temperature=None,
        sync=False,
        response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": {}}},
        stream_options={"other": 1},
    )
    assert json.loads(chat_body(request, "m")) == {
        "model": "m",
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
            {"role": "tool", "content": "b", "tool_call_id": "1"},
        ],
        "stream": True,
        "stream_options": {"other": 1, "include_usage": True},
        "stop": ["x", "y"],
        "seed": 7,
        "n": 2,
        "temperature": None,
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}},
    }


def test_options_become_upstreams() -> None:
    """With one upstream the options are its own; with several, each names its upstream."""
    (one,) = parse_upstreams([URL + "/"], models=["a=b", "c:7b"], key_envs=["KEY"], concurrency=3)
    assert one == Upstream(url=URL, models={"a": "b", "c:7b": ""}, key_env="KEY", concurrency=3)
    first, second = parse_upstreams(
        [URL, OTHER], models=[f"a=b@{URL}", f"x@y@{OTHER}/"], key_envs=[f"KEY@{OTHER}"], patience=9
    )
    assert first == Upstream(url=URL, models=["a=b"], patience=9)
    assert second == Upstream(url=OTHER, models={"x@y": ""}, key_env="KEY", patience=9)
    assert parse_upstreams([]) == ()


@pytest.mark.parametrize(
    ("urls", "options", "words"),
    [
        ([URL], {}, "has no models; add --upstream-model"),
        ([], {"models": ["a"]}, "--upstream-model needs --upstream URL"),
        ([URL, OTHER], {"models": ["a"]}, "name the upstream"),
        ([URL], {"models": [f"a@{OTHER}"]}, f"there is no --upstream {OTHER}"),
        ([URL], {"models": ["a"], "key_envs": ["A", "B"]}, "several --upstream-key-env"),
        ([URL], {"models": ["a"], "key_envs": ["sk-secret"]}, "name of an environment variable"),
        ([URL], {"models": ["a="]}, "ID=NAME"),
        ([URL], {"models": ["a==b"]}, "'a==b' has several `=`"),
        ([URL], {"models": ["a", "a=b"]}, "'a' is given twice, as 'a' and as 'b'"),
        ([], {"concurrency": 2}, "--upstream-concurrency 2 needs --upstream URL"),
        ([], {"patience": 0.5}, "--upstream-patience 0.5 needs --upstream URL"),
    ],
)
def test_options_that_belong_nowhere_are_explained(
    urls: list[str], options: dict[str, Any], words: str
) -> None:
    """A wrong option names itself and the fix, and shows no key."""
    with pytest.raises(ConfigError) as caught:
        parse_upstreams(urls, **options)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"url": "localhost:1"}, "url must be an http or https URL"),
        ({"url": "ftp://x/v1"}, "url must be"),
        ({"url": "http://"}, "url must be"),
        ({"url": "http://x:99999/v1"}, "url is not a valid URL"),
        ({"url": "http://user:secret@x/v1"}, "must not have a user"),
        ({"url": "http://x/v1?key=secret"}, "must not have a query"),
        ({"url": f"{URL}/chat/completions"}, "leave out /chat/completions"),
        ({"url": 5}, "url must be a URL"),
        ({"models": []}, "at least one model"),
        ({"models": "gpt"}, "models must be"),
        ({"models": [5]}, "models must be"),
        ({"models": {"a": None}}, "models must be"),
        ({"models": {"a": {}}}, "models: put the id"),
        ({"concurrency": 0}, "concurrency must be"),
        ({"concurrency": True}, "concurrency must be"),
        ({"patience": -1}, "patience must be"),
        ({"timeout": 0}, "timeout must be"),
        ({"timeout": float("nan")}, "timeout must be"),
        ({"key_env": "sk-secret"}, "key_env must be the name"),
    ],
)
def test_a_wrong_setting_names_itself(members: dict[str, Any], words: str) -> None:
    """The error says which setting is wrong, and shows neither a password nor a key."""
    with pytest.raises(ConfigError) as caught:
        Upstream(**({"url": URL, "models": ["a"]} | members))
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_file_has_upstreams(tmp_path: Path) -> None:
    """A TOML file has the same settings; a byte order mark is none of them."""
    file = tmp_path / "upstreams.toml"
    file.write_text(
        f'\ufeff[[upstream]]\nurl = "{URL}"\nconcurrency = 2\n[upstream.models]\n"a:text" = "b"\n'
        f'[[upstream]]\nurl = "{OTHER}"\nkey_env = "KEY"\nmodels = ["c"]\n',
        "utf-8",
    )
    assert load_upstreams(file) == (
        Upstream(url=URL, models={"a:text": "b"}, concurrency=2),
        Upstream(url=OTHER, models=["c"], key_env="KEY"),
    )


DOTTED = f'[[upstream]]\nurl = "{URL}"\n[upstream.models]\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "it is not TOML"),
        ("", "it has no [[upstream]] table"),
        ("upstream = 5", "it has no [[upstream]] table"),
        ("upstream = [5]", "[[upstream]] 1 must be a table"),
        ("[[upstreams]]", "there is no 'upstreams'"),
        ('[[upstream]]\nurl = "http://x"', "[[upstream]] 1 needs 'models'"),
        ('[[upstream]]\nmodels = ["a"]', "[[upstream]] 1 needs 'url'"),
        ('[[upstream]]\nurls = "x"', "has no 'urls'"),
        ('[[upstream]]\nurl = "x"\nmodels = ["a"]', "Upstream.url must be"),
        ('[[upstream]]\nurl = "http://x"\nmodels = ["a"]\n' * 2, "given twice"),
        (DOTTED + 'gpt-5.5 = "x"', 'quotes, as in "gpt-5.5" = "NAME"'),
        (DOTTED + 'qwen.2.5-vl = "x"', 'quotes, as in "qwen.2.5-vl" = "NAME"'),
        (DOTTED + 'gpt-5 = "x"\ngpt-5.5 = "y"', "a dot or a colon must be in quotes"),
        (DOTTED + 'qwen3:8b = "x"', "a dot or a colon must be in quotes"),
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, text: str, words: str) -> None:
    """The error names the file and what is wrong in it."""
    file = tmp_path / "upstreams.toml"
    file.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_upstreams(file)
    assert str(file) in str(caught.value)
    assert words in str(caught.value)
