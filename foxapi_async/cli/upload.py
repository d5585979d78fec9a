"""``foxapi upload``: upload files and print their links."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foxapi_async.cli import options
from foxapi_async.cli.errors import ExitCode, UsageError
from foxapi_async.cli.output import Screen, local_time
from foxapi_async.cli.runner import Session, open_session, report_error, run
from foxapi_async.cli.transfer_bar import TransferBars, transfer_bars
from foxapi_async.errors import FoxAPIError

if TYPE_CHECKING:
    from foxapi_async import FoxSession, UploadedFile


def command(
    *,
    files: Annotated[
        list[str], typer.Argument(metavar="FILE|URL...", help="Paths, or URLs to fetch.")
    ],
    keep_old: Annotated[
        bool,
        typer.Option(
            "--keep-old", help="Delete no older file if the storage is full: the upload is refused."
        ),
    ] = False,
    again: Annotated[
        bool,
        typer.Option("--again", help="Send a file also if the journal has a valid link of it."),
    ] = False,
    journal: Annotated[
        str | None,
        typer.Option(
            "--journal", metavar="FILE", help="Keep the links there, so that a file is sent once."
        ),
    ] = None,
    json: options.AsJSON = None,
) -> None:
    """Upload files and print their links, which are valid for 72 hours.

    The exit code is the largest of the exit codes of all files.
    """
    screen = Screen(json=json)
    session = open_session(screen, journal=journal)
    run(screen, lambda: _upload_all(screen, session, files, keep_old=keep_old, again=again))


async def _upload_all(
    screen: Screen, session: Session, files: Sequence[str], *, keep_old: bool, again: bool
) -> ExitCode:
    codes = [ExitCode.OK]
    async with session as fox:
        for file in files:
            try:
                with transfer_bars(screen) as bars:
                    uploaded = await upload_file(fox, bars, file, keep_old=keep_old, again=again)
            except (FoxAPIError, UsageError) as error:
                codes.append(report_error(screen, error))
            else:
                _show(screen, file, uploaded)
    return max(codes)


async def upload_file(
    fox: "FoxSession",
    bars: TransferBars,
    file: str,
    *,
    keep_old: bool = False,
    again: bool = False,
) -> "UploadedFile":
    """Upload a path or a URL and draw its progress; ``UsageError`` if it cannot be read."""
    is_url = file.lower().startswith(("http://", "https://"))
    try:
        with bars.bar(file) as update:
            return await fox.files.upload(
                file if is_url else Path(file),
                auto_cleanup=not keep_old,
                reuse=not again,
                progress=update,
            )
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or 'cannot be read'}") from None
    except ValueError as error:
        raise UsageError(str(error)) from None


def _show(screen: Screen, file: str, uploaded: "UploadedFile") -> None:
    screen.record(
        file=file,
        url=uploaded.url,
        id=uploaded.id,
        filename=uploaded.filename,
        size=uploaded.size,
        created=uploaded.created,
        expires_at=uploaded.expires_at,
    )
    screen.print(uploaded.url)
    if not screen.is_json:
        screen.note(f"{file}: valid until {local_time(uploaded.expires_at)}")
