"""The simulated models."""

import json
from itertools import groupby
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxapi_async._wire.base import encode
from foxapi_async._wire.chunk import Delta, delta_decoder
from foxapi_async._wire.completion import ChatCompletion, decode_completion
from foxapi_async._wire.request import GenerationRequest, request_decoder
from foxapi_async.gateway.models.prompt import count_tokens, cut_at_stop, split_tokens
from foxapi_async.gateway.models.script import Script
from foxapi_async.gateway.models.simulate import simulate

WORDS = st.sampled_from(["count", "1", "to", "7", "hello", "世界", "🦊", "a\nb", '"', "été", "12"])
PROMPTS = st.one_of(
    st.lists(WORDS, max_size=30).map(" ".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
)
MODELS = st.sampled_from(["gpt-5.5", "kimi-k2.6", "claude-opus-4-7", "gemini-3-pro-preview"])
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"properties": {"city": {}}}}}
    for name in ("weather", "time")
]
NAMED = {"type": "function", "function": {"name": "time"}}
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "max_tokens": st.integers(16, 60) | st.none(),
        "max_completion_tokens": st.integers(0, 60),
        "n": st.integers(1, 4),
        "stop": st.sampled_from(["3", ",", [".", "!"], [], "you", ""]),
        "response_format": st.sampled_from([{"type": "json_object"}, {"type": "text"}]),
        "tool_choice": st.sampled_from(["auto", "none", "required", NAMED]),
        "stream_options": st.sampled_from([{"include_usage": True}, {}, None]),
    },
)


def build(prompt: Any = "count 1 to 3", **members: Any) -> GenerationRequest:
    """Build a request as the gateway decodes it."""
    body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": prompt}]} | members
    return request_decoder.decode(msgspec.json.encode(body))


def simulated(request: GenerationRequest) -> Script:
    """Return the script of the answer."""
    return simulate(request, completion_id="chatcmpl-1", created=1_776_874_565)


def answer(prompt: Any = "count 1 to 3", **members: Any) -> ChatCompletion:
    """Return the completion as a client decodes it from the task."""
    script = simulated(build(prompt, **members))
    assert script.error is None
    return decode_completion(msgspec.Raw(encode(script.completion)))


def chunks(script: Script) -> list[Delta]:
    """Return the chunks as a client decodes them; unknown members are an error."""
    return [delta_decoder.decode_strict(encode(step.delta)) for step in script.chunks()]


def joined(stream: list[Delta], index: int, member: str) -> str:
    """Join the parts of one member of one choice."""
    return "".join(
        getattr(choice.delta, member) or ""
        for chunk in stream
        for choice in chunk.choices
        if choice.index == index
    )


def joined_arguments(stream: list[Delta], index: int) -> str:
    """Join the parts of the arguments of a tool call."""
    return "".join(
        piece.function.arguments or ""
        for chunk in stream
        for choice in chunk.choices
        if choice.index == index and choice.delta is not None
        for piece in choice.delta.tool_calls or ()
        if piece.function is not None
    )


@given(text=st.text())
def test_tokens_lose_nothing(text: str) -> None:
    """The tokens of a text are its words, and joined they are the text."""
    assert "".join(split_tokens(text)) == text
    assert len(split_tokens(text)) == count_tokens(text) or text.isspace()


@given(text=st.text("abc"), stops=st.lists(st.text("abc", max_size=3)))
def test_a_text_ends_before_the_first_stop(text: str, stops: list[str]) -> None:
    """A text is cut before the first stop and nowhere else."""
    cut = cut_at_stop(text, stops)
    assert text.startswith(cut)
    assert not any(stop and stop in cut for stop in stops)
    assert cut == text or any(stop and text.startswith(stop, len(cut)) for stop in stops)


@given(prompt=PROMPTS, model=MODELS, options=OPTIONS)
def test_the_stream_equals_the_stored_completion(
    prompt: str, model: str, options: dict[str, Any]
) -> None:
    """For each choice the chunks add up to the stored text or call, and end with its reason."""
    script = simulated(build(prompt, model=model, tools=TOOLS, **options))
    stream = chunks(script)
    stored = decode_completion(msgspec.Raw(encode(script.completion)))
    assert len(stored.choices) == options.get("n", 1)
    for choice in stored.choices:
        calls = choice.message.tool_calls or ()
        assert joined(stream, choice.index, "content") == (choice.message.content or "")
        assert joined_arguments(stream, choice.index) == "".join(
            call.function.arguments for call in calls
        )
        assert choice.message.reasoning_content is None
        own = [part for chunk in stream for part in chunk.choices if part.index == choice.index]
        assert [bool(part.delta and part.delta.role) for part in own] == [True] + [False] * (
            len(own) - 1
        )
        assert [part.finish_reason for part in own] == [None] * (len(own) - 1) + [
            choice.finish_reason
        ]
        assert (choice.finish_reason == "tool_calls") <= bool(calls)


