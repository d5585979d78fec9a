"""``foxapi serve``: run the local gateway."""

import asyncio
import errno
import gc
import signal
from collections.abc import Collection, Coroutine, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from os import PathLike
from pathlib import Path
from shlex import quote
from time import time
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple

import typer

from foxapi_async.cli.errors import ExitCode, UsageError
from foxapi_async.cli.local import Local, local_setting
from foxapi_async.cli.output import Screen
from foxapi_async.cli.runner import run
from foxapi_async.cli.serve_values import parse_keys, parse_prices

if TYPE_CHECKING:
    from foxapi_async.gateway import Gateway

# With a thousand live streams the interpreter's own 700 make a full collection each second, which
# takes a tenth of it: what a chunk needs on its way often outlives a young collection.
_NEW_OBJECTS: Final = 50_000
_ANY_KEY: Final = "sk-local"


class ClockKind(StrEnum):
    """The clock of the gateway."""

    REAL = "real"
    MANUAL = "manual"


class LogFormat(StrEnum):
    """The format of the access log."""

    TEXT = "text"
    JSON = "json"


Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Listen at this address.")]
Port = Annotated[
    int,
    typer.Option(
        "--port", metavar="N", min=0, max=65535, help="Listen at this port; 0 takes a free one."
    ),
]
QueueDelay = Annotated[
    float,
    typer.Option(
        "--queue-delay", metavar="SECONDS", min=0, help="Seconds before a task is processed."
    ),
]
TokensPerSecond = Annotated[
    float,
    typer.Option(
        "--tokens-per-second", metavar="N", min=0.01, help="Tokens that a model writes per second."
    ),
]
MediaDelay = Annotated[
    float,
    typer.Option(
        "--media-delay",
        metavar="SECONDS",
        min=0,
        help="Seconds that an image, a video, audio or a document takes.",
    ),
]
APIKeys = Annotated[
    list[str] | None,
    typer.Option(
        "--api-key",
        metavar="KEY[=CREDITS]",
        help="Accept only this key, with this many credits such as 100 or 2.5; repeatable. "
        "Without: any key.",
    ),
]
Prices = Annotated[
    list[str] | None,
    typer.Option(
        "--price",
        metavar="[MODEL=]CREDITS",
        help="The credits of an accepted generation, of all models or of one; a failed one costs "
        "them too; repeatable. Without: 1.",
    ),
]
AllowedHosts = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host",
        metavar="NAME",
        help="Accept this host name besides localhost; repeatable.",
    ),
]
AllowedOrigins = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-origin",
        metavar="ORIGIN",
        help="Let web pages of this origin use the gateway, as http://localhost:5173; repeatable.",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="FILE", help="Keep tasks and streams in this file."),
]
PublicURL = Annotated[
    str | None,
    typer.Option(
        "--public-url",
        metavar="URL",
        help="Begin the links of files with this, such as https://host of a proxy with TLS.",
        show_default=False,
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="NAME[:INPUTS]",
        help="Add a simulated model, such as my-model:vision,file; repeatable.",
    ),
]
UpstreamURLs = Annotated[
    list[str] | None,
    typer.Option(
        "--upstream",
        metavar="URL",
        help="Ask this OpenAI-compatible server, such as http://127.0.0.1:11434/v1; repeatable.",
    ),
]
UpstreamModels = Annotated[
    list[str] | None,
    typer.Option(
        "--upstream-model",
        metavar="ID[=NAME][@URL]",
        help="Answer model ID by NAME of the upstream; repeatable.",
    ),
]
UpstreamKeys = Annotated[
    list[str] | None,
    typer.Option(
        "--upstream-key-env",
        metavar="VARIABLE[@URL]",
        help="The environment variable that has the upstream's key.",
    ),
]
UpstreamConcurrency = Annotated[
    int | None,
    typer.Option(
        "--upstream-concurrency",
        metavar="N",
        min=1,
        help="Requests that an upstream gets at a time; 8 by default.",
        show_default=False,
    ),
]
UpstreamPatience = Annotated[
    float | None,
    typer.Option(
        "--upstream-patience",
        metavar="SECONDS",
        min=0,
        help="How long a task waits for a busy or absent upstream; 60 by default.",
        show_default=False,
    ),
]
UpstreamsFile = Annotated[
    Path | None,
    typer.Option("--upstreams", metavar="FILE", help="A TOML file of upstreams."),
]
OnlyUpstream = Annotated[bool, typer.Option("--only-upstream", help="Serve no simulated models.")]
FaultRules = Annotated[
    list[str] | None,
    typer.Option(
        "--fault",
        metavar="RULE",
        help="Inject a fault, such as submit:503:nth=2; repeatable.",
    ),
]
FaultsFile = Annotated[
    Path | None, typer.Option("--faults", metavar="FILE", help="A TOML file of fault rules.")
]
RepliesFile = Annotated[
    Path | None,
    typer.Option(
        "--replies",
        metavar="FILE",
        help="Answer with the replies of this TOML, JSON or JSONL file, in order.",
    ),
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", help="Repeat the ids and the faults of another run."),
]
Clock = Annotated[
    ClockKind,
    typer.Option("--clock", help="Real time, or a clock that POST /_gateway/clock moves."),
]
Log = Annotated[
    LogFormat | None,
    typer.Option("--log", help="Write a line to stderr for each response.", show_default=False),
]
AsJSON = Annotated[bool, typer.Option("--json", help="Print the address as a line of JSON.")]


