"""Requests with a prompt in place of a conversation, before and after they are sent."""

from typing import Any

import msgspec
import pytest

from foxapi_async import FoxSession, RequestValidationError, UnsupportedContentTypeError
from foxapi_async._catalog import check
from foxapi_async._client.params import build_request
from foxapi_async._wire.media_request import encode_submit
from foxapi_async._wire.paths import find_task_id, is_task_id
from foxapi_async._wire.request import GenerationRequest, PromptRequest, decode_request
from foxapi_async.gateway import Gateway

GEMINI = "gemini-3-pro-preview"
TEXT: dict[str, Any] = {"model": "gpt-5.5", "prompt": "count 1 to 3"}
FORMS: list[dict[str, Any]] = [
    TEXT,
    TEXT | {"image_urls": ["https://a/1.png", "data:image/png;base64,AA"]},
    {"model": GEMINI, "prompt": "count 1 to 3", "video_urls": ["https://a/1.mp4"]},
    {"model": GEMINI, "audio_url": "https://a/1.wav", "prompt": "count 1 to 3"},
]
OPTIONS: dict[str, Any] = {
    "system_prompt": "be brief",
    "max_tokens": 64,
    "temperature": 0.5,
    "reasoning": False,
}


@pytest.mark.parametrize("form", [*FORMS, {"model": GEMINI, "audio_url": "u"}])
def test_what_was_given_is_sent(form: dict[str, Any]) -> None:
    """A form is sent with the members that were given, and is read back as it was."""
    for params in (form, form | OPTIONS, form | {"system_prompt": None, "temperature": None}):
        request = build_request(params)
        assert isinstance(request, PromptRequest)
        sent = encode_submit(request)
        assert msgspec.json.decode(sent) == params
        assert decode_request(sent) == request
        assert check(request) == ()
        assert form.get("prompt", "x") not in repr(request)
    extra = build_request(form | {"extra": {"guidance": 1}})
    assert msgspec.json.decode(encode_submit(extra)) == form | {"guidance": 1}
    assert decode_request(encode_submit(extra)) == extra


def test_a_conversation_is_read_back_as_one() -> None:
    """Messages decide the form, whatever else a body has."""
    request = build_request({"model": "gpt-5.5", "messages": "hi", "extra": {"system_prompt": "x"}})
    assert isinstance(request, GenerationRequest)
    assert decode_request(encode_submit(request)) == request


@pytest.mark.parametrize(
    ("params", "names"),
    [
        (TEXT | {"messages": "hi"}, ("messages", "prompt")),
        (TEXT | {"messages": None}, ("messages", "prompt")),
        ({"model": "g", "messages": "hi", "image_urls": ["u"]}, ("messages", "image_urls")),
        ({"model": "g", "messages": "hi", "audio_url": "u"}, ("messages", "audio_url")),
        (TEXT | {"extra": {"messages": []}}, ("messages", "prompt")),
        ({"model": "g", "messages": "hi", "extra": {"prompt": "x"}}, ("messages", "prompt")),
        ({"model": "g", "messages": "hi", "system_prompt": "x"}, ("system_prompt", "messages")),
        (TEXT | {"image_urls": ["u"], "video_urls": ["u"]}, ("image_urls", "video_urls")),
        (TEXT | {"video_urls": ["u"], "audio_url": "u"}, ("video_urls", "audio_url")),
        (TEXT | {"image_urls": ["u"], "extra": {"audio_url": "u"}}, ("image_urls", "audio_url")),
        (TEXT | {"top_p": 0.5}, ("top_p", "messages")),
        (TEXT | {"tools": []}, ("tools", "messages")),
        (TEXT | {"promt": "x"}, ("promt", "prompt")),
        (TEXT | {"extra": {"temperature": 1}}, ("temperature", "extra")),
        ({"model": "g", "image_urls": ["u"]}, ("prompt", "")),
        ({"model": "g", "video_urls": ["u"]}, ("prompt", "")),
        ({"model": "g"}, ("messages", "prompt")),
        ({"prompt": "x"}, ("model", "")),
    ],
)
async def test_forms_are_never_mixed(
    fox: FoxSession, gateway: Gateway, params: dict[str, Any], names: tuple[str, str]
) -> None:
    """Keywords of two forms are a ``TypeError`` that names both, and nothing is sent."""
    for method in (fox.llm.submit, fox.llm.generate):
        with pytest.raises(TypeError) as caught:
            await method(**params)
        assert all(name in str(caught.value) for name in names)
    with pytest.raises(TypeError):
        fox.llm.stream(**params)
    assert gateway.stats.submits == 0


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": "x" * 100_001}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": ["x"]}, "prompt"),
        ({"system_prompt": "x" * 10_001}, "system_prompt"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": 2.01}, "temperature"),
        ({"temperature": -0.01}, "temperature"),
        ({"image_urls": []}, "image_urls"),
        ({"image_urls": ["u"] * 11}, "image_urls"),
        ({"image_urls": "https://a/1.png"}, "image_urls"),
        ({"image_urls": ["u", ""]}, "image_urls[1]"),
        ({"image_urls": ["u", b"x"]}, "image_urls[1]"),
        ({"video_urls": []}, "video_urls"),
        ({"audio_url": ""}, "audio_url"),
        ({"reasoning": "yes"}, "reasoning"),
        ({"sync": True}, "sync"),
    ],
)
async def test_the_bounds_are_checked_before_anything_is_billed(
    fox: FoxSession, gateway: Gateway, params: dict[str, Any], param: str
) -> None:
    """A value outside the bounds of contract §3.4 is refused with its member, and not sent."""
    request: dict[str, Any] = {"model": GEMINI, "prompt": "x", **params}
    with pytest.raises(RequestValidationError) as caught:
        await fox.llm.submit(**request)
    assert caught.value.param == param
    assert gateway.stats.submits == 0


