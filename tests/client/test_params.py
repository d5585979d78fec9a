"""Laws of what may be submitted, before anything is sent."""

import inspect
import math
import pickle
import pydoc
from collections import UserDict, deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any

import msgspec
import numpy as np
import pydantic
import pytest

from foxapi_async import RequestValidationError
from foxapi_async._client.llm import LLM
from foxapi_async._client.params import (
    PROMPT_FORMS,
    LLMParams,
    SubmitParams,
    build_request,
    validate,
)
from foxapi_async._wire.completion import CompletionMessage, decode_completion
from foxapi_async._wire.media_request import encode_submit
from foxapi_async._wire.request import GenerationRequest, Message, PromptRequest, member_names
from foxapi_async.content import text

DESCRIPTION = "tools[0].function.description"
BASIC: dict[str, Any] = {"model": "gpt-5.5", "messages": "hello"}


def body(**params: Any) -> dict[str, Any]:
    """Return the JSON that is sent for ``params``."""
    decoded: dict[str, Any] = msgspec.json.decode(encode_submit(build_request(BASIC | params)))
    return decoded


def image_block(url: object) -> dict[str, Any]:
    """Return a message of one image."""
    return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}


OURS = {"key", "retry_failed", "extra_headers", "extra"}


def test_keywords_are_the_members_of_the_request() -> None:
    """The typed keywords and the request's members are the same, but for our own and sync."""
    assert SubmitParams.__annotations__.keys() - OURS == member_names(GenerationRequest) - {"sync"}
    prompts = {name for form in PROMPT_FORMS for name in form.__annotations__}
    assert (prompts | {"stream"}) - OURS == member_names(PromptRequest) - {"sync"}


@pytest.mark.parametrize("method", [LLM.submit, LLM.generate, LLM.stream])
def test_help_shows_every_keyword(method: Callable[..., Any]) -> None:
    """``help()`` names each keyword that a method takes, and those that must be given."""
    shown = pydoc.plain(pydoc.render_doc(method))
    parameters = dict(inspect.signature(method).parameters)
    assert all(f"{name}:" in shown for name in parameters if name != "self")
    own = {"self", *(method.__kwdefaults__ or {})}
    assert own <= parameters.keys()
    keywords = (SubmitParams if method is LLM.submit else LLMParams, *PROMPT_FORMS)
    assert parameters.keys() - own == {name for one in keywords for name in one.__annotations__}
    required = {name for name, one in parameters.items() if one.default is one.empty}
    assert required - own == {"model"}
    order = [name for name in parameters if name not in own]
    assert order[:2] == ["model", "messages"]


