"""From the arguments of the command line to the command that they name."""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Final

import typer

from foxapi_async.cli.exit_codes import ExitCode, OutputError
from foxapi_async.cli.output import abandon_stdout, configure_output, tell, writing_stdout

COMMANDS: Final = ("demo", "serve", "submit", "stream", "wait", "task", "models", "journal")
"""Every command, in the order of the help; each is ``command`` in the module of its name."""

_HELP: Final = (
    "Submit generations to FoxAPI, wait for them and follow them live.\n\n"
    "FOXAPI_API_KEY holds the key, FOXAPI_BASE_URL another address than the service's own. Answers "
    "are lines of JSON when stdout is not a terminal; messages go to stderr.\n\n"
    "Exit codes: 0 done, 1 the task failed, 2 bad usage or a refused request, 3 the service could "
    "not be reached, 4 unknown whether a submit was accepted, 74 stdout could not be written, "
    "124 the wait ran out, 130 Ctrl-C."
)


def build_app(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """Build the application with the named commands, and load no others."""
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


def load_command(name: str) -> Callable[..., None] | typer.Typer:  # noqa: PLR0911 one each
    """Load the module of a command. The imports are spelt out for tools that freeze programs."""
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
        case "journal":
            from foxapi_async.cli import journal

            return journal.command
        case _:
            raise ValueError(f"no command {name!r}")


def run_command_line(arguments: Sequence[str]) -> int:
    """Run the command that ``arguments`` name and return its exit code."""
    named = arguments[0] if arguments else ""
    try:
        configure_output()
        # The other commands are needed only to list them, or to guess which one was meant.
        app = build_app([named] if named in COMMANDS else COMMANDS)
        # Commands tell their own errors; what the system refuses here is a help or a version.
        with writing_stdout():
            code = typer.main.get_command(app).main(
                list(arguments), prog_name="foxapi", standalone_mode=False
            )
            sys.stdout.flush()
    except BrokenPipeError:
        abandon_stdout()
        return ExitCode.OK
    except OutputError as error:
        abandon_stdout()
        tell(f"foxapi: {error}\n")
        return ExitCode.UNWRITABLE
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except Exception as error:
        # typer's own errors have no public base class, but they all describe themselves.
        describe = getattr(error, "format_message", None)
        if describe is None:
            raise
        _complain_of_usage(describe(), getattr(error, "ctx", None))
        return ExitCode.REFUSED
    return code if isinstance(code, int) else ExitCode.OK


def _root(
    context: typer.Context,
    *,
    version: Annotated[
        bool, typer.Option("--version", "-V", help="Show the version and leave.", is_eager=True)
    ] = False,
) -> None:
    """Show the version or the help when no command is named."""
    if version:
        from foxapi_async import __version__

        typer.echo(f"foxapi {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _complain_of_usage(message: str, context: typer.Context | None) -> None:
    path = context.command_path if context is not None else "foxapi"
    text = " ".join(message.split())
    tell(f"{path}: {text}\n{path} --help tells what it takes\n")
