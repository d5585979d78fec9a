"""``foxapi submit``: submit a generation."""

from collections.abc import Coroutine
from typing import Annotated, Any

import typer

from foxapi_async.cli import options
from foxapi_async.cli.errors import ExitCode
from foxapi_async.cli.output import Screen
from foxapi_async.cli.runner import Session, open_session, run, submit
from foxapi_async.cli.wait import show_accepted, wait_for


def command(
    *,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model; see `foxapi models`.")],
    prompt: options.Prompt = None,
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
    stream: Annotated[
        bool,
        typer.Option(
            "--stream", help="Let `foxapi stream --task` read the answer while it is written."
        ),
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the result and show it.")] = False,
    json: options.AsJSON = None,
) -> None:
    """Submit a generation and show its task id.

    It is billed when the service accepts it. `foxapi wait` prints the result, at any later
    time and in any shell.
    """
    screen = Screen(json=json)

    def start() -> Coroutine[Any, Any, ExitCode]:
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
        # The stored answer of a thinking model lacks the reasoning, and may lack the text too.
        streamed = stream or (wait and _is_thinking(model))
        return _submit(
            screen, open_session(screen, journal=journal), params, stream=streamed, wait=wait
        )

    run(screen, start)


async def _submit(
    screen: Screen, session: Session, params: dict[str, Any], *, stream: bool, wait: bool
) -> ExitCode:
    async with session as fox:
        handle = await submit(screen, fox, params, stream=stream)
        if wait:
            screen.note(handle.id)
            return await wait_for(screen, [handle])
        hint = f", or stream it: foxapi stream --task {handle.id}" if stream else ""
        show_accepted(screen, handle, hint)
    return ExitCode.OK


def _is_thinking(model: str) -> bool:
    """Return whether the catalog lists ``model`` as a model that reasons before it answers."""
    from foxapi_async import catalog

    return any(item.id == model and item.thinking for item in catalog())
