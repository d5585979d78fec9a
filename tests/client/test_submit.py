"""Laws of billed POSTs: none is made twice, and no accepted task is lost."""

import asyncio
import json
import pickle
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from foxapi_async import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ContentTooLargeError,
    FoxSession,
    InsufficientQuotaError,
    InternalServerError,
    InvalidParameterError,
    InvalidResponseError,
    Limits,
    ModelNotSupportedError,
    NotFoundError,
    PermissionDeniedError,
    PollPolicy,
    RateLimitError,
    RequestValidationError,
    RetryPolicy,
    ServiceUnavailableError,
    SessionClosedError,
    SubmitOutcomeUnknownError,
    Timeouts,
    UnprocessableEntityError,
    UnsupportedContentTypeError,
)
from foxapi_async._client.params import LLMParams
from foxapi_async._protocol.fingerprint import fingerprint
from foxapi_async._wire.media_request import encode_submit
from foxapi_async.errors import FoxAPIError
from foxapi_async.gateway import Gateway
from foxapi_async.hooks import (
    Event,
    RequestFinished,
    RequestStarted,
    RetryScheduled,
    SubmitOutcomeUnknown,
    SubmitUnclaimed,
    TaskFinished,
    TaskSubmitted,
)
from foxapi_async.testing import (
    HALF,
    WHOLE,
    CannedResponse,
    Close,
    FaultProxy,
    ManualClock,
    Reset,
    Stall,
    settle,
)
from foxapi_async.testing.faults import Fault

if TYPE_CHECKING:
    from tests.client.conftest import Resolver

PROMPT: LLMParams = {"model": "gpt-5.5", "messages": "count 1 to 3"}
KEYED: LLMParams = {**PROMPT, "key": "row-17"}
ONE = RetryPolicy(initial=0.01)


@pytest.mark.parametrize(
    ("fault", "kind", "accepted"),
    [
        (Reset(request=WHOLE), APIConnectionError, 1),
        (Reset(response=0), APIConnectionError, 1),
        (Close(response=1), APIConnectionError, 1),
        (Close(body=HALF), APIConnectionError, 1),
        (Reset(request=HALF), APIConnectionError, 0),
        (CannedResponse.http(500), InternalServerError, 0),
        (CannedResponse.http(502, forward=True), InternalServerError, 1),
        (CannedResponse.http(503), ServiceUnavailableError, 0),
        (CannedResponse.http(504, b"<html>"), InternalServerError, 0),
        (CannedResponse.http(520), InternalServerError, 0),
        (CannedResponse.http(529), InternalServerError, 0),
        (CannedResponse.http(200, b"<html>"), InvalidResponseError, 0),
        (CannedResponse.http(200, forward=True), InvalidResponseError, 1),
        (CannedResponse.http(202, b'{"status":"pending"}'), InvalidResponseError, 0),
        (CannedResponse.http(200, b'{"id":7,"status":"pending"}'), InvalidResponseError, 0),
        (CannedResponse.http(200, b'["task-llm-1-aaaaaaaa"]'), InvalidResponseError, 0),
        (CannedResponse.http(200, b'{"id":"../x","status":"pending"}'), InvalidResponseError, 0),
        (CannedResponse.http(408), FoxAPIError, 0),
    ],
)
async def test_a_lost_response_raises_and_is_not_sent_again(
    fault_proxy: FaultProxy, gateway: Gateway, fault: Fault, kind: type[FoxAPIError], accepted: int
) -> None:
    """When the service may have accepted, one POST was made, and the error holds the facts."""
    events: list[Event] = []
    before = time.time()
    async with FoxSession(
        "sk-x", base_url=fault_proxy.url, retry=ONE, hooks=[events.append]
    ) as fox:
        fault_proxy.on("POST", "*", fault)
        with pytest.raises(SubmitOutcomeUnknownError) as caught:
            await fox.llm.submit(**KEYED)
        await fault_proxy.wait_until(lambda: gateway.stats.tasks == accepted)
    error = caught.value
    assert isinstance(error.fault, kind)
    assert (error.key, error.request.model) == ("row-17", "gpt-5.5")
    assert error.fingerprint == fingerprint(encode_submit(error.request))
    assert before <= error.sent_at <= time.time()
    assert "count 1" not in str(error) + repr(error)
    assert fault_proxy.count("POST") == 1
    assert [type(event) for event in events] == [
        RequestStarted,
        RequestFinished,
        SubmitOutcomeUnknown,
    ]


