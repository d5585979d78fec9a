"""Laws of the session: where it gets its account, which loop it belongs to, how it ends."""

import asyncio
import gc
import logging
from typing import Any

import aiohttp
import pytest

from foxapi_async import (
    AuthenticationError,
    ConfigError,
    Fixed,
    FoxSession,
    Limits,
    PollPolicy,
    Timeouts,
    catalog,
)
from foxapi_async.gateway import Gateway
from foxapi_async.hooks import Event, TaskFinished, TaskSubmitted

KEY = "sk-secret-0123456789abcdef"


def test_a_missing_key_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key nothing is built, and the error says what to set; empty counts as unset."""
    monkeypatch.setenv("FOXAPI_API_KEY", "")
    with pytest.raises(ConfigError, match="FOXAPI_API_KEY"):
        FoxSession()
    monkeypatch.setenv("FOXAPI_API_KEY", KEY)
    monkeypatch.setenv("FOXAPI_BASE_URL", "")
    assert repr(FoxSession()) == "<FoxSession https://api.foxapi.cc>"
    monkeypatch.setenv("FOXAPI_BASE_URL", "https://example.org/v9/")
    assert repr(FoxSession()) == "<FoxSession https://example.org>"


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"base_url": "http://example.org"}, "allow_http"),
        ({"base_url": "ftp://example.org"}, "base URL"),
        ({"validation": "lax"}, "validation"),
    ],
)
def test_a_wrong_setting_is_named(arguments: dict[str, str], name: str) -> None:
    """What cannot work is refused before anything is sent."""
    with pytest.raises(ConfigError, match=name):
        FoxSession(KEY, **arguments)  # type: ignore[arg-type]


async def coroutine_hook(event: Event) -> None:
    """Do nothing, in a coroutine function, which is no hook."""


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("timeouts", 5, r"Timeouts\(wait=60\)"),
        ("retry", 3, r"RetryPolicy\(attempts=3\)"),
        ("polling", Fixed(5), r"PollPolicy\(pacing="),
        ("streaming", None, "StreamPolicy"),
        ("limits", {}, "Limits"),
        ("limits", Limits, "Limits"),
        ("validation", ["known"], "'strict'"),
        ("hooks", print, r"\[hook\]"),
        ("hooks", None, r"\[hook\]"),
        ("hooks", [7], r"hooks\[0\] must be a function"),
        ("hooks", [coroutine_hook], "coroutine function"),
        ("http", object(), "aiohttp.ClientSession"),
        ("allow_http", "yes", "True, False or None"),
        ("trust_env", 1, "True or False"),
        ("ssl", False, "SSLContext"),
        ("clock", object(), "call_at"),
        ("journal", 7, "journal"),
        ("api_key", 7, "API key"),
        ("base_url", b"https://fox.example", "base URL"),
    ],
)
async def test_a_setting_of_a_wrong_type_is_refused_at_once(
    name: str, value: object, right: str
) -> None:
    """The session is not built, nor a copy of it, and the error names the setting and the type."""
    arguments: dict[str, Any] = {"api_key": KEY, name: value}
    with pytest.raises(ConfigError, match=right) as caught:
        FoxSession(**arguments)
    assert name.replace("_", " ") in str(caught.value).lower().replace("_", " ")
    if name not in {"limits", "http", "trust_env", "ssl", "clock"}:
        async with FoxSession(KEY) as fox:
            with pytest.raises(ConfigError, match=right):
                fox.with_options(**{name: value})


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Timeouts(connect=0),
        lambda: Timeouts(read=float("nan")),
        lambda: Limits(polls_in_flight=-1),
        lambda: Limits(streams=None),  # type: ignore[arg-type]
        lambda: Timeouts(read="30"),  # type: ignore[arg-type]
        lambda: Timeouts(wait=True),
        lambda: PollPolicy(give_up_after=float("inf")),
        lambda: PollPolicy(sync_upstream="no"),  # type: ignore[arg-type]
        lambda: PollPolicy(pacing=5),  # type: ignore[arg-type]
        lambda: Limits(max_unfinished=2.5),  # type: ignore[arg-type]
        lambda: Limits(streams=1.5),  # type: ignore[arg-type]
        lambda: Timeouts(read=10**400),
    ],
)
def test_impossible_policies_are_refused(wrong: object) -> None:
    """Numbers that are zero, negative, infinite, broken or missing, and other types, are named."""
    with pytest.raises(ConfigError, match=r"Timeouts|Limits|PollPolicy"):
        wrong()  # type: ignore[operator]


def test_two_runs_with_two_sessions_make_no_noise() -> None:
    """asyncio.run twice in one process, each with its session, leaves nothing behind."""

    async def once() -> str:
        async with Gateway() as gateway, FoxSession(KEY, base_url=gateway.url) as fox:
            return (await fox.llm.generate(model="gpt-5.5", messages="count 1 to 3")).text

    assert [asyncio.run(once()) for _ in range(2)] == ["1, 2, 3", "1, 2, 3"]


def test_a_session_belongs_to_its_first_loop() -> None:
    """Built outside a loop it binds to the first one; a second one is refused in plain words."""
    fox = FoxSession(KEY, base_url="http://127.0.0.1:9")

    async def enter() -> None:
        async with fox:
            pass

    async def first() -> None:
        fox._service.runtime.enter()

    asyncio.run(first())
    with pytest.raises(RuntimeError, match="another event loop"):
        asyncio.run(enter())
    fox._service.runtime.closed = True


async def test_a_session_that_is_dropped_open_warns(gateway: Gateway) -> None:
    """A session that is not closed warns, and its connections are closed."""
    fox = FoxSession(KEY, base_url=gateway.url)
    async with fox:
        pass
    dropped = FoxSession(KEY, base_url=gateway.url)
    dropped._service.runtime.enter()
    with pytest.warns(ResourceWarning, match="unclosed"):
        del dropped
        gc.collect()


@pytest.mark.parametrize("debug", [True, False])
async def test_the_warning_of_an_unclosed_session_says_where_it_was_created(
    gateway: Gateway, debug: bool
) -> None:
    """In asyncio's debug mode it has the stack of the constructor's caller, otherwise none."""
    asyncio.get_running_loop().set_debug(debug)
    dropped = FoxSession(KEY, base_url=gateway.url)
    dropped._service.runtime.enter()
    with pytest.warns(ResourceWarning, match="unclosed") as caught:
        del dropped
        gc.collect()
    (text,) = (str(one.message) for one in caught if "FoxSession" in str(one.message))
    assert ("It was created at" in text) is debug
    assert ("dropped = FoxSession(KEY" in text) is debug
    assert KEY not in text


async def test_the_parts_of_a_session_show_their_counts(gateway: Gateway) -> None:
    """The repr of the runtime, the poller, admission and the submitter has counts, and no text."""
    async with FoxSession(KEY, base_url=gateway.url, limits=Limits(max_unfinished=5)) as fox:
        handle = await fox.llm.submit(model="gpt-5.5", messages="count 1 to 3")
        wait = asyncio.create_task(handle.result())
        await asyncio.sleep(0)
        runtime = fox._service.runtime
        shown = repr(runtime)
        assert "<Poller waiters=1 scheduled=1 queued=0 in_flight=0>" in shown
        assert "<AdmissionControl waiting=0 in_flight=0 unfinished=1>" in shown
        assert "<Submitter submits=1 in_flight=0>" in shown
        assert handle.id not in shown
        await wait
    assert repr(runtime).startswith("<Runtime closed streams=0 unclaimed=0 <Poller closed ")


async def test_a_copy_shares_and_overrides() -> None:
    """with_options changes what it names, shares the rest, and closes nothing."""
    async with Gateway(api_keys=[KEY]) as gateway, FoxSession(KEY, base_url=gateway.url) as fox:
        copy = fox.with_options(timeouts=Timeouts(wait=5))
        assert (await copy.llm.generate(model="gpt-5.5", messages="count 1 to 2")).text == "1, 2"
        await copy.aclose()
        stranger = fox.with_options(api_key="sk-another-key-000000")
        with pytest.raises(AuthenticationError):
            await stranger.models.list()
        assert len(await fox.models.list()) == len(catalog())
        with pytest.raises(TypeError, match="new FoxSession"):
            fox.with_options(limits=Limits())
        with pytest.raises(TypeError, match="unknown option"):
            fox.with_options(timeout=5)


async def test_a_lent_http_session_stays_open(gateway: Gateway) -> None:
    """http= is used for everything and never closed."""
    async with aiohttp.ClientSession() as http:
        async with FoxSession(KEY, base_url=gateway.url, http=http) as fox:
            assert (await fox.llm.generate(model="gpt-5.5", messages="count 1 to 2")).text == "1, 2"
        assert not http.closed


async def test_models_come_from_the_service(fox: FoxSession) -> None:
    """models.list() is what the service offers, with its words for what they read."""
    models = {model.id: model.capabilities for model in await fox.models.list()}
    assert models == {model.id: model.capabilities for model in catalog()}


async def test_a_hook_that_raises_breaks_nothing(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    """The call goes on, the other hooks are called, and the error is logged."""
    events: list[Event] = []

    def bad(_event: Event) -> None:
        raise ZeroDivisionError

    async with FoxSession(KEY, base_url=gateway.url, hooks=[bad, events.append]) as fox:
        await fox.llm.generate(model="gpt-5.5", messages="count 1 to 2")
    assert {TaskSubmitted, TaskFinished} < {type(event) for event in events}
    assert "hook raised" in caplog.text


async def test_the_key_and_the_prompt_appear_nowhere(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    """No repr, log, event or error shows the key, and none but that of a result what was asked."""
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []
    results = ""
    async with Gateway(api_keys=["sk-other-key-000000"]) as strict:
        for url in (gateway.url, strict.url):
            async with FoxSession(
                KEY, base_url=url, hooks=[lambda event: seen.append(repr(event))]
            ) as fox:
                seen.append(repr(fox) + repr(fox.stats()) + repr(vars(fox)))
                try:
                    handle = await fox.llm.submit(model="gpt-5.5", messages="my private prompt")
                    results = repr(await handle) + repr(handle.task)
                    seen.append(repr(handle))
                except AuthenticationError as error:
                    seen.append(repr(error) + str(error) + repr(vars(error)))
    everything = "\n".join([*seen, caplog.text])
    assert KEY not in everything + results
    assert "private prompt" in results
    assert "private prompt" not in everything