@given(prompt=PROMPTS, model=MODELS, options=OPTIONS)
def test_no_choice_takes_more_tokens_than_allowed(
    prompt: str, model: str, options: dict[str, Any]
) -> None:
    """Reasoning and answer together stay within both limits; only a cut gives ``length``."""
    script = simulated(build(prompt, model=model, tools=TOOLS, **options))
    limits = [options.get("max_tokens"), options.get("max_completion_tokens")]
    limit = min((value for value in limits if value is not None), default=10**9)
    whole = simulated(
        build(
            prompt,
            model=model,
            tools=TOOLS,
            **options | dict.fromkeys(["max_tokens", "max_completion_tokens"]),
        )
    )
    for turn, uncut in zip(script.choices, whole.choices, strict=True):
        assert turn.length == min(limit, uncut.length)
        assert (turn.finish_reason == "length") == (uncut.length > limit)
        assert "".join((*uncut.thinking, *uncut.pieces)).startswith(
            "".join((*turn.thinking, *turn.pieces))
        )


@given(prompt=PROMPTS, model=MODELS, options=OPTIONS)
def test_usage_adds_up(prompt: str, model: str, options: dict[str, Any]) -> None:
    """Usage counts words, is sent at the end of a stream that asks for it, and is stored."""
    script = simulated(build(prompt, model=model, tools=TOOLS, **options))
    usage = script.completion.usage
    assert usage is not None
    assert usage.prompt_tokens == len(prompt.split())
    assert usage.completion_tokens == sum(turn.length for turn in script.choices)
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    thinking = sum(len(turn.thinking) for turn in script.choices)
    assert (usage.completion_tokens_details or {}).get("reasoning_tokens", 0) == thinking
    assert (usage.completion_tokens_details is not None) == (model == "kimi-k2.6")
    stream = chunks(script)
    wanted = bool((options.get("stream_options") or {}).get("include_usage"))
    assert [chunk.usage is not None for chunk in stream] == [False] * (len(stream) - wanted) + [
        True
    ] * wanted
    if wanted:
        assert stream[-1].choices == ()
        assert encode(stream[-1].usage) == encode(
            msgspec.convert(msgspec.to_builtins(usage), type(stream[-1].usage))
        )


@given(prompt=PROMPTS, model=MODELS, options=OPTIONS)
def test_an_answer_is_the_same_each_time(prompt: str, model: str, options: dict[str, Any]) -> None:
    """The same request has the same answer."""
    request = build(prompt, model=model, tools=TOOLS, **options)
    assert list(simulated(request).chunks()) == list(simulated(request).chunks())


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("count 1 to 3", "1, 2, 3"),
        ("Please COUNT from 5 to 9!", "5, 6, 7, 8, 9"),
        ("count 10 to 7", "10, 9, 8, 7"),
        ("count down from 3 to 0", "3, 2, 1, 0"),
        ("count to 4", "1, 2, 3, 4"),
        ("count up to 2", "1, 2"),
        ("count -2 to 2", "-2, -1, 0, 1, 2"),
        ("count 1-3", "1, 2, 3"),
        ("count 1..3", "1, 2, 3"),
        ("count 0 to 10 by 5", "0, 5, 10"),
        ("count 10 to 0 in steps of 4", "10, 6, 2"),
        ("count 1 to 9 by 0", "1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ("count 7 through 7", "7"),
    ],
)
def test_models_can_count(prompt: str, said: str) -> None:
    """A model that is asked to count does so, forwards or backwards."""
    assert answer(prompt).text == said


def test_counting_is_limited() -> None:
    """At most a thousand numbers are counted, and numbers with too many digits are not."""
    assert answer("count 1 to 999999999").text.endswith(" 999, 1000")
    assert "You wrote" in answer("count 1 to 9999999999999999").text
    assert "You wrote" in answer("I count on my account 1 to 3").text


def test_a_reply_quotes_the_prompt_exactly() -> None:
    """A reply repeats the words of the prompt in any script."""
    prompt = 'Grüße 世界 🦊 "quoted" \u200d{json}'
    assert f'"{prompt}"' in answer(prompt).text
    assert "…" in answer("word " * 100).text
    assert len(answer("x" * 100_000).text) < 1000
    assert "no text" in answer("").text


def test_choices_differ() -> None:
    """Several choices are several answers."""
    completion = answer("tell me something", n=4)
    assert len({choice.message.content for choice in completion.choices}) == 4


def test_choices_take_turns() -> None:
    """The chunks of several choices are interleaved, one of each at a time."""
    stream = chunks(simulated(build(n=3)))
    assert [chunk.choices[0].index for chunk in stream] == [0, 1, 2] * 4


def test_media_are_named() -> None:
    """A reply names the media of the prompt."""
    url = {"url": "https://example.com/a"}
    blocks: list[dict[str, Any]] = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": url},
        {"type": "file_url", "file_url": url},
        {"type": "image_url", "image_url": url},
    ]
    text = answer(blocks, model="gemini-3-pro-preview").text
    assert '"what is this?"' in text
    assert "your 2 images and your file" in text
    assert "your recording" in answer([{"type": "audio_url", "audio_url": url}]).text


