"""What tasks have cost and used: ``completion.task`` and ``fox.stats().usage``."""

import asyncio
import copy
import pickle
from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace

from foxapi_async import ChatCompletion, FoxSession, ModelUsage, RetryPolicy, TaskFailedError
from foxapi_async._client.stats import NOTHING_USED, TaskAmounts, UsageMeter
from foxapi_async._wire.completion import decode_completion, encode_completion
from foxapi_async.gateway import Gateway, TokenPrice

KEY = "sk-secret-0123456789abcdef"
PROMPT = "count 1 to 3"


async def test_a_completion_knows_its_task(fox: FoxSession) -> None:
    """The result of a handle has the id, model, cost, times and request id of its task."""
    handle = await fox.llm.submit(model="gpt-5.5", messages=PROMPT)
    completion = await handle
    task = completion.task
    assert task is not None
    assert (task.id, task.model, task.created) == (handle.id, "gpt-5.5", handle.created)
    assert (task.request_id, task.request_id is not None) == (handle.request_id, True)
    assert task.usage is not None
    assert task.usage.credits_reserved == 1
    assert task.seconds is not None
    assert 0 < task.seconds < 60
    assert await handle is completion


async def test_every_way_to_a_result_has_the_task(fox: FoxSession) -> None:
    """``generate``, a stream read to its end, and a thinking model have the task behind them."""
    generated = await fox.llm.generate(model="gpt-5.5", messages=PROMPT)
    async with fox.llm.stream(model="kimi-k2.6", messages=PROMPT) as stream:
        async for _ in stream:
            pass
        assert stream.snapshot().task is None
        streamed = await stream.completion()
    thinking = await fox.llm.generate(model="kimi-k2.6", messages=PROMPT)
    assert [item.task is not None for item in (generated, streamed, thinking)] == [True] * 3
    assert streamed.task is not None
    assert streamed.task.id == stream.handle.id
    assert streamed.source == "task+stream"


async def test_a_task_of_another_session_has_no_seconds(fox: FoxSession, gateway: Gateway) -> None:
    """Only the session that has submitted a task knows how long it took."""
    handle = await fox.llm.submit(model="gpt-5.5", messages=PROMPT)
    async with FoxSession(KEY, base_url=gateway.url) as other:
        completion = await other.tasks.handle(handle.id)
        assert completion.task is not None
        assert (completion.task.id, completion.task.seconds) == (handle.id, None)
        assert completion.task.request_id is None
        assert other.stats().usage == {}


async def test_the_task_is_no_part_of_the_completion(fox: FoxSession) -> None:
    """Equality and JSON ignore the task, copies and pickles keep it, at a few hundred bytes."""
    completion = await fox.llm.generate(model="gpt-5.5", messages=PROMPT)
    bare = decode_completion(Raw(completion.raw))
    assert bare.task is None
    assert bare == completion
    assert encode_completion(bare) == encode_completion(completion)
    assert bare.to_dict() == completion.to_dict()
    for clone in (
        copy.copy(completion),
        copy.deepcopy(completion),
        pickle.loads(pickle.dumps(completion)),
    ):
        assert clone.task == completion.task
        assert clone == completion
    assert len(pickle.dumps(completion)) - len(pickle.dumps(bare)) < 500
    assert replace(completion, model="other").task is None
    assert ChatCompletion().task is None


def test_json_cannot_forge_the_task() -> None:
    """A member named ``task`` is an unknown member of the completion."""
    completion = decode_completion(Raw(b'{"choices":[],"text":"x","task":{"id":"forged"}}'))
    assert completion.task is None
    assert completion.extra["task"] == {"id": "forged"}


async def test_usage_is_summed_by_model(fast_polling: Any) -> None:
    """Tasks and reserved credits count from the submit on, tokens from the result on."""
    prices = {"gpt-5.4": 2.5}
    async with (
        Gateway(queue_delay=0, token_delay=0, prices=prices) as gateway,
        FoxSession(KEY, base_url=gateway.url, polling=fast_polling) as fox,
    ):
        assert fox.stats().usage == {}
        handles = [await fox.llm.submit(model="gpt-5.5", messages=PROMPT) for _ in range(3)]
        assert fox.stats().usage == {"gpt-5.5": ModelUsage(tasks=3, credits=3)}
        await asyncio.gather(*handles, *handles)
        await fox.with_options().llm.generate(model="gpt-5.4", messages="say count 1 to 2")
        wanted = {
            "gpt-5.5": ModelUsage(tasks=3, prompt_tokens=12, completion_tokens=9, credits=3),
            "gpt-5.4": ModelUsage(tasks=1, prompt_tokens=5, completion_tokens=2, credits=2.5),
        }
        assert fox.stats().usage == wanted
        # Neither another wait, nor a poll, nor another handle counts a task again.
        for handle in handles:
            await handle.refresh()
            await fox.tasks.handle(handle.id)
            await fox.with_options(retry=RetryPolicy()).tasks.handle(handle.id)
        assert fox.stats().usage == wanted


async def test_settled_credits_replace_reserved_ones(fast_polling: Any) -> None:
    """The consumed credits of a finished task count in place of its reserved ones."""
    price = TokenPrice(prompt=1, completion=10)
    async with (
        Gateway(queue_delay=0, token_delay=0, price=price) as gateway,
        FoxSession(KEY, base_url=gateway.url, polling=fast_polling) as fox,
    ):
        handle = await fox.llm.submit(model="gpt-5.5", messages=PROMPT, max_tokens=50)
        assert fox.stats().usage["gpt-5.5"].credits == 0.504
        completion = await handle
        assert completion.task is not None
        assert completion.task.usage is not None
        assert completion.task.usage.credits_consumed == 0.034
        assert round(fox.stats().usage["gpt-5.5"].credits, 9) == 0.034


async def test_a_failed_task_counts_without_tokens(fox: FoxSession) -> None:
    """A failed task is a task, and its reserved credits count."""
    handle = await fox.llm.submit(model="gpt-5.5", messages="[[fail:timeout]]")
    with pytest.raises(TaskFailedError):
        await handle
    assert fox.stats().usage == {"gpt-5.5": ModelUsage(tasks=1, credits=1)}


def test_the_usage_of_many_models_is_bounded() -> None:
    """After 64 models, further ones are summed as ``other``."""
    meter = UsageMeter()
    for number in range(100):
        meter.add(f"model-{number}", NOTHING_USED, TaskAmounts(tasks=1, credits=0.5))
    usage = meter.by_model()
    assert len(usage) == 65
    assert usage["model-63"] == ModelUsage(tasks=1, credits=0.5)
    assert usage["other"] == ModelUsage(tasks=36, credits=18)


async def test_no_name_of_a_model_shows_the_key(fast_polling: Any) -> None:
    """A model name that contains the API key is masked in the statistics."""
    model = f"m-{KEY}"
    async with (
        Gateway(queue_delay=0, token_delay=0, models=[model]) as gateway,
        FoxSession(KEY, base_url=gateway.url, polling=fast_polling) as fox,
    ):
        await fox.llm.generate(model=model, messages=PROMPT)
        (usage,) = fox.stats().usage.values()
        assert usage.completion_tokens == 3
        assert KEY not in repr(fox.stats())


def test_sums_of_fractions_of_a_credit_have_no_noise() -> None:
    """Three tasks of 0.1 credits are 0.3 credits, although 0.1 is no exact number."""
    meter = UsageMeter()
    for _ in range(3):
        meter.add("gpt-5.5", NOTHING_USED, TaskAmounts(tasks=1, credits=0.1))
    assert meter.by_model()["gpt-5.5"].credits == 0.3
