"""``foxapi serve``: the local gateway on its own."""

import asyncio
import errno
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from foxapi_async.cli.exit_codes import ExitCode, UsageError
from foxapi_async.cli.output import Screen
from foxapi_async.cli.runner import run
from foxapi_async.cli.serving import (
    AllowedHosts,
    APIKeys,
    AsJSON,
    Clock,
    ClockKind,
    Data,
    FaultRules,
    FaultsFile,
    Host,
    Log,
    Port,
    QueueDelay,
    Seed,
    TokensPerSecond,
    build_gateway,
    read_key,
)

if TYPE_CHECKING:
    from foxapi_async.gateway import Gateway

_ANY_KEY: Final = "sk-local"


def command(
    *,
    host: Host = "127.0.0.1",
    port: Port = 8787,
    queue_delay: QueueDelay = 0.5,
    tokens_per_second: TokensPerSecond = 40.0,
    api_key: APIKeys = None,
    allow_host: AllowedHosts = None,
    data: Data = None,
    fault: FaultRules = None,
    faults: FaultsFile = None,
    seed: Seed = None,
    clock: Clock = ClockKind.REAL,
    log: Log = None,
    json: AsJSON = False,
) -> None:
    """Serve FoxAPI's contract on this machine until Ctrl-C.

    No account and no bill: the models are simulated. The first line is the address, the next are
    for the shell of the program that is to use it.
    """
    screen = Screen(json=json)

    def start() -> Coroutine[Any, Any, ExitCode]:
        from foxapi_async.config import is_loopback

        keys = dict(map(read_key, api_key or ()))
        if not keys and not is_loopback(host):
            raise UsageError(f"--host {host} lets other machines in: guard it by --api-key KEY")
        gateway = build_gateway(
            host,
            port,
            keys=keys,
            hosts=allow_host or (),
            faults=fault or (),
            faults_file=faults,
            seed=seed,
            clock=clock,
            log=log,
            data=data,
            queue_delay=queue_delay,
            token_delay=1 / tokens_per_second,
        )
        return _serve(screen, gateway, port, guarded=bool(keys))

    run(screen, start)


async def _serve(screen: Screen, gateway: "Gateway", port: int, *, guarded: bool) -> ExitCode:
    try:
        await gateway.__aenter__()
    except OSError as error:
        raise UsageError(_no_listening(gateway.host, port, error)) from None
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


def _no_listening(host: str, port: int, error: OSError) -> str:
    """Say why nothing listens. The system's own words would repeat the address as a tuple."""
    where = f"cannot listen at {host}, port {port}"
    if error.errno == errno.EADDRINUSE:
        return f"{where}: another program has the port; choose --port N, or --port 0 for a free one"
    if error.errno == errno.EACCES:
        return f"{where}: this port is for administrators; choose --port N above 1023"
    # asyncio gives no number where it went on to the next address, and there was none.
    if error.errno in {errno.EADDRNOTAVAIL, None}:
        return f"{where}: this machine has no such address; choose another --host"
    return f"{where}: {error.strerror or 'it cannot be used'}; try another --host, or --port 0"


def _announce(screen: Screen, gateway: "Gateway", *, guarded: bool) -> None:
    from foxapi_async.config import is_loopback

    environment = {"FOXAPI_BASE_URL": gateway.url}
    # A key that was given is the giver's to tell.
    environment["FOXAPI_API_KEY"] = "YOUR_KEY" if guarded else _ANY_KEY
    if not is_loopback(gateway.host):
        environment["FOXAPI_ALLOW_HTTP"] = "1"
    screen.record(url=gateway.url, port=gateway.port, environment=environment)
    screen.print(gateway.url)
    for name, value in environment.items():
        screen.print(f"export {name}={value}")
    if gateway.faults:
        rules = ", ".join(map(str, gateway.faults.rules))
        screen.note(f"on purpose, by seed {gateway.faults.seed}: {rules}")
    screen.note("Ctrl-C stops it")