def test_only_what_was_given_is_sent() -> None:
    """An absent keyword is not sent, and ``None`` is sent as null."""
    assert body() == {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hello"}]}
    assert body(stop=None, temperature=0.5)["stop"] is None


def test_a_typo_is_a_type_error_that_names_the_right_word() -> None:
    """An unknown keyword costs nothing but an error with the nearest known one."""
    with pytest.raises(TypeError, match=r"'max_token'.*'max_tokens'"):
        build_request(BASIC | {"max_token": 64})
    with pytest.raises(TypeError, match=r"extra="):
        build_request(BASIC | {"zzzzzz": 1})
    with pytest.raises(TypeError, match=r"'messages'"):
        build_request({"model": "gpt-5.5"})


def test_extra_reaches_the_body_and_cannot_shadow_a_keyword() -> None:
    """What the SDK does not know passes through ``extra``; what it knows has a keyword."""
    assert body(extra={"seed_bias": 1})["seed_bias"] == 1
    with pytest.raises(TypeError, match="max_tokens"):
        build_request(BASIC | {"extra": {"max_tokens": 5}})


@pytest.mark.parametrize("params", [{"sync": True}, {"extra": {"sync": True}}])
def test_sync_is_refused(params: dict[str, Any]) -> None:
    """``sync=True`` answers without a task id, so it is refused wherever it is put."""
    with pytest.raises(RequestValidationError) as caught:
        build_request(BASIC | params)
    assert caught.value.param == "sync"


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"max_tokens": "many"}, "max_tokens"),
        ({"temperature": math.nan}, "temperature"),
        ({"top_p": math.inf}, "top_p"),
        ({"messages": 7}, "messages"),
        ({"messages": [{"content": "no role"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0]"),
        ({"extra": {"x": object()}}, "x"),
        ({"extra": [("x", 1)]}, "extra"),
        ({"messages": "\ud800"}, "messages[0].content"),
        ({"metadata": {"a": 2**70}}, "metadata.a"),
        ({"model": b"gpt-5.5"}, "model"),
        ({"messages": b"hello"}, "messages"),
        ({"messages": [{"role": "user", "content": b"hello"}]}, "messages[0].content"),
        ({"messages": [Message(role="user", content=b"x")]}, "messages[0].content"),  # type: ignore[arg-type]
        ({"messages": [image_block(b"x")]}, "messages[0].content[0].image_url.url"),
        ({"metadata": {"a": bytearray(b"x")}}, "metadata.a"),
        ({"tools": [{"function": {"description": memoryview(b"x")}}]}, DESCRIPTION),
        ({"logit_bias": {"50256": -math.inf}}, "logit_bias.50256"),
        ({"extra": {"guidance": {"scale": [1.0, math.nan]}}}, "guidance.scale[1]"),
        ({"stop": {"a", "b"}}, "stop"),
    ],
)
def test_a_wrong_value_names_its_place(params: dict[str, Any], param: str) -> None:
    """A value that cannot be sent is refused with the place where it stands."""
    with pytest.raises(RequestValidationError) as caught:
        encode_submit(build_request(BASIC | params))
    assert caught.value.violations[0].param == param


@pytest.mark.parametrize(
    ("messages", "fix"),
    [
        ({"role": "user", "content": "hi"}, r"\[message\]"),
        (["hi"], "'role': 'user'"),
        ([{"role": "user", "content": ["hi"]}], r"text\('"),
        ([{"role": "user", "content": text("hi")}], r"\[block\]"),
        ([{"role": "user", "content": b"hi"}], r"\.decode\(\)"),
        ([pydantic.BaseModel], "model_json_schema"),
    ],
)
def test_a_message_of_a_wrong_form_raises_with_the_right_form(messages: object, fix: str) -> None:
    """A refusal of a message says what to pass in its place."""
    with pytest.raises(RequestValidationError, match=fix):
        build_request(BASIC | {"messages": messages})


async def test_what_is_asynchronous_is_not_a_conversation() -> None:
    """A coroutine and an asynchronous generator are refused, and what to do is said."""

    async def conversation() -> AsyncIterator[dict[str, str]]:
        yield {"role": "user", "content": "hi"}

    async def later() -> list[dict[str, str]]:
        return [message async for message in conversation()]

    with pytest.raises(RequestValidationError, match="collect it first"):
        build_request(BASIC | {"messages": conversation()})
    waiting = later()
    with pytest.raises(RequestValidationError, match="await"):
        build_request(BASIC | {"messages": waiting})
    assert await waiting


def test_what_contains_itself_is_refused() -> None:
    """A list inside itself has no JSON, and no end."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(RequestValidationError, match="contains itself"):
        body(extra={"x": endless})


class Role(Enum):
    """A role as an enum that is not a text."""

    USER = "user"


class Model(StrEnum):
    """Models as an enum."""

    GPT = "gpt-5.5"


def test_subclasses_enums_and_scalars_are_what_they_are() -> None:
    """A text of another class is a text, a number of numpy is a number, an enum its value."""
    sent = body(
        model=Model.GPT,
        messages=[{"role": Role.USER, "content": np.str_("hi")}],
        temperature=np.float32(0.5),
        top_p=Decimal("0.5"),
        max_tokens=np.int64(64),
        stop=np.array(["a", "b"]),
        logprobs=np.bool_(True),
        logit_bias={50256: np.int8(-100)},
        metadata={Role.USER: np.str_("x")},
    )
    assert sent == {
        "model": "gpt-5.5",
        "messages": [{"role": "user", "content": "hi"}],
        "temperature": 0.5,
        "top_p": 0.5,
        "max_tokens": 64,
        "stop": ["a", "b"],
        "logprobs": True,
        "logit_bias": {"50256": -100},
        "metadata": {"user": "x"},
    }


class Conversation(pydantic.RootModel[list[dict[str, str]]]):
    """A pydantic model that is a list."""


class PydanticMessage(pydantic.BaseModel):
    """A message with an optional member."""

    role: str = "user"
    content: str | None = None
    tool_calls: list[str] | None = None


@dataclass
class DataMessage:
    """A message as a dataclass."""

    role: str
    content: str
    name: str | None = None


@pytest.mark.parametrize(
    "message",
    [
        PydanticMessage(content="hi"),
        DataMessage("user", "hi"),
        Message(role="user", content="hi"),
        CompletionMessage(role="user", content="hi"),
        UserDict({"role": "user", "content": "hi"}),
    ],
)
def test_a_message_may_be_an_object(message: Any) -> None:
    """Models, dataclasses, shapes and answers are messages, without what they leave open."""
    expected = [{"role": "user", "content": "hi"}]
    assert body(messages=[message])["messages"] == expected
    assert body(messages=(item for item in [message]))["messages"] == expected
    assert body(messages=deque([message]))["messages"] == expected


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ('{"role":"assistant","content":"hi"}', {"content": "hi"}),
        ('{"role":null,"content":"hi","tool_calls":null,"refusal":null}', {"content": "hi"}),
        (
            '{"content":[{"type":"text","text":"hi"}],"annotations":[]}',
            {"content": "hi", "annotations": []},
        ),
        ('{"content":"","reasoning_content":"hm"}', {"content": "", "reasoning_content": "hm"}),
        (
            '{"tool_calls":[{"id":"c","function":{"name":"f","arguments":{"a":1}}}]}',
            {
                "content": None,
                "tool_calls": [
                    {
                        "id": "c",
                        "type": "function",
                        "function": {"name": "f", "arguments": '{"a":1}'},
                    }
                ],
            },
        ),
    ],
)
def test_an_answer_is_a_message_of_the_next_request(said: str, sent: dict[str, Any]) -> None:
    """What the model said goes back as it was said: absent members stay absent, odd ones go."""
    answer = decode_completion(msgspec.Raw(f'{{"choices":[{{"message":{said}}}]}}'.encode()))
    user = {"role": "user", "content": "and?"}
    expected = [user, {"role": "assistant", **sent}, user]
    assert body(messages=[user, answer.message, user])["messages"] == expected
    assert body(messages=[user, answer.message.to_dict(), user])["messages"] == expected


def test_a_root_model_is_its_root() -> None:
    """A pydantic ``RootModel`` is sent as its root, as the whole conversation or inside it."""
    user = {"role": "user", "content": "hi"}
    text = pydantic.RootModel[str]("hi")
    assert body(messages=Conversation([user]))["messages"] == [user]
    assert body(messages=[{"role": "user", "content": text}])["messages"] == [user]
    odd = pydantic.RootModel[list[bytes]]([b"hi"])
    with pytest.raises(RequestValidationError) as caught:
        build_request(BASIC | {"messages": [{"role": "user", "content": odd}]})
    assert caught.value.param == "messages[0].content[0]"


def test_bytes_in_a_model_are_bytes() -> None:
    """A model's own way to JSON would write bytes as a text."""

    class Loose(pydantic.BaseModel):
        role: str
        content: bytes

    with pytest.raises(RequestValidationError) as caught:
        build_request(BASIC | {"messages": [Loose(role="user", content=b"hi")]})
    assert caught.value.param == "messages[0].content"


def test_advice_speaks_of_validation_only_where_that_helps() -> None:
    """What no setting would let pass is not said to depend on one."""
    with pytest.raises(RequestValidationError) as caught:
        build_request(BASIC | {"messages": b"hello"})
    assert "validation" not in caught.value.advice
    with pytest.raises(RequestValidationError) as caught:
        validate(build_request(BASIC | {"model": "claude-opus-4-7"}), "known")
    assert "validation='off'" in caught.value.advice
    assert pickle.loads(pickle.dumps(caught.value)).advice == caught.value.advice


def test_validation_knows_three_manners() -> None:
    """Known models are checked; unknown ones are accepted, rejected or not checked."""
    known = build_request(BASIC | {"model": "claude-opus-4-7"})
    unknown = build_request(BASIC | {"model": "gpt-9"})
    with pytest.raises(RequestValidationError, match="max_tokens"):
        validate(known, "known")
    validate(unknown, "known")
    with pytest.raises(RequestValidationError, match="gpt-9"):
        validate(unknown, "strict")
    validate(known, "off")
    validate(unknown, "off")


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ("", "messages"),
        (" ", "messages"),
        ([], "messages"),
        ([{"role": "user", "contents": "hi"}], "messages[0].content"),
        ([{"role": "user", "content": "hi", "contents": "ho"}], "messages[0].contents"),
        ([{"role": "usr", "content": "hi"}], "messages[0].role"),
    ],
)
def test_a_typo_in_a_message_is_not_billed(messages: object, param: str) -> None:
    """Errors and warnings are refused before anything is sent, unless nothing is checked."""
    request = build_request(BASIC | {"messages": messages})
    for manner in ("known", "strict"):
        with pytest.raises(RequestValidationError) as caught:
            validate(request, manner)
        assert caught.value.param == param
    validate(request, "off")


def test_the_repr_of_a_request_shows_no_prompt() -> None:
    """Requests turn up in logs and errors; what they say does not."""
    assert "hello" not in repr(build_request(BASIC))
