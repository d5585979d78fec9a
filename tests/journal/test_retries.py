"""Laws of repeating failed and unknown submissions on demand: each is sent once."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from foxapi_async import (
    FoxAPIError,
    InvalidResponseError,
    JournalError,
    LLMHandle,
    RequestValidationError,
    SubmitOutcomeUnknownError,
    TaskFailedError,
)
from foxapi_async._client.params import LLMParams
from foxapi_async._journal import EntryId, Intent, Stage
from foxapi_async.gateway import Gateway
from foxapi_async.journal import open_journal
from foxapi_async.testing import WHOLE, FaultProxy, Reset

GOOD: LLMParams = {"model": "gpt-5.5", "messages": "count 1 to 3", "key": "row-17"}
FAILING: LLMParams = {**GOOD, "messages": "[[fail:content_policy_violation]]"}


def again(params: LLMParams, *, retry_failed: bool = True) -> LLMParams:
    """Return ``params`` with ``retry_failed``."""
    return {**params, "retry_failed": retry_failed}


async def fail(fox: Any) -> str:
    """Submit what fails under the key, and return its task's id."""
    with pytest.raises(TaskFailedError) as caught:
        await fox.llm.generate(**FAILING)
    assert "retry_failed=True" in caught.value.advice
    return caught.value.task_id


@pytest.mark.parametrize("journaled", [True, False])
async def test_a_failed_key_is_tried_again_on_demand(
    open_fox: Any, gateway: Gateway, journaled: bool
) -> None:
    """A key whose task failed is submitted anew with ``retry_failed``, and only then."""
    options = {} if journaled else {"journal": None}
    async with open_fox(**options) as fox:
        first = await fail(fox)
        assert await fail(fox) == first
        assert gateway.stats.submits == 1
        handle = await fox.llm.submit(**again(FAILING))
        assert handle.id != first
        with pytest.raises(TaskFailedError):
            await handle
        assert (await fox.llm.generate(**again(GOOD))).text == "1, 2, 3"
        for retry_failed in (True, False):
            assert (
                await fox.llm.generate(**again(GOOD, retry_failed=retry_failed))
            ).text == "1, 2, 3"
    assert gateway.stats.submits == 3


async def test_a_failed_entry_stays_without_its_key(
    open_fox: Any, gateway: Gateway, file: Path | str
) -> None:
    """What failed is still in the journal after it was tried again, by any session, also live."""
    async with open_fox() as fox:
        first = await fail(fox)
    async with open_fox() as fox, fox.llm.stream(**again(GOOD)) as stream:
        assert "".join([delta.text async for delta in stream]) == "1, 2, 3"
        assert (await stream.handle).text == "1, 2, 3"
    async with open_journal(file) as journal:
        entries = await journal.entries()
    assert [(entry.stage, entry.key) for entry in entries] == [
        (Stage.FAILED, None),
        (Stage.COMPLETED, "row-17"),
    ]
    assert entries[0].task_id == first
    assert gateway.stats.submits == 2


async def test_retries_at_once_pay_once(open_fox: Any, gateway: Gateway) -> None:
    """Of many retries of one failed key, in several sessions at once, one is sent."""
    async with open_fox() as fox:
        await fail(fox)
    foxes = [open_fox() for _ in range(3)]
    try:
        for fox in foxes:
            await fox.recover()
        retrying = [fox.llm.submit(**again(GOOD)) for fox in foxes for _ in range(4)]
        handles = await asyncio.gather(*retrying)
    finally:
        for fox in foxes:
            await fox.aclose()
    assert len({handle.id for handle in handles}) == 1
    assert gateway.stats.submits == 2


async def test_only_a_key_can_be_retried(open_fox: Any, gateway: Gateway) -> None:
    """``retry_failed`` without a key, or with a value that is no truth, is refused by its name."""
    wrong: Any
    for wrong in ({"key": None, "retry_failed": True}, {"retry_failed": 1}):
        async with open_fox() as fox:
            for do in (fox.llm.submit, fox.llm.generate):
                with pytest.raises(RequestValidationError) as caught:
                    await do(**{**GOOD, **wrong})
                assert caught.value.param == "retry_failed"
            with pytest.raises(RequestValidationError):
                fox.llm.stream(**{**GOOD, **wrong})
    assert gateway.stats.submits == 0


async def lose(fox: Any, fault_proxy: FaultProxy, params: LLMParams) -> Any:
    """Submit and lose the answer; return what is unknown then."""
    fault_proxy.on("POST", "*", Reset(request=WHOLE), times=1)
    with pytest.raises(SubmitOutcomeUnknownError):
        await fox.llm.submit(**params)
    (lost,) = (await fox.recover()).unknown
    return lost


