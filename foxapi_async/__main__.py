"""The ``foxapi`` command, also as ``python -m foxapi_async``."""

import sys

_CLI_EXTRA = frozenset({"rich", "typer"})


def main() -> int:
    """Run the command line of this process and return its exit code.

    Without the ``cli`` extra it supports ``--version`` only, and otherwise says what to install.
    """
    try:
        from foxapi_async.cli.app import run_command_line
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _CLI_EXTRA:
            raise
        if sys.argv[1:] in (["--version"], ["-V"]):
            from foxapi_async import __version__

            sys.stdout.write(f"foxapi {__version__}\n")
            return 0
        sys.stderr.write(
            "foxapi: the command needs an extra: python -m pip install 'foxapi-async[cli]'\n"
        )
        return 2
    except KeyboardInterrupt:
        return 130
    return run_command_line(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
