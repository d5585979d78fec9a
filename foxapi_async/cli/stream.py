"""``foxapi stream``: show a generation while the model writes it."""

import shlex
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foxapi_async.cli import options
from foxapi_async.cli.errors import ExitCode, UsageError
from foxapi_async.cli.output import Screen
from foxapi_async.cli.render import answer_members
from foxapi_async.cli.runner import Session, open_session, run, submit
from foxapi_async.errors import ConfigError

if TYPE_CHECKING:
    from foxapi_async import ChatStream, Delta


def command(
    *,
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="The model; see `foxapi models`.", show_default=False),
    ] = None,
    prompt: options.Prompt = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="ID", help="Stream this task; submit nothing.")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option("--resume", metavar="CURSOR", help="With --task: resume at this cursor."),
    ] = None,
    max_tokens: options.MaxTokens = None,
    temperature: options.Temperature = None,
    system: options.System = None,
    image: options.Images = None,
    video: options.Videos = None,
    audio: options.Audios = None,
    file: options.Files = None,
    param: options.Params = None,
    key: options.Key = None,
    retry_failed: options.RetryFailed = False,
    journal: options.Journal = None,
    json: options.AsJSON = None,
) -> None:
    """Submit a generation and show the answer while the model writes it.

    Reasoning is dimmed. With --task nothing is submitted or billed: a stream can be read again for
    15 minutes after its end.
    """
    screen = Screen(json=json)

    def start() -> Coroutine[Any, Any, ExitCode]:
        if task is not None:
            if model is not None:
                raise UsageError("MODEL and --task exclude each other: leave one out")
            return _attach(screen, open_session(screen), task, resume)
        if model is None:
            raise UsageError("MODEL is missing: name a model, or an existing task by --task ID")
        if resume is not None:
            raise UsageError("--resume needs the task of the cursor: add --task ID")
        params = options.request_params(
            model=model,
            prompt=options.read_prompt(prompt),
            max_tokens=max_tokens,
            temperature=temperature,
            system=system,
            images=image,
            videos=video,
            audios=audio,
            files=file,
            params=param,
            key=key,
            retry_failed=retry_failed,
        )
        return _submit(screen, open_session(screen, journal=journal), params)

    run(screen, start)


async def _submit(screen: Screen, session: Session, params: dict[str, Any]) -> ExitCode:
    async with session as fox:
        handle = await submit(screen, fox, params, stream=True)
        return await _follow(screen, handle.stream())


async def _attach(screen: Screen, session: Session, task_id: str, resume: str | None) -> ExitCode:
    async with session as fox:
        try:
            stream = fox.tasks.handle(task_id).stream(resume=resume)
        except ConfigError as error:
            raise UsageError(f"--resume: {error}") from None
        return await _follow(screen, stream)


async def _follow(screen: Screen, stream: "ChatStream") -> ExitCode:
    task_id = stream.handle.id
    screen.note(task_id)
    screen.remember(
        task_id, lambda: f"foxapi stream --task {task_id} --resume {shlex.quote(stream.cursor)}"
    )
    async with stream:
        printer = _DeltaPrinter(screen)
        try:
            async for delta in stream:
                screen.record(**_members(delta))
                printer.add(delta)
        finally:
            printer.end()
        completion = await stream.completion()
    screen.record(
        id=task_id, offset=stream.offset, cursor=stream.cursor, **answer_members(completion)
    )
    screen.forget(task_id)
    if not stream.reasoning_complete:
        screen.note("some of the reasoning was lost with the connection")
    return ExitCode.OK


def _members(delta: "Delta") -> dict[str, Any]:
    members: dict[str, Any] = {
        "text": delta.text,
        "reasoning": delta.reasoning,
        "finish_reason": delta.finish_reason,
    }
    if delta.tool_calls:
        members["tool_calls"] = [call.to_dict() for call in delta.tool_calls]
    if delta.index:
        members["index"] = delta.index
    return members


class _DeltaPrinter:
    """Prints reasoning and text one after the other, each from the beginning of a line."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._last = ""
        self._kind = ""

    def add(self, delta: "Delta") -> None:
        """Print what the chunk adds to the text, the reasoning or the tool calls of choice 0."""
        if delta.index:
            return
        calls = "".join(
            (call.function.name or "") + (call.function.arguments or "")
            for call in delta.tool_calls
            if call.function
        )
        self._write("reasoning", delta.reasoning, "dim")
        self._write("text", delta.text, "")
        self._write("call", calls, "cyan")

    def end(self) -> None:
        """End the last line."""
        if self._last and not self._last.endswith("\n"):
            self._screen.print()

    def _write(self, kind: str, text: str, style: str) -> None:
        if not text:
            return
        if self._kind and kind != self._kind:
            self.end()
            self._screen.print()
        self._kind, self._last = kind, text
        self._screen.write(text, style)