@pytest.mark.parametrize("key", ["row-17", None])
async def test_what_is_unknown_is_submitted_again_once(
    open_fox: Any, fault_proxy: FaultProxy, file: Path | str, key: str | None
) -> None:
    """Of many calls that send an unknown submission again, in several sessions, one is sent."""
    async with (
        open_fox(base_url=fault_proxy.url) as fox,
        open_fox(base_url=fault_proxy.url) as other,
    ):
        lost = await lose(fox, fault_proxy, {**GOOD, "key": key})
        ends = await asyncio.gather(
            *(one.llm.resubmit(lost) for one in (fox, other) for _ in range(3)),
            return_exceptions=True,
        )
        handles = [end for end in ends if isinstance(end, LLMHandle)]
        rest = [end for end in ends if not isinstance(end, LLMHandle)]
        assert len({handle.id for handle in handles}) == 1
        assert len(rest) == (0 if key else 5)
        assert all(isinstance(end, JournalError) for end in rest)
        assert fault_proxy.count("POST") == 2
        assert (await handles[0]).text == "1, 2, 3"
        assert (await fox.recover(finished=True)).unknown == ()
        if key:
            assert (await fox.llm.submit(**GOOD)).id == handles[0].id
    async with open_journal(file) as journal:
        assert [entry.stage for entry in await journal.entries()] == [Stage.COMPLETED]


async def test_a_resubmission_that_is_lost_too_is_unknown_again(
    open_fox: Any, fault_proxy: FaultProxy
) -> None:
    """A second lost answer takes the place of the first one, and can be sent again in its turn."""
    async with open_fox(base_url=fault_proxy.url) as fox:
        lost = await lose(fox, fault_proxy, GOOD)
        fault_proxy.on("POST", "*", Reset(request=WHOLE), times=1)
        with pytest.raises(SubmitOutcomeUnknownError):
            await fox.llm.resubmit(lost)
        (again,) = (await fox.recover()).unknown
        assert (again.entry != lost.entry, again.request) == (True, lost.request)
        # The key now has another submission, which was not to be repeated.
        with pytest.raises(SubmitOutcomeUnknownError):
            await fox.llm.resubmit(lost)
        assert (await (await fox.llm.resubmit(again))).text == "1, 2, 3"
    assert fault_proxy.count("POST") == 3


async def test_an_id_that_was_seen_is_kept(
    open_fox: Any, gateway: Gateway, file: Path | str
) -> None:
    """An unknown submission whose id was seen is recovered as a handle, which settles it."""
    async with open_fox(journal=None) as fox:
        accepted = await fox.llm.submit(**GOOD)
    async with open_fox() as fox:
        journal = fox._service.options.journal
        body = b'{"model":"gpt-5.5","messages":[{"role":"user","content":"count 1 to 3"}]}'
        intent = Intent(service=gateway.url, key="row-17", model="m", body=body, sent_at=1.0)
        entry_id = await journal.record_intent(intent)
        assert isinstance(entry_id, EntryId)
        await journal.record_unknown(entry_id, InvalidResponseError("half an answer"), accepted.id)
    async with open_fox() as fox:
        with pytest.raises(SubmitOutcomeUnknownError) as caught:
            await fox.llm.submit(**GOOD)
        assert caught.value.task_id == accepted.id
        recovery = await fox.recover()
        assert ([handle.id for handle in recovery.handles], recovery.unknown) == (
            [accepted.id],
            (),
        )
        assert (await recovery.handles[0]).text == "1, 2, 3"
        assert (await fox.llm.submit(**GOOD)).id == accepted.id
    async with open_journal(file) as journal:
        (entry,) = await journal.entries()
        assert (entry.stage, entry.task_id) == (Stage.COMPLETED, accepted.id)
    assert gateway.stats.submits == 1


async def test_prune_deletes_the_given_stages(
    open_fox: Any, fault_proxy: FaultProxy, file: Path | str
) -> None:
    """Pruning by stage frees the keys of this stage alone, and nothing that is under way."""
    async with open_fox(base_url=fault_proxy.url) as fox:
        await lose(fox, fault_proxy, {**GOOD, "key": "lost"})
        await fail(fox)
        await fox.llm.submit(**{**GOOD, "key": "open"})
    async with open_journal(file) as journal:
        for stage in (Stage.SENT, Stage.ACCEPTED):
            with pytest.raises(ValueError, match="under way"):
                await journal.prune(9e9, stages={stage, Stage.FAILED})
        for stage, left in ((Stage.UNKNOWN, 2), (Stage.FAILED, 1), (Stage.REFUSED, 1)):
            assert await journal.prune(1.0, stages={stage}) == 0
            await journal.prune(9e9, stages={stage})
            assert len(await journal.entries()) == left
    async with open_fox(base_url=fault_proxy.url) as fox:
        for key in ("lost", "row-17", "open"):
            try:
                await fox.llm.submit(**{**GOOD, "key": key})
            except FoxAPIError as error:
                raise AssertionError(key) from error
    assert fault_proxy.count("POST") == 5
