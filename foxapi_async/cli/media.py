"""``foxapi image``, ``video``, ``audio`` and ``document``: make media, and save the files."""

from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

import typer
from msgspec import Struct

from foxapi_async.cli import options
from foxapi_async.cli.errors import ExitCode, UsageError
from foxapi_async.cli.output import Screen
from foxapi_async.cli.runner import Session, open_session, run
from foxapi_async.cli.save import Saving
from foxapi_async.cli.transfer_bar import transfer_bars
from foxapi_async.cli.upload import upload_file
from foxapi_async.cli.wait import show_accepted, wait_for

if TYPE_CHECKING:
    from foxapi_async import FoxSession

Resource: TypeAlias = Literal["images", "videos", "audios", "documents"]

_OPTION_OF: Final = {
    "model": "the argument MODEL",
    "prompt": "PROMPT",
    "key": "--key",
    "retry_failed": "--retry-failed",
}
_LINKS: Final = (
    "It is billed when the service accepts it. `-o .` saves the files; without it, their links are "
    "shown, which are valid for 24 hours. `foxapi models --media` lists models and parameters."
)

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="The model; see `foxapi models --media`.")
]
Prompt = Annotated[
    str | None,
    typer.Argument(
        metavar="PROMPT",
        help="The prompt; `-` reads stdin. Some models take none.",
        show_default=False,
    ),
]
Uploads = Annotated[
    list[str] | None,
    typer.Option(
        "--upload",
        metavar="NAME=PATH",
        help="Upload a file, and send its link as a parameter, such as image_urls; repeatable.",
    ),
]
NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Show the task id, and do not wait for the files.")
]


class MediaSubmission(Struct, frozen=True, kw_only=True):
    """What a command submits."""

    resource: Resource
    """The member of the session."""
    keywords: dict[str, Any]
    """The keywords of ``submit``."""
    uploads: list[tuple[str, Path]]
    """The parameters that are links of uploaded files, and the files."""


def _command(resource: Resource, summary: str) -> Callable[..., None]:
    def command(
        *,
        model: Model,
        prompt: Prompt = None,
        param: options.Params = None,
        upload: Uploads = None,
        output: options.OutputFolder = None,
        overwrite: options.Overwrite = False,
        open_files: options.OpenFiles = False,
        key: options.Key = None,
        retry_failed: options.RetryFailed = False,
        journal: options.Journal = None,
        timeout: options.WaitTimeout = None,
        no_wait: NoWait = False,
        json: options.AsJSON = None,
    ) -> None:
        screen = Screen(json=json)

        def start() -> Coroutine[Any, Any, ExitCode]:
            saving = Saving.from_options(output, overwrite=overwrite, open_files=open_files)
            if no_wait and saving is not None:
                raise UsageError(
                    "--no-wait: the files are not made yet, so leave -o and --open out"
                )
            keywords = media_params(prompt, param or ())
            if retry_failed and key is None:
                raise UsageError("--retry-failed needs --key: without a key each submission is new")
            submission = MediaSubmission(
                resource=resource,
                keywords={"model": model, "key": key, "retry_failed": retry_failed, **keywords},
                uploads=named_files(upload or (), keywords.keys() | keywords["extra"].keys()),
            )
            session = open_session(screen, wait_timeout=timeout, journal=journal)
            return _make(screen, session, submission, saving, wait=not no_wait)

        run(screen, start)

    command.__doc__ = f"{summary}\n\n{_LINKS}"
    return command


COMMANDS: Final = {
    "image": _command("images", "Make images, and show or save them."),
    "video": _command("videos", "Make videos, and show their links or save them."),
    "audio": _command("audios", "Make speech, music or a transcript, and show or save it."),
    "document": _command("documents", "Convert documents, and show the links or save the files."),
}
"""The commands by their names."""


async def _make(
    screen: Screen,
    session: Session,
    submission: MediaSubmission,
    saving: Saving | None,
    *,
    wait: bool,
) -> ExitCode:
    async with session as fox:
        links = await _upload_all(screen, fox, submission.uploads)
        keywords = submission.keywords
        keywords = {**keywords, "extra": {**keywords["extra"], **links}}
        handle = await getattr(fox, submission.resource).submit(**keywords)
        screen.remember(handle.id)
        if not wait:
            show_accepted(screen, handle)
            return ExitCode.OK
        screen.note(handle.id)
        return await wait_for(screen, [handle], saving)


async def _upload_all(
    screen: Screen, fox: "FoxSession", files: Sequence[tuple[str, Path]]
) -> dict[str, Any]:
    links: dict[str, Any] = {}
    for name, path in files:
        with transfer_bars(screen) as bars:
            link = (await upload_file(fox, bars, str(path))).url
        if takes_several(name):
            links.setdefault(name, []).append(link)
        else:
            links[name] = link
    return links


def takes_several(name: str) -> bool:
    """Tell whether a parameter is a list of links, such as ``image_urls``."""
    return name.endswith("s")


def media_params(prompt: str | None, params: Iterable[str]) -> dict[str, Any]:
    """Return the prompt, and the other parameters as ``extra``.

    Raises:
        UsageError: an option is wrong; the message names it.
    """
    extra: dict[str, Any] = {}
    for name, value in options.named_values(params):
        if name in _OPTION_OF:
            raise UsageError(f"--param {name}: use {_OPTION_OF[name]}")
        if name in extra:
            raise UsageError(f"--param {name}: given twice")
        extra[name] = value
    text = {} if prompt is None else {"prompt": options.read_prompt(prompt)}
    return {**text, "extra": extra}


def named_files(uploads: Iterable[str], taken: Iterable[str]) -> list[tuple[str, Path]]:
    """Return the parameter and the path of each ``NAME=PATH``.

    Raises:
        UsageError: one is no file, or its parameter has a value already.
    """
    found: list[tuple[str, Path]] = []
    used = {*taken}
    for text in uploads:
        name, equals, path = text.partition("=")
        if not name or not equals or not path:
            raise UsageError(f"--upload {text[:40]!r}: write NAME=PATH, as in image_urls=cat.png")
        if name in used:
            raise UsageError(f"--upload {name}: given twice; a list has a name such as image_urls")
        if not takes_several(name):
            used.add(name)
        if not Path(path).is_file():
            raise UsageError(f"--upload {name}: there is no file {path}")
        found.append((name, Path(path)))
    return found