def command(
    *,
    host: Host = "127.0.0.1",
    port: Port = 8787,
    queue_delay: QueueDelay = 0.5,
    tokens_per_second: TokensPerSecond = 40.0,
    media_delay: MediaDelay = 2.0,
    api_key: APIKeys = None,
    price: Prices = None,
    allow_host: AllowedHosts = None,
    allow_origin: AllowedOrigins = None,
    data: Data = None,
    public_url: PublicURL = None,
    model: Models = None,
    upstream: UpstreamURLs = None,
    upstream_model: UpstreamModels = None,
    upstream_key_env: UpstreamKeys = None,
    upstream_concurrency: UpstreamConcurrency = None,
    upstream_patience: UpstreamPatience = None,
    upstreams: UpstreamsFile = None,
    only_upstream: OnlyUpstream = False,
    local: Local = None,
    fault: FaultRules = None,
    faults: FaultsFile = None,
    replies: RepliesFile = None,
    seed: Seed = None,
    clock: Clock = ClockKind.REAL,
    log: Log = None,
    json: AsJSON = False,
) -> None:
    """Serve the API of FoxAPI on this machine until Ctrl-C.

    It needs no account and bills nothing: the models are simulated, those of an upstream, or a
    small one on this machine. The first line is the address, the next lines set up the shell of the
    program that uses it.
    """
    screen = Screen(json=json)

    def start() -> Coroutine[Any, Any, ExitCode]:
        keys = parse_keys(api_key or ())
        _check_host(host, keys)
        words = (upstream or (), upstream_model or (), upstream_key_env or ())
        given = _UpstreamOptions(*words, upstream_concurrency, upstream_patience, upstreams)
        simulation = _Simulation(
            *(fault or (), faults, replies, seed, clock),
            *(queue_delay, media_delay, tokens_per_second),
        )
        gateway = _build_gateway(
            host,
            port,
            simulation,
            keys=keys,
            prices=parse_prices(price or ()),
            hosts=allow_host or (),
            allow_origins=allow_origin or (),
            models=tuple(model or ()),
            only_upstream=only_upstream,
            **_real_models(local_setting(screen, local), given),
            log=log,
            data=data,
            public_url=public_url,
        )
        return _serve(screen, gateway, port, guarded=bool(keys))

    run(screen, start)


def _check_host(host: str, keys: "Mapping[str, object]") -> None:
    """Raise ``UsageError`` for an address that other machines can reach, without keys."""
    from foxapi_async.config import is_loopback

    if not keys and not is_loopback(host):
        raise UsageError(f"--host {host} admits other machines: add --api-key KEY")


class _Simulation(NamedTuple):
    """The options of what the gateway plays."""

    faults: "Sequence[str]"
    faults_file: Path | None
    replies_file: Path | None
    seed: int | None
    clock: ClockKind
    queue_delay: float
    media_delay: float
    tokens_per_second: float


class _UpstreamOptions(NamedTuple):
    """The options of upstreams, as they were given."""

    urls: "Sequence[str]"
    models: "Sequence[str]"
    key_envs: "Sequence[str]"
    concurrency: int | None
    patience: float | None
    file: Path | None


def _real_models(local: "bool | str", given: _UpstreamOptions) -> dict[str, Any]:
    """Return the settings of the local model and of the upstreams."""
    from foxapi_async.gateway.upstream_settings import load_upstreams, parse_upstreams

    local_names, models = _split_names(local, given.models)
    upstreams = parse_upstreams(
        given.urls,
        models=models,
        key_envs=given.key_envs,
        concurrency=given.concurrency,
        patience=given.patience,
    )
    if given.file is not None:
        upstreams = (*load_upstreams(given.file), *upstreams)
    return {"local": local, "local_names": local_names, "upstreams": upstreams}


def _split_names(
    local: "bool | str", models: "Sequence[str]"
) -> "tuple[Sequence[str], Sequence[str]]":
    """Return the ids that the local model answers too, and the other values of the option."""
    if not local:
        return (), models
    from foxapi_async.gateway.models.local import local_model_id
    from foxapi_async.gateway.upstream_settings import split_model

    suffix = f"={local_model_id(local)}"
    own = [split_model(text)[0] for text in models if text.endswith(suffix)]
    return own, [text for text in models if not text.endswith(suffix)]


