"""The public API as the type checkers see it: right uses have their types, wrong ones are errors.

Nothing here runs. An unused ``type: ignore`` is an error, so each of them is a test.
"""

import asyncio
import io
from pathlib import Path
from typing import Any, assert_type

import pydantic
import yarl

from foxapi_async import (
    ChatCompletion,
    ChatStream,
    Delta,
    FoxSession,
    LLMHandle,
    LLMParams,
    MediaResult,
    MediaResults,
    Task,
    TaskHandle,
    VisionParams,
    as_completed,
)
from foxapi_async.content import image, text
from foxapi_async.types import ContentBlock, Message


class UserMessage(pydantic.BaseModel):
    """A message of pydantic."""

    role: str = "user"
    content: str


async def right(fox: FoxSession) -> None:
    """Every verb has one return type."""
    handle = await fox.llm.submit(model="gpt-5.5", messages="hi", max_tokens=64, key="row")
    assert_type(handle, LLMHandle)
    assert_type(await handle, ChatCompletion)
    assert_type(await handle.result(timeout=5), ChatCompletion)
    assert_type(await asyncio.wait_for(handle, 5), ChatCompletion)
    assert_type(await asyncio.gather(handle, handle), tuple[ChatCompletion, ChatCompletion])
    assert_type(handle.stream(), ChatStream)
    async for delta in handle.stream():
        assert_type(delta, Delta)
        assert_type(delta.text, str)
    async with fox.llm.stream(model="gpt-5.5", messages="hi") as stream:
        assert_type(stream.handle, LLMHandle)
        assert_type(await stream.completion(), ChatCompletion)
    assert_type(
        await fox.llm.generate(
            model="gpt-5.5",
            messages=[{"role": "user", "content": [text("look"), image("https://x/y.png")]}],
            tools=[{"type": "function", "function": {"name": "f"}}],
            stop=["a"],
            temperature=None,
            timeout=5,
        ),
        ChatCompletion,
    )
    prompted = await fox.llm.submit(
        model="gpt-5.5", prompt="hi", system_prompt="be brief", stream=True, key="row"
    )
    assert_type(prompted, LLMHandle)
    shown = await fox.llm.generate(model="gpt-5.5", prompt="hi", image_urls=["u"], timeout=5)
    assert_type(shown, ChatCompletion)
    assert_type(fox.llm.stream(model="g", prompt="hi", video_urls=("u",)), ChatStream)
    assert_type(await fox.llm.generate(model="g", audio_url="u", temperature=None), ChatCompletion)
    assert_type(await fox.llm.submit(model="g", audio_url="u", prompt="hi"), LLMHandle)
    row: VisionParams = {"model": "g", "prompt": "hi", "image_urls": ["u"]}
    assert_type(await fox.llm.submit(**row), LLMHandle)
    chat: LLMParams = {"model": "g", "messages": "hi"}
    assert_type(await fox.llm.submit(**chat), LLMHandle)
    asked = Message(role="user", content="hi")
    await fox.llm.submit(model="gpt-5.5", messages=[UserMessage(content="hi")])
    await fox.llm.submit(model="gpt-5.5", messages=(message for message in [asked]))
    content = [image(b"x"), image(bytearray(b"x")), image(Path("x")), image(io.BytesIO(b"x"))]
    assert_type(content, list[ContentBlock])
    FoxSession(pydantic.SecretStr("x"), base_url=pydantic.HttpUrl("https://x"))
    FoxSession(base_url=yarl.URL("https://x"))
    assert_type(fox.tasks.handle("task-1"), LLMHandle)
    assert_type(fox.tasks.handle("task-1", kind="video"), TaskHandle[MediaResults])
    assert_type(await fox.tasks.get("task-1"), Task)
    async for task in handle.updates():
        assert_type(task, Task)
    async for done in as_completed([handle]):
        assert_type(done, LLMHandle)
    assert_type(handle.bind(fox), LLMHandle)
    completion = await handle
    question = {"role": "user", "content": "and?"}
    await fox.llm.submit(model="gpt-5.5", messages=[question, completion.message, question])
    await fox.llm.submit(
        model="gpt-5.5",
        messages=[{"role": "user", "content": "hi"}, completion.message, question],
    )
    history = [question]
    history.append(completion.message.to_dict())
    await fox.llm.submit(model="gpt-5.5", messages=history)
    assert_type(completion.to_json(), str)
    assert_type(completion.to_dict(), dict[str, Any])
    assert_type(Delta().to_json(), str)
    assert_type((await fox.tasks.get("task-1")).to_json(), str)


async def media(fox: FoxSession) -> None:
    """Keep the type of results in handles."""
    drawn = await fox.images.submit(model="m", prompt="a fox", num_outputs=2, key="row")
    assert_type(drawn, TaskHandle[MediaResults])
    results = await drawn
    assert_type(results, MediaResults)
    assert_type(results[0], MediaResult)
    assert_type(results[:1], MediaResults)
    assert_type([result.url for result in results], list[str | None])
    assert_type(await fox.videos.generate(model="m", prompt="a fox", timeout=5), MediaResults)
    assert_type(await fox.audios.generate(model="m", audio_url="u"), MediaResults)
    assert_type(await fox.documents.generate(model="m", pdf_url="u"), MediaResults)
    for recovered in (await fox.recover()).handles:
        assert_type(recovered, LLMHandle | TaskHandle[MediaResults])


async def wrong(fox: FoxSession) -> None:
    """Make an error of what would cost money, or fail, at run time."""
    await fox.llm.submit(model="gpt-5.5", messages="hi", max_token=64)  # type: ignore[call-overload]
    await fox.llm.submit(messages="hi")  # type: ignore[call-overload]
    await fox.llm.submit(model="gpt-5.5", messages="hi", max_tokens="64")  # type: ignore[call-overload]
    await fox.llm.submit(model="gpt-5.5", messages=b"hi")  # type: ignore[arg-type]
    FoxSession(base_url=b"https://x")  # type: ignore[arg-type]
    image(7)  # type: ignore[arg-type]
    await fox.llm.generate(model="gpt-5.5", messages="hi", stream=True)  # type: ignore[call-overload]
    fox.tasks.handle("task-1", kind="image").stream()  # type: ignore[attr-defined]
    fox.tasks.handle("task-1", kind="poem")  # type: ignore[call-overload]
    await fox.images.submit(prompt="a fox")  # type: ignore[call-arg]
    await fox.images.submit(model="m", prompt=b"a fox")  # type: ignore[arg-type]
    TaskHandle(None, "task-1")  # type: ignore[call-arg]
    llm, model = fox.llm, "gpt-5.5"
    await llm.submit(model=model, messages="hi", prompt="hi")  # type: ignore[call-overload]
    await llm.submit(model=model, image_urls=["u"])  # type: ignore[call-overload]
    await llm.submit(model=model, prompt="hi", top_p=1)  # type: ignore[call-overload]
    await llm.submit(model=model, prompt="hi", image_urls=["u"], video_urls=["u"])  # type: ignore[call-overload]
    await llm.generate(model=model, prompt="hi", stream=True)  # type: ignore[call-overload]
    llm.stream(model=model, audio_url=b"x")  # type: ignore[call-overload]