@pytest.mark.parametrize(
    "answer",
    [
        b'{"id":"task-llm-1-aaaaaaaa"}',
        b'{"id":"task-llm-1-aaaaaaaa","status":null,"object":"llm.generation.task"}',
        b'{"id":"task-llm-1-aaaaaaaa","status":200}',
    ],
)
async def test_an_answer_with_an_id_is_an_accepted_task(
    fault_proxy: FaultProxy, answer: bytes
) -> None:
    """A success that names a task has accepted it, even if it does not say that it is pending."""
    async with FoxSession("sk-x", base_url=fault_proxy.url, retry=ONE) as fox:
        fault_proxy.on("POST", "*", CannedResponse.http(201, answer))
        handle = await fox.llm.submit(**KEYED)
        assert handle.task is not None
        assert (handle.id, handle.task.status) == ("task-llm-1-aaaaaaaa", "pending")


async def test_a_completion_in_place_of_a_task_is_no_task(fault_proxy: FaultProxy) -> None:
    """An id that names something else than a task is not waited for: the outcome is unknown."""
    async with FoxSession("sk-x", base_url=fault_proxy.url, retry=ONE) as fox:
        answer = b'{"id":"chatcmpl-1","object":"chat.completion","choices":[]}'
        fault_proxy.on("POST", "*", CannedResponse.http(200, answer))
        with pytest.raises(SubmitOutcomeUnknownError, match=r"chat\.completion") as caught:
            await fox.llm.submit(**KEYED)
    assert caught.value.task_id is None


async def test_the_response_to_a_poll_need_not_repeat_the_id(
    fault_proxy: FaultProxy, fast_polling: PollPolicy
) -> None:
    """A response to a poll may lack the task id; only another id is rejected."""
    async with FoxSession("sk-x", base_url=fault_proxy.url, polling=fast_polling) as fox:
        for other in (b'"id":"another",', b'"id":7,', b'"id":null,', b'"id":"",', b""):
            body = b"{" + other + b'"status":"completed","results":[{"text":"1, 2, 3"}]}'
            fault_proxy.clear()
            fault_proxy.on("GET", "/v1/tasks/*", CannedResponse.http(200, body))
            if other in {b'"id":"another",', b'"id":7,'}:
                with pytest.raises(InvalidResponseError, match="query of task task-1"):
                    await fox.tasks.get("task-1")
            else:
                assert (await fox.tasks.get("task-1")).id == "task-1"
                assert (await fox.tasks.handle("task-1")).text == "1, 2, 3"


@pytest.mark.parametrize(
    ("status", "answer", "task_id"),
    [
        (500, b'{"id":"task-llm-1-aaaaaaaa","error":{"message":"late"}}', "task-llm-1-aaaaaaaa"),
        (200, b'{"data":{"id": "task-llm-1-aaaaaaaa"}}', "task-llm-1-aaaaaaaa"),
        (200, b'{"task_id":"abc"}', "abc"),
        (200, b'<html>"id":"task-1"', "task-1"),
        (200, b'{"id":"../x","status":"pending"}', None),
        (500, b'{"id":"req-1","error":{}}', None),
    ],
)
async def test_an_id_that_was_seen_is_never_lost(
    fault_proxy: FaultProxy, status: int, answer: bytes, task_id: str | None
) -> None:
    """Where the outcome is unknown and the answer mentions a task, the error names it."""
    async with FoxSession("sk-x", base_url=fault_proxy.url, retry=ONE) as fox:
        fault_proxy.on("POST", "*", CannedResponse.http(status, answer))
        with pytest.raises(SubmitOutcomeUnknownError) as caught:
            await fox.llm.submit(**KEYED)
    assert caught.value.task_id == task_id
    assert (task_id or "the generation") in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).task_id == task_id