def _build_gateway(
    host: str,
    port: int,
    played: _Simulation,
    *,
    keys: "Mapping[str, float | None]",
    prices: "Mapping[str, float]",
    hosts: "Sequence[str]",
    log: LogFormat | None,
    **settings: Any,
) -> "Gateway":
    """Build the gateway of the options. ``ConfigError`` names an option that is wrong."""
    from foxapi_async.gateway import FaultRule, Gateway, load_faults, load_replies
    from foxapi_async.testing import ManualClock

    file, seed = played.faults_file, played.seed
    rules, file_seed = load_faults(file) if file is not None else ((), None)
    if played.replies_file is not None:
        settings["replies"] = load_replies(played.replies_file)
    if played.clock is ClockKind.MANUAL:
        settings["clock"] = ManualClock(unix=time())
    return Gateway(
        host,
        port,
        api_keys=keys,
        price=prices.get("", 1.0),
        prices={model: price for model, price in prices.items() if model},
        hosts=tuple(hosts),
        faults=(*rules, *map(FaultRule.of, played.faults)),
        seed=file_seed if seed is None else seed,
        queue_delay=played.queue_delay,
        media_delay=played.media_delay,
        token_delay=1 / played.tokens_per_second,
        log=None if log is None else log.value,
        **settings,
    )


async def _serve(screen: Screen, gateway: "Gateway", port: int, *, guarded: bool) -> ExitCode:
    try:
        await gateway.__aenter__()
    except OSError as error:
        raise UsageError(_listen_error(gateway.host, port, error)) from None
    stop = asyncio.Event()
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            # Event loops on Windows have no signal handlers. There, Ctrl-C raises.
            with suppress(NotImplementedError):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
        _announce(screen, gateway, guarded=guarded)
        with rare_collections():
            await stop.wait()
    finally:
        await gateway.__aexit__(None, None, None)
    return ExitCode.OK


@contextmanager
def rare_collections() -> Generator[None]:
    """Let the interpreter collect cyclic garbage after more new objects, while the context is open.

    It concerns the whole process, so only a command does it.
    """
    before = gc.get_threshold()
    gc.set_threshold(max(_NEW_OBJECTS, before[0]) if before[0] else 0, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _listen_error(host: str, port: int, error: OSError) -> str:
    """Return why the gateway cannot listen. The system's message shows the address as a tuple."""
    where = f"cannot listen at {host}, port {port}"
    if error.errno == errno.EADDRINUSE:
        return f"{where}: another program has the port; choose --port N, or --port 0 for a free one"
    if error.errno == errno.EACCES:
        return f"{where}: this port is for administrators; choose --port N above 1023"
    # asyncio gives no number if it tried several addresses.
    if error.errno in {errno.EADDRNOTAVAIL, None}:
        return f"{where}: this machine has no such address; choose another --host"
    return f"{where}: {error.strerror or 'it cannot be used'}; try another --host, or --port 0"


def _announce(screen: Screen, gateway: "Gateway", *, guarded: bool) -> None:
    from foxapi_async.config import is_loopback
    from foxapi_async.gateway.app import SETTINGS
    from foxapi_async.gateway.models.model_rules import parse_upstream_model

    environment = {"FOXAPI_BASE_URL": gateway.url}
    # A key of --api-key is a secret.
    environment["FOXAPI_API_KEY"] = "YOUR_KEY" if guarded else _ANY_KEY
    if not is_loopback(gateway.host):
        environment["FOXAPI_ALLOW_HTTP"] = "1"
    screen.record(url=gateway.url, port=gateway.port, environment=environment)
    screen.print(gateway.url)
    for name, value in environment.items():
        screen.print(f"export {name}={value}")
    settings = gateway.app[SETTINGS]
    if settings.local:
        _announce_local(screen, settings.local, settings.local_names)
    for upstream in settings.upstreams:
        models = ", ".join(
            f"{ours} = {name or parse_upstream_model(ours).id}"
            for ours, name in upstream.names.items()
        )
        screen.note(f"upstream {upstream.url}: {models}")
    if gateway.faults:
        rules = ", ".join(map(str, gateway.faults.rules))
        screen.note(f"faults, by seed {gateway.faults.seed}: {rules}")
    screen.note("Ctrl-C stops it")


def _announce_local(
    screen: Screen, source: "Literal[True] | str | PathLike[str]", names: "Collection[str]"
) -> None:
    from foxapi_async.gateway.models.local import local_model_id

    model_id = local_model_id(source)
    also = f", also as {', '.join(names)}" if names else ""
    screen.note(f"local model: {model_id}{also}")
    screen.note(f"ask it, in a shell with the lines above: foxapi stream {quote(model_id)} hello")
