"""The options of ``foxapi serve``, and the gateway that they describe."""

import re
from enum import StrEnum
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from foxapi_async.cli.exit_codes import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foxapi_async.gateway import Gateway

_LONGEST_BUDGET: Final = 15
# A number that is no count. Words behind an `=` belong to the key.
_NUMBER: Final = re.compile(r"[+-]\d+(\.\d*)?|\d+\.\d*")


class ClockKind(StrEnum):
    """Where the gateway takes its time from."""

    REAL = "real"
    MANUAL = "manual"


class LogForm(StrEnum):
    """What the lines of the access log look like."""

    TEXT = "text"
    JSON = "json"


Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="The address to listen at.")]
Port = Annotated[
    int,
    typer.Option("--port", metavar="N", min=0, max=65535, help="The port; 0 takes a free one."),
]
QueueDelay = Annotated[
    float,
    typer.Option("--queue-delay", metavar="SECONDS", min=0, help="Seconds until a task begins."),
]
TokensPerSecond = Annotated[
    float, typer.Option("--tokens-per-second", metavar="N", min=0.01, help="How fast models write.")
]
APIKeys = Annotated[
    list[str] | None,
    typer.Option(
        "--api-key",
        metavar="KEY[=CREDITS]",
        help="Let only this key in, to spend so many credits; repeatable. Without: any key.",
    ),
]
AllowedHosts = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host",
        metavar="NAME",
        help="A name beside localhost that may stand in the address; repeatable.",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="FILE", help="Keep tasks and streams in this file, over restarts."
    ),
]
FaultRules = Annotated[
    list[str] | None,
    typer.Option(
        "--fault",
        metavar="RULE",
        help="Break something on purpose, as in submit:503:nth=2; repeatable.",
    ),
]
FaultsFile = Annotated[
    Path | None, typer.Option("--faults", metavar="FILE", help="A TOML file with rules of faults.")
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", help="Repeat the ids and the faults of another run."),
]
Clock = Annotated[
    ClockKind, typer.Option("--clock", help="Real time, or one that POST /_gateway/clock moves.")
]
Log = Annotated[
    LogForm | None,
    typer.Option("--log", help="Write a line to stderr for each answer.", show_default=False),
]
AsJSON = Annotated[bool, typer.Option("--json", help="Tell the address as a line of JSON.")]


def build_gateway(
    host: str,
    port: int,
    *,
    keys: "dict[str, int | None]",
    hosts: "Sequence[str]",
    faults: "Sequence[str]",
    faults_file: Path | None,
    seed: int | None,
    clock: ClockKind,
    log: LogForm | None,
    **settings: Any,
) -> "Gateway":
    """Build what the options describe; ``ConfigError`` names what is wrong."""
    from foxapi_async.gateway import FaultRule, Gateway, load_faults
    from foxapi_async.testing import ManualClock

    rules, file_seed = load_faults(faults_file) if faults_file is not None else ((), None)
    if clock is ClockKind.MANUAL:
        settings["clock"] = ManualClock(unix=time())
    return Gateway(
        host,
        port,
        api_keys=keys,
        hosts=tuple(hosts),
        faults=(*rules, *map(FaultRule.of, faults)),
        seed=file_seed if seed is None else seed,
        log=None if log is None else log.value,
        **settings,
    )


def read_key(text: str) -> tuple[str, int | None]:
    """Split a key from its credits: what follows the last ``=`` if it is a number.

    ``UsageError`` for a number that credits cannot be; the key is not in its message.
    """
    key, equals, budget = text.rpartition("=")
    if equals and key and budget.isascii() and budget.isdigit() and len(budget) <= _LONGEST_BUDGET:
        return key, int(budget)
    if key and _NUMBER.fullmatch(budget):
        raise UsageError("--api-key KEY=CREDITS: write the credits as a whole number, 0 or more")
    return text, None