@pytest.mark.parametrize("fault", [Close(body=HALF), Stall(body=HALF)])
async def test_an_id_in_half_an_answer_leads_to_the_result(
    fault_proxy: FaultProxy, gateway: Gateway, fast_polling: PollPolicy, fault: Fault
) -> None:
    """An answer that is cut behind the id of its task leaves the task to be found by that id."""
    timeouts = Timeouts(submit=0.5)
    async with FoxSession(
        "sk-x", base_url=fault_proxy.url, timeouts=timeouts, polling=fast_polling
    ) as fox:
        fault_proxy.on("POST", "*", fault)
        with pytest.raises(SubmitOutcomeUnknownError) as caught:
            await fox.llm.submit(**KEYED)
        assert caught.value.task_id is not None
        assert (await fox.tasks.handle(caught.value.task_id)).text == "1, 2, 3"
    assert gateway.stats.tasks == 1


async def test_an_answer_that_does_not_come_is_a_lost_one(
    fault_proxy: FaultProxy, gateway: Gateway
) -> None:
    """Silence for the seconds of Timeouts.submit leaves the outcome open, and nothing is resent."""
    clock = ManualClock()
    timeouts = Timeouts(submit=20)
    async with FoxSession("sk-x", base_url=fault_proxy.url, clock=clock, timeouts=timeouts) as fox:
        fault_proxy.on("POST", "*", Stall(response=0))
        submitting = asyncio.create_task(fox.llm.submit(**KEYED))
        await fault_proxy.wait_for_stalls()
        await clock.advance(19.9)
        assert not submitting.done()
        await clock.advance(0.1)
        with pytest.raises(SubmitOutcomeUnknownError, match=r"Timeouts\.submit, 20 s") as caught:
            await submitting
    error = caught.value
    assert isinstance(error.fault, APITimeoutError)
    assert (error.key, error.request.model, error.sent_at) == (
        "row-17",
        "gpt-5.5",
        clock.unix() - 20,
    )
    assert error.fingerprint == fingerprint(encode_submit(error.request))
    assert (fault_proxy.count("POST"), gateway.stats.tasks) == (1, 1)


def refusal(status: int, code: str = "", kind: str = "invalid_request_error") -> CannedResponse:
    """Answer as the service does when it refuses."""
    error = {"message": "no", "type": kind} | ({"code": code} if code else {})
    body = json.dumps({"error": error}).encode()
    return CannedResponse.http(status, body, content_type="application/json")


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (CannedResponse.http(307, headers={"Location": "http://127.0.0.1:9/"}), APIStatusError),
        (refusal(400), BadRequestError),
        (CannedResponse.http(401), AuthenticationError),
        (refusal(402, kind="insufficient_quota"), InsufficientQuotaError),
        (CannedResponse.http(403, b"error code: 1010"), PermissionDeniedError),
        (refusal(404, kind="not_found"), NotFoundError),
        (CannedResponse.http(413, b"<html>"), ContentTooLargeError),
        (refusal(422), UnprocessableEntityError),
        (refusal(422, "model_not_supported"), ModelNotSupportedError),
        (refusal(422, "unsupported_content_type"), UnsupportedContentTypeError),
        (refusal(422, "invalid_param"), InvalidParameterError),
        (refusal(422, "unsupported_advanced_options"), UnprocessableEntityError),
        (refusal(422, "model_not_support_capability"), UnsupportedContentTypeError),
        (refusal(422, "model_rule_violation"), UnprocessableEntityError),
        (refusal(422, "no_available_model"), ModelNotSupportedError),
        (refusal(422, "model_not_found"), ModelNotSupportedError),
        (refusal(422, "model_unavailable"), ModelNotSupportedError),
        (
            refusal(422, "no_compatible_channel", "service_unavailable_error"),
            UnprocessableEntityError,
        ),
        (refusal(422, "invalid_image_url"), UnprocessableEntityError),
        (CannedResponse.http(429), RateLimitError),
    ],
)
async def test_a_refusal_is_final_and_certain(
    fault_proxy: FaultProxy, gateway: Gateway, fault: Fault, kind: type[FoxAPIError]
) -> None:
    """What the service refused was not accepted: its own error, one POST, no uncertainty."""
    async with FoxSession("sk-x", base_url=fault_proxy.url, retry=ONE) as fox:
        fault_proxy.on("POST", "*", fault)
        with pytest.raises(kind) as caught:
            await fox.llm.submit(**PROMPT)
    assert type(caught.value) is kind
    assert (fault_proxy.count("POST"), gateway.stats.tasks) == (1, 0)