def test_the_bounds_themselves_are_valid() -> None:
    """The longest texts, the most URLs and the extreme values are valid."""
    for params in (
        {"prompt": "x" * 100_000, "system_prompt": "x" * 10_000},
        {"image_urls": ["u"] * 10, "temperature": 2},
        {"max_tokens": 1, "temperature": 0, "stream": True},
    ):
        assert check(build_request(TEXT | params)) == ()
    # The rules of models for max_tokens hold for conversations only.
    assert check(build_request({"model": "claude-opus-4-7", "prompt": "x"})) == ()


async def test_media_of_another_model_is_refused_here(fox: FoxSession, gateway: Gateway) -> None:
    """Media that a known model does not take are refused before anything is sent."""
    for name, value in (("video_urls", ["u"]), ("audio_url", "u")):
        params: dict[str, Any] = TEXT | {name: value}
        with pytest.raises(RequestValidationError) as caught:
            await fox.llm.submit(**params)
        assert (caught.value.code, caught.value.param) == ("unsupported_content_type", name)
    assert gateway.stats.submits == 0
    async with FoxSession("sk-x", base_url=gateway.url, validation="off") as unchecked:
        request: dict[str, Any] = {**TEXT, "audio_url": "u"}
        with pytest.raises(UnsupportedContentTypeError):
            await unchecked.llm.submit(**request)


@pytest.mark.parametrize("form", FORMS)
async def test_each_form_is_submitted_generated_and_streamed(
    fox: FoxSession, gateway: Gateway, form: dict[str, Any]
) -> None:
    """The three verbs take each form, and the body is what was given."""
    handle = await fox.llm.submit(**form, **OPTIONS, stream=True)
    assert handle.id.startswith("task-llm-" if "audio_url" in form else "task-llmrouter-")
    assert "".join([delta.text async for delta in handle.stream()]) == "1, 2, 3"
    assert (await handle).text == "1, 2, 3"
    assert (await fox.llm.generate(**form)).text == "1, 2, 3"
    async with fox.llm.stream(**form) as stream:
        assert (await stream.completion()).text == "1, 2, 3"
    assert gateway.requests == [form | OPTIONS | {"stream": True}, form, form | {"stream": True}]


async def test_a_thinking_model_has_its_reasoning(fox: FoxSession) -> None:
    """``generate`` follows the stream of a thinking model, which alone has the reasoning."""
    completion = await fox.llm.generate(model="kimi-k2.6", prompt="count 1 to 3")
    assert completion.reasoning
    assert completion.text == "1, 2, 3"


async def test_a_key_is_billed_once(fox: FoxSession, gateway: Gateway) -> None:
    """A key gives the same handle for the same prompt, and no other form of it."""
    first = await fox.llm.submit(**TEXT, key="row-17")
    assert await fox.llm.submit(**TEXT, key="row-17") is first
    with pytest.raises(RequestValidationError) as caught:
        await fox.llm.submit(model="gpt-5.5", messages="count 1 to 3", key="row-17")
    assert caught.value.code == "key_conflict"
    assert gateway.stats.tasks == 1


def test_ids_of_prompts_are_task_ids() -> None:
    """The id of a task with a prompt is valid, and is found in a response that was cut."""
    task_id = "task-llmrouter-1776874565-yq3szvcu"
    assert is_task_id(task_id)
    assert find_task_id(f'{{"id": "{task_id}", "obj') == task_id
