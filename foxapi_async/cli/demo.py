"""``foxapi demo``: a few examples in a few seconds, against a local gateway."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from foxapi_async import __version__
from foxapi_async.cli.demo_display import DemoDisplay
from foxapi_async.cli.errors import ExitCode
from foxapi_async.cli.local import Local, local_setting
from foxapi_async.cli.output import Screen
from foxapi_async.cli.runner import run

if TYPE_CHECKING:
    from foxapi_async import CompletionProgress, FoxSession, TaskHandle
    from foxapi_async.gateway import Gateway

_MANY: Final = 200
# Short enough for a demo, and slow enough to see the text appear.
_QUEUE_DELAY: Final = 0.1
_TOKEN_DELAY: Final = 0.045
_SLOWEST: Final = 20

_AWAITED: Final = {"model": "claude-opus-4-7", "messages": "count 1 to 3", "max_tokens": 64}
_FOLLOWED: Final = {"model": "kimi-k2.6", "messages": "count 1 to 5"}
_AWAIT: Final = """\
handle = await fox.llm.submit(
    model="claude-opus-4-7", messages="count 1 to 3", max_tokens=64
)
completion = await handle"""
_FOLLOW: Final = """\
handle = await fox.llm.submit(
    model="kimi-k2.6", messages="count 1 to 5", stream=True
)
async for delta in handle.stream():
    print(delta.reasoning or delta.text, end="")"""
_FAN_OUT: Final = """\
submits = (fox.llm.submit(model="gpt-5.5", messages=p) for p in prompts)
handles = await asyncio.gather(*submits)
completions = await asyncio.gather(*handles)"""

# A small model may go on and on.
_LOCAL_MAX_TOKENS: Final = 96
_LOCAL_AWAITED: Final = "What is the capital city of France? Answer in one English sentence."
_LOCAL_FOLLOWED: Final = "Tell me a short story about a fox."
_LOCAL_AWAIT: Final = """\
handle = await fox.llm.submit(model=MODEL, messages=QUESTION, max_tokens=96)
completion = await handle"""
_LOCAL_FOLLOW: Final = """\
handle = await fox.llm.submit(
    model=MODEL, messages=QUESTION, max_tokens=96, stream=True
)
async for delta in handle.stream():
    print(delta.text, end="")"""


def command(
    *,
    local: Local = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print each step as a line of JSON.")
    ] = False,
) -> None:
    """Show the main features in a few seconds, without an account.

    With --local, a real small model answers, on this machine.
    """
    screen = Screen(json=json)

    def start() -> Coroutine[Any, Any, ExitCode]:
        from foxapi_async import FoxSession
        from foxapi_async.gateway import Gateway

        source = local_setting(screen, local)
        gateway = Gateway(queue_delay=_QUEUE_DELAY, token_delay=_TOKEN_DELAY, local=source)
        demo = Demo(screen, _model_id(source) if source else None)
        return demo.run(gateway, lambda: FoxSession("sk-demo", base_url=gateway.url))

    run(screen, start)


def _model_id(source: "str | Literal[True]") -> str:
    from foxapi_async.gateway.models.local import local_model_id

    return local_model_id(source)


class Demo:
    """Runs a few examples and shows how long they took.

    Args:
        screen: Where the results are written.
        local_model: The id of the local model, ``None`` for the examples of simulated models.
    """

    def __init__(self, screen: Screen, local_model: str | None = None) -> None:
        self._screen = screen
        self._local_model = local_model
        self._display = DemoDisplay(screen.out)
        self._seconds: list[float] = []

    async def run(self, gateway: "Gateway", session: "Callable[[], FoxSession]") -> ExitCode:
        """Run the demo against a gateway on a free port of this machine."""
        async with gateway, session() as fox:
            self._display.header(
                f"foxapi-async {__version__}", f"against a local gateway at {gateway.url}"
            )
            started = perf_counter()
            if self._local_model is None:
                await self._run_simulated(fox)
            else:
                await self._run_local(fox, self._local_model)
            seconds = perf_counter() - started
            gets = gateway.stats.polls + gateway.stats.streams
            self._show_figures(gateway.stats.tasks, seconds, gets)
        return ExitCode.OK

    async def _run_simulated(self, fox: "FoxSession") -> None:
        self._display.step(1, "Submit a generation and await its handle", _AWAIT)
        await self._await_one(fox, _AWAITED)
        self._display.step(2, "Follow a thinking model live, reasoning first", _FOLLOW)
        await self._follow_one(fox, _FOLLOWED)
        self._display.step(3, f"Fan out {_MANY} generations and gather them", _FAN_OUT)
        await self._fan_out(fox)

    async def _run_local(self, fox: "FoxSession", model: str) -> None:
        params = {"model": model, "max_tokens": _LOCAL_MAX_TOKENS}
        self._display.step(1, f"Ask {model}: {_LOCAL_AWAITED}", _LOCAL_AWAIT)
        await self._await_one(fox, params | {"messages": _LOCAL_AWAITED})
        self._display.step(2, f"Follow {model} live: {_LOCAL_FOLLOWED}", _LOCAL_FOLLOW)
        await self._follow_one(fox, params | {"messages": _LOCAL_FOLLOWED})

    async def _await_one(self, fox: "FoxSession", params: Mapping[str, Any]) -> None:
        started = perf_counter()
        handle = await fox.llm.submit(**params)
        self._display.line(handle.id, "dim")
        completion = await handle
        writer = self._display.text_writer()
        writer.write(completion.text)
        writer.end()
        seconds = self._add_duration(started)
        self._screen.record(
            step="await", id=handle.id, text=completion.text, seconds=round(seconds, 3)
        )

    async def _follow_one(self, fox: "FoxSession", params: Mapping[str, Any]) -> None:
        started = perf_counter()
        handle = await fox.llm.submit(**params, stream=True)
        self._display.line(handle.id, "dim")
        writer = self._display.text_writer()
        was_thinking = False
        async with handle.stream() as stream:
            async for delta in stream:
                if delta.text and was_thinking:
                    writer.end()
                was_thinking = bool(delta.reasoning)
                writer.write(delta.reasoning, "dim italic")
                writer.write(delta.text)
            writer.end()
            completion = await stream.completion()
        seconds = self._add_duration(started)
        self._screen.record(
            step="stream",
            id=handle.id,
            chunks=stream.offset,
            reasoning=completion.reasoning,
            text=completion.text,
            seconds=round(seconds, 3),
        )

    async def _fan_out(self, fox: "FoxSession") -> None:
        from foxapi_async import as_completed

        prompts = [f"count 1 to {3 + number % _SLOWEST}" for number in range(_MANY)]
        started = perf_counter()
        with self._display.progress(_MANY, "accepted", "finished") as counters:
            began: dict[TaskHandle[Any], float] = {}

            async def submit(prompt: str) -> None:
                start = perf_counter()
                began[await fox.llm.submit(model="gpt-5.5", messages=prompt)] = start
                counters["accepted"].step()

            def finished(progress: "CompletionProgress") -> None:
                self._add_duration(began[progress.handle])
                counters["finished"].step()

            await asyncio.gather(*map(submit, prompts))
            accepted = perf_counter() - started
            completions = [await done async for done in as_completed(began, progress=finished)]
        seconds = perf_counter() - started
        if not self._screen.out.is_terminal:
            self._display.line(f"{len(began)} accepted after {accepted:.2f} s")
            self._display.line(f"{len(completions)} finished after {seconds:.2f} s")
        self._screen.record(step="gather", tasks=len(completions), seconds=round(seconds, 3))

    def _add_duration(self, started: float) -> float:
        """Record the seconds from a submit to its result, and return them."""
        self._seconds.append(perf_counter() - started)
        return self._seconds[-1]

    def _show_figures(self, tasks: int, seconds: float, gets: int) -> None:
        typical = median(self._seconds)
        self._display.figures(
            {
                "tasks": f"{tasks}",
                "wall time": f"{seconds:.2f} s",
                "GETs sent": f"{gets}",
                "median time to result": f"{typical:.2f} s",
            }
        )
        serve = "foxapi serve" if self._local_model is None else "foxapi serve --local"
        self._display.footer(f"Next: `{serve}` keeps it running for your own program.")
        self._screen.record(
            step="total",
            tasks=tasks,
            seconds=round(seconds, 3),
            gets=gets,
            median_seconds=round(typical, 3),
        )