async def test_what_cannot_be_reached_is_certain(
    fault_proxy: FaultProxy, gateway: Gateway, resolver: "Resolver"
) -> None:
    """A refused connection and an unknown host name are no unknown outcome."""
    resolver.fails = True
    retry = RetryPolicy(attempts=3, initial=0.001, max_delay=0.002)
    connector = aiohttp.TCPConnector(resolver=resolver)
    async with (
        fault_proxy.unreachable(),
        aiohttp.ClientSession(connector=connector) as http,
        FoxSession("sk-x", base_url=fault_proxy.url, retry=retry) as refused,
        FoxSession("sk-x", base_url="http://localhost:9", retry=retry, http=http) as lost,
    ):
        for fox in (refused, lost):
            with pytest.raises(APIConnectionError) as caught:
                await fox.llm.submit(**PROMPT)
            assert not caught.value.sent
    assert gateway.stats.submits == 0


async def test_what_never_left_is_sent_again(fault_proxy: FaultProxy, gateway: Gateway) -> None:
    """A refused connection is retried until it works, and one task is made."""
    async with FoxSession("sk-x", base_url=fault_proxy.url, retry=RetryPolicy(initial=0.05)) as fox:
        async with fault_proxy.unreachable():
            submitting = asyncio.create_task(fox.llm.submit(**PROMPT))
            while fox.stats().submits_in_flight == 0:
                await asyncio.sleep(0)
        assert (await (await submitting)).text == "1, 2, 3"
    assert gateway.stats.tasks == 1


async def test_a_429_is_sent_again_only_where_the_caller_allows_it(
    fault_proxy: FaultProxy, gateway: Gateway
) -> None:
    """A 429 after acceptance looks like one before it, so any 429 ends the submission."""
    limited = CannedResponse.http(
        429,
        b'{"error":{"message":"slow","type":"rate_limit_error"}}',
        content_type="application/json",
        headers={"Retry-After": "0"},
    )
    fault_proxy.on("POST", "*", limited, times=3)
    async with FoxSession("sk-x", base_url=fault_proxy.url) as fox:
        with pytest.raises(RateLimitError):
            await fox.llm.generate(**PROMPT)
        assert fault_proxy.count("POST") == 1
        trusting = fox.with_options(retry=RetryPolicy(resubmit_on_429="envelope", initial=0.01))
        assert (await trusting.llm.generate(**PROMPT)).text == "1, 2, 3"
    assert (fault_proxy.count("POST"), gateway.stats.tasks) == (4, 1)


async def test_a_cancelled_caller_leaves_its_task_unclaimed(
    fault_proxy: FaultProxy, gateway: Gateway
) -> None:
    """Cancelling returns at once; the id that lands goes to a warning, a hook and fox.unclaimed."""
    events: list[Event] = []
    async with FoxSession("sk-x", base_url=fault_proxy.url, hooks=[events.append]) as fox:
        fault_proxy.on("POST", "*", Stall(response=0), times=1)
        submitting = asyncio.create_task(fox.llm.submit(**KEYED))
        await fault_proxy.wait_for_stalls()
        submitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submitting
        assert fox.stats().unclaimed == 0
        with pytest.warns(RuntimeWarning, match="fox.unclaimed"):
            fault_proxy.release()
            while not fox.unclaimed:
                await asyncio.sleep(0)
        (handle,) = fox.unclaimed
        assert handle.key == "row-17"
        assert fox.stats().unclaimed == 1
        assert (await handle).text == "1, 2, 3"
        assert fox.stats().unclaimed == 0
    emitted = [
        type(event) for event in events if type(event) not in {RequestStarted, RequestFinished}
    ]
    assert emitted == [TaskSubmitted, SubmitUnclaimed, TaskFinished]
    assert gateway.stats.tasks == 1


