"""``foxapi serve``: the local gateway on its own."""

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foxapi_async.cli.exits import ExitCode, UsageError
from foxapi_async.cli.running import run
from foxapi_async.cli.screen import Screen

if TYPE_CHECKING:
    from foxapi_async.gateway import Gateway

_ANY_KEY = "sk-local"


def command(
    *,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="The address to listen at.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option("--port", metavar="N", min=0, max=65535, help="The port; 0 takes a free one."),
    ] = 8787,
    queue_delay: Annotated[
        float,
        typer.Option(
            "--queue-delay", metavar="SECONDS", min=0, help="Seconds until a task begins."
        ),
    ] = 0.5,
    tokens_per_second: Annotated[
        float,
        typer.Option("--tokens-per-second", metavar="N", min=0.01, help="How fast models write."),
    ] = 40.0,
    api_key: Annotated[
        list[str] | None,
        typer.Option(
            "--api-key", metavar="KEY", help="Let only this key in; repeatable. Without: any key."
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Tell the address as a line of JSON.")
    ] = False,
) -> None:
    """Serve FoxAPI's contract on this machine until Ctrl-C.

    No account and no bill: the models are simulated. The first line is the address, the next are
    for the shell of the program that is to use it.
    """
    screen = Screen(json=json)
    keys = tuple(api_key or ())

    def start() -> Coroutine[Any, Any, ExitCode]:
        from foxapi_async.gateway import Gateway

        if not keys and not _is_loopback(host):
            raise UsageError(f"--host {host} lets other machines in: guard it by --api-key KEY")
        gateway = Gateway(
            host,
            port,
            queue_delay=queue_delay,
            token_delay=1 / tokens_per_second,
            api_keys=keys,
        )
        return _serve(screen, gateway, guarded=bool(keys))

    run(screen, start)


async def _serve(screen: Screen, gateway: "Gateway", *, guarded: bool) -> ExitCode:
    try:
        await gateway.__aenter__()
    except OSError as error:
        reason = error.strerror or "it cannot be used"
        raise UsageError(f"cannot listen at {gateway.host}: {reason}; try --port 0") from None
    stop = asyncio.Event()
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            # Windows has no handlers in the loop; Ctrl-C ends the command there as any other.
            with suppress(NotImplementedError):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
        _announce(screen, gateway, guarded=guarded)
        await stop.wait()
    finally:
        await gateway.__aexit__(None, None, None)
    return ExitCode.OK


def _announce(screen: Screen, gateway: "Gateway", *, guarded: bool) -> None:
    environment = {"FOXAPI_BASE_URL": gateway.url}
    # A key that was given is the giver's to tell.
    environment["FOXAPI_API_KEY"] = "YOUR_KEY" if guarded else _ANY_KEY
    if not _is_loopback(gateway.host):
        environment["FOXAPI_ALLOW_HTTP"] = "1"
    screen.record(url=gateway.url, port=gateway.port, environment=environment)
    screen.print(gateway.url)
    for name, value in environment.items():
        screen.print(f"export {name}={value}")
    screen.note("Ctrl-C stops it")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return False