def test_the_last_question_is_answered() -> None:
    """The last user message is answered, and the result of a tool after it is quoted."""
    messages = [
        {"role": "system", "content": "count 1 to 2"},
        {"role": "user", "content": "count 1 to 3"},
        {"role": "assistant", "content": "1, 2, 3"},
        {"role": "user", "content": "and the weather?"},
    ]
    completion = answer(messages=messages)
    assert '"and the weather?"' in completion.text
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == 14
    messages.append({"role": "tool", "content": "sunny, 21 degrees", "tool_call_id": "call_1"})
    assert "sunny, 21 degrees" in answer(messages=messages).text


def test_kimi_streams_reasoning_first() -> None:
    """kimi-k2.6 streams its reasoning first, and the stored completion has none of it."""
    script = simulated(build("count 1 to 3", model="kimi-k2.6"))
    kinds = [
        "thinking" if choice.delta and choice.delta.reasoning_content else "answer"
        for chunk in chunks(script)
        for choice in chunk.choices
    ]
    assert [kind for kind, _ in groupby(kinds)] == ["thinking", "answer"]
    assert [step.is_thinking for step in script.chunks()] == [kind == "thinking" for kind in kinds]
    assert b"reasoning_content" not in encode(script.completion)
    assert answer("count 1 to 3", model="kimi-k2.6").text == "1, 2, 3"


def test_kimi_may_store_an_empty_text() -> None:
    """When ``max_tokens`` ends within the reasoning, the stored content is empty (seed)."""
    script = simulated(build("count 1 to 3", model="kimi-k2.6", max_tokens=5))
    stored = json.loads(encode(script.completion))["choices"][0]
    assert stored == {
        "index": 0,
        "message": {"role": "assistant", "content": ""},
        "finish_reason": "length",
    }
    assert len(joined(chunks(script), 0, "reasoning_content").split()) == 5
    assert joined(chunks(script), 0, "content") == ""


def test_other_models_have_no_reasoning() -> None:
    """Other models stream no reasoning and report no reasoning tokens."""
    for model in ("gpt-5.4", "claude-opus-4-6", "gemini-3.1-pro-preview"):
        assert simulated(build(model=model)).thinking_tokens == 0


def test_a_call_is_streamed_as_openai_does() -> None:
    """The first piece has id, type, name and empty arguments; the arguments follow in pieces."""
    script = simulated(build("hi", tools=TOOLS, tool_choice="required"))
    first, *pieces, last = [json.loads(encode(step.delta)) for step in script.chunks()]
    delta = first["choices"][0]["delta"]
    call = delta["tool_calls"][0]
    assert delta["role"] == "assistant"
    assert call == {
        "index": 0,
        "id": call["id"],
        "type": "function",
        "function": {"name": "weather", "arguments": ""},
    }
    for piece in pieces:
        (part,) = piece["choices"][0]["delta"]["tool_calls"]
        assert set(part) == {"index", "function"}
        assert set(part["function"]) == {"arguments"}
    assert last["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("choice", "name"), [("required", "weather"), (NAMED, "time"), ("auto", None), ("none", None)]
)
def test_a_required_tool_is_called(choice: Any, name: str | None) -> None:
    """``required`` calls the first tool; a named tool is called; else the model writes text."""
    completion = answer("hi", tools=TOOLS, tool_choice=choice)
    calls = completion.message.tool_calls
    if name is None:
        assert calls is None
        assert completion.text
        return
    assert calls is not None
    assert completion.message.content is None
    assert completion.finish_reason == "tool_calls"
    (call,) = calls
    assert call.function.name == name
    assert set(json.loads(call.function.arguments)) == {"city"}


@pytest.mark.parametrize("tools", [None, [], TOOLS])
def test_an_unknown_tool_fails_the_task(tools: Any) -> None:
    """Requiring a tool that the request lacks ends in an error that says so."""
    missing = {"type": "function", "function": {"name": "missing"}}
    script = simulated(build(tools=tools, tool_choice=missing))
    assert script.error is not None
    assert "tool_choice" in script.error.message
    assert list(script.chunks()) == []


def test_response_format_gives_json() -> None:
    """``json_object`` gives an object with the answer, ``json_schema`` a matching value."""
    text = answer("count 1 to 3", response_format={"type": "json_object"}).text
    assert json.loads(text) == {"answer": "1, 2, 3"}
    schema = {"type": "object", "properties": {"days": {"type": "integer", "minimum": 5}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert json.loads(answer(response_format=wanted).text) == {"days": 5}


def test_an_unsatisfiable_schema_fails_the_task() -> None:
    """A schema without a matching value ends in an error, not in a wrong answer."""
    wanted = {"type": "json_schema", "json_schema": {"schema": {"enum": []}}}
    script = simulated(build(response_format=wanted))
    assert script.error is not None
    assert script.error.code == "generation_failed"


def test_a_prompt_can_request_a_failure() -> None:
    """``[[fail:code]]`` fails the task with that code, after the number of tokens that it gives."""
    script = simulated(build("now [[fail:model_unavailable]]"))
    assert script.error is not None
    assert (script.error.code, script.error.type) == ("model_unavailable", "task_error")
    assert list(script.chunks()) == []
    assert len(list(simulated(build("[[fail:something_new:2]]")).chunks())) == 2