async def test_closing_lets_posts_land(fault_proxy: FaultProxy, gateway: Gateway) -> None:
    """aclose() waits for a POST whose caller was cancelled, so that its id is not lost."""
    fox = FoxSession("sk-x", base_url=fault_proxy.url)
    fault_proxy.on("POST", "*", Stall(response=0), times=1)
    submitting = asyncio.create_task(fox.llm.submit(**PROMPT))
    await fault_proxy.wait_for_stalls()
    submitting.cancel()
    closing = asyncio.create_task(fox.aclose())
    await asyncio.sleep(0)
    with pytest.warns(RuntimeWarning, match="unclaimed"):
        fault_proxy.release()
        await closing
    assert len(fox.unclaimed) == 1
    assert gateway.stats.tasks == 1


@pytest.mark.parametrize("in_a_hurry", [False, True])
async def test_closing_lets_go_of_what_was_sent(fault_proxy: FaultProxy, in_a_hurry: bool) -> None:
    """A POST that closing cancels, after 5 s or at once, has an unknown outcome."""
    clock = ManualClock()
    events: list[Event] = []
    fox = FoxSession("sk-x", base_url=fault_proxy.url, clock=clock, hooks=[events.append])
    fault_proxy.on("POST", "*", Stall(response=0))
    submitting = asyncio.create_task(fox.llm.submit(**KEYED))
    await fault_proxy.wait_for_stalls()
    closing = asyncio.create_task(fox.aclose())
    await settle()
    if in_a_hurry:
        closing.cancel()
    else:
        await clock.advance(4.9)
        assert not submitting.done()
        await clock.advance(0.1)
    await asyncio.wait({closing, submitting})
    assert closing.cancelled() is in_a_hurry
    with pytest.raises(SubmitOutcomeUnknownError) as caught:
        await submitting
    assert isinstance(caught.value.fault, APIConnectionError)
    assert caught.value.fault.sent
    assert "the session was closed" in str(caught.value)
    assert (caught.value.key, caught.value.request.model) == ("row-17", "gpt-5.5")
    assert fault_proxy.count("POST") == 1
    ended = [event for event in events if isinstance(event, RequestFinished)]
    assert [event.error for event in ended] == ["CancelledError"]
    assert SubmitOutcomeUnknown in {type(event) for event in events}


@pytest.mark.parametrize("refused_before", [False, True])
async def test_closing_lets_go_of_what_never_left(
    fault_proxy: FaultProxy, gateway: Gateway, resolver: "Resolver", refused_before: bool
) -> None:
    """A POST that closing cancels before a byte left raises SessionClosedError."""
    clock = ManualClock()
    retry = RetryPolicy(initial=50, max_delay=50)
    waits = asyncio.Event()

    def hear(event: Event) -> None:
        if isinstance(event, RetryScheduled):
            waits.set()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver)) as http:
        if refused_before:
            fox = FoxSession(
                "sk-x", base_url=fault_proxy.url, clock=clock, retry=retry, hooks=[hear]
            )
        else:
            url = f"http://localhost:{fault_proxy.port}"
            fox = FoxSession("sk-x", base_url=url, clock=clock, retry=retry, http=http)
        async with fault_proxy.unreachable():
            submitting = asyncio.create_task(fox.llm.submit(**PROMPT))
            await (waits if refused_before else resolver.asked).wait()
            closing = asyncio.create_task(fox.aclose())
            await settle()
            await clock.advance(5)
            await closing
        with pytest.raises(SessionClosedError):
            await submitting
    assert (fault_proxy.count("POST"), gateway.stats.submits) == (0, 0)


async def test_a_submit_that_waits_for_admission_has_sent_nothing(
    fault_proxy: FaultProxy, gateway: Gateway
) -> None:
    """At most limits.submits_in_flight POSTs are under way; a cancel before that costs nothing."""
    limits = Limits(submits_in_flight=1)
    async with FoxSession("sk-x", base_url=fault_proxy.url, limits=limits) as fox:
        fault_proxy.on("POST", "*", Stall(response=0), times=1)
        first = asyncio.create_task(fox.llm.submit(**PROMPT))
        second = asyncio.create_task(fox.llm.submit(**PROMPT))
        third = asyncio.create_task(fox.llm.submit(**PROMPT))
        await fault_proxy.wait_for_stalls()
        assert fox.stats().submits_in_flight == 1
        assert fox.stats().submits_waiting == 2
        second.cancel()
        fault_proxy.release()
        await asyncio.gather(first, third)
    assert gateway.stats.submits == 2


