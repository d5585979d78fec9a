"""The Typer application: find the command that the arguments name, and run it."""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Final

import typer

from foxapi_async.cli.errors import ExitCode, StdoutError
from foxapi_async.cli.output import abandon_stdout, configure_output, write_stderr, writing_stdout

COMMANDS: Final = (
    *("demo", "serve", "submit", "stream", "wait", "task", "models"),
    *("image", "video", "audio", "document", "upload", "download"),
    *("batch", "journal", "local"),
)
"""The commands in the order of the help. Most are ``command`` in the module of their name."""

_WITH_LOCAL: Final = frozenset({"demo", "serve"})
_HELP: Final = (
    "Submit generations to FoxAPI, wait for them and stream them.\n\n"
    "FOXAPI_API_KEY is the API key, FOXAPI_BASE_URL the address of another server. Results are "
    "lines of JSON if stdout is not a terminal; messages go to stderr.\n\n"
    "Exit codes: 0 done, 1 the task failed, 2 wrong usage or a refused request, 3 the service was "
    "not reached, 4 unknown whether a submit was accepted, 6 a batch had too many errors, 74 a "
    "file or stdout could not be written, 124 the wait timed out, 130 Ctrl-C."
)


def build_app(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """Build the application with the named commands. Other commands are not loaded."""
    app = typer.Typer(
        help=_HELP,
        invoke_without_command=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_root)
    for name in names:
        command = load_command(name)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def load_command(  # noqa: C901, PLR0911, PLR0912 one return for each
    name: str,
) -> Callable[..., None] | typer.Typer:
    """Import the module of a command. PyInstaller finds import statements only."""
    match name:
        case "demo":
            from foxapi_async.cli import demo

            return demo.command
        case "serve":
            from foxapi_async.cli import serve

            return serve.command
        case "submit":
            from foxapi_async.cli import submit

            return submit.command
        case "stream":
            from foxapi_async.cli import stream

            return stream.command
        case "wait":
            from foxapi_async.cli import wait

            return wait.command
        case "task":
            from foxapi_async.cli import task

            return task.command
        case "models":
            from foxapi_async.cli import models

            return models.command
        case "image" | "video" | "audio" | "document":
            from foxapi_async.cli import media

            return media.COMMANDS[name]
        case "batch":
            from foxapi_async.cli import batch

            return batch.command
        case "upload":
            from foxapi_async.cli import upload

            return upload.command
        case "download":
            from foxapi_async.cli import download

            return download.command
        case "journal":
            from foxapi_async.cli import journal

            return journal.command
        case "local":
            from foxapi_async.cli import local

            return local.command
        case _:
            raise ValueError(f"no command {name!r}")


def run_command_line(arguments: Sequence[str]) -> int:
    """Run the command that ``arguments`` name and return its exit code."""
    named = arguments[0] if arguments else ""
    try:
        configure_output()
        # The other commands are needed to list them, or to suggest one for a misspelt name.
        app = build_app([named] if named in COMMANDS else COMMANDS)
        # Commands report their own errors. An error here is one of --help or --version.
        with writing_stdout():
            code = typer.main.get_command(app).main(
                complete_arguments(arguments), prog_name="foxapi", standalone_mode=False
            )
            sys.stdout.flush()
    except BrokenPipeError:
        abandon_stdout()
        return ExitCode.OK
    except StdoutError as error:
        abandon_stdout()
        write_stderr(f"foxapi: {error}\n")
        return ExitCode.UNWRITABLE
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except Exception as error:
        # The errors of typer have no public base class, but all have format_message().
        describe = getattr(error, "format_message", None)
        if describe is None:
            raise
        _report_usage_error(describe(), getattr(error, "ctx", None))
        return ExitCode.REFUSED
    return code if isinstance(code, int) else ExitCode.OK


def complete_arguments(arguments: Sequence[str]) -> list[str]:
    """Give a ``--local`` without a path an empty value: options of typer always take a value."""
    if not arguments or arguments[0] not in _WITH_LOCAL:
        return list(arguments)
    following = (*arguments[1:], "-")
    return [
        "--local=" if word == "--local" and after.startswith("-") else word
        for word, after in zip(arguments, following, strict=True)
    ]


def _root(
    context: typer.Context,
    *,
    version: Annotated[
        bool, typer.Option("--version", "-V", help="Show the version and exit.", is_eager=True)
    ] = False,
) -> None:
    """Show the version, or the help if no command is named."""
    if version:
        from foxapi_async import __version__

        typer.echo(f"foxapi {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _report_usage_error(message: str, context: typer.Context | None) -> None:
    path = context.command_path if context is not None else "foxapi"
    text = " ".join(message.split())
    write_stderr(f"{path}: {text}\n`{path} --help` lists the options\n")