async def test_a_refused_request_is_not_sent(fox: FoxSession, gateway: Gateway) -> None:
    """What the catalog refuses is never sent; what it does not know, the service refuses."""
    with pytest.raises(RequestValidationError) as caught:
        await fox.llm.submit(model="claude-opus-4-7", messages="hi")
    assert caught.value.code == "invalid_param"
    assert gateway.stats.submits == 0
    with pytest.raises(ModelNotSupportedError):
        await fox.llm.submit(model="gpt-9", messages="hi")
    assert (gateway.stats.submits, gateway.stats.tasks) == (1, 0)


async def test_nothing_is_submitted_after_closing(gateway: Gateway) -> None:
    """A closed session refuses everything, clearly."""
    fox = FoxSession("sk-x", base_url=gateway.url)
    handle = await fox.llm.submit(**PROMPT)
    await fox.aclose()
    await fox.aclose()
    with pytest.raises(SessionClosedError):
        await fox.llm.submit(**PROMPT)
    with pytest.raises(SessionClosedError):
        await handle
    with pytest.raises(SessionClosedError):
        await fox.tasks.get(handle.id)
    with pytest.raises(SessionClosedError):
        await fox.models.list()


async def test_headers_of_your_own_are_sent(fault_proxy: FaultProxy) -> None:
    """``extra_headers=`` goes out beside the SDK's own, by each way of submitting."""
    async with FoxSession("sk-0123456789", base_url=fault_proxy.url) as fox:
        own = {"X-Trace": "abc", "User-Agent": "mine"}
        await fox.llm.generate(model="gpt-5.5", messages="count 1 to 2", extra_headers=own)
        async with fox.llm.stream(
            model="gpt-5.5", messages="count 1 to 2", extra_headers=own
        ) as stream:
            await stream.completion()
    posts = [exchange for exchange in fault_proxy.exchanges if exchange.method == "POST"]
    assert len(posts) == 2
    for post in posts:
        headers = [line.lower() for line in post.head.decode().splitlines()]
        assert "x-trace: abc" in headers
        assert [line for line in headers if line.startswith("user-agent:")] == ["user-agent: mine"]
        assert "authorization: bearer sk-0123456789" in headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer other"},
        {"Proxy-Authorization": "x"},
        {"transfer-encoding": "chunked"},
        {"Content-Length": "1"},
        {"Expect": "100-continue"},
        {"Host": "elsewhere"},
        {"X-Line": "a\r\nAuthorization: b"},
        {"X Y": "a"},
        {"X-Number": 5},
        {"X-Odd": "\u4e2d"},
        ["X-Trace"],
        "",
        [],
    ],
)
async def test_headers_that_are_not_yours_are_refused(
    fox: FoxSession, gateway: Gateway, headers: Any
) -> None:
    """Headers of the key, the body and the connection are refused before anything is sent."""
    with pytest.raises(RequestValidationError, match="extra_headers"):
        await fox.llm.submit(model="gpt-5.5", messages="count", extra_headers=headers)
    assert gateway.stats.submits == 0


async def test_a_success_has_its_request_id(fox: FoxSession) -> None:
    """The id of the submit's request is on the handle, that of a poll on its snapshot."""
    handle = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 2")
    assert handle.request_id
    assert handle.task is not None
    assert handle.task.request_id == handle.request_id
    await handle
    assert handle.task.request_id not in {None, handle.request_id}
    assert fox.tasks.handle(handle.id).request_id == handle.request_id
    assert (await fox.tasks.get(handle.id)).request_id


async def test_the_request_id_is_no_member_of_the_task(fox: FoxSession) -> None:
    """Snapshots that differ in their request only are equal, and their JSON is the service's."""
    handle = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 2")
    await handle
    first, second = await fox.tasks.get(handle.id), await fox.tasks.get(handle.id)
    assert first.request_id != second.request_id
    assert first == second
    assert "request_id" not in first.to_dict()
