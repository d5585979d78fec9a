"""``foxapi models``: list the models and what each accepts."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foxapi_async.cli import options
from foxapi_async.cli.errors import ExitCode
from foxapi_async.cli.media_models import explain_model, list_models
from foxapi_async.cli.output import Screen
from foxapi_async.cli.render import table
from foxapi_async.cli.runner import Session, open_session, run

if TYPE_CHECKING:
    from foxapi_async import CatalogModel

_UNKNOWN = "?"
_HEADER = ("model", "reads", "max_tokens", "thinks")
_MAX_TOKENS = {
    "optional": "optional",
    "at_least_16": "at least 16",
    "required": "required",
}


def command(
    *,
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="With --media: show the parameters of this model."),
    ] = None,
    media: Annotated[
        bool,
        typer.Option(
            "--media",
            help="Send no request; list the models of images, video, audio and documents.",
        ),
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Send no request; list the models that foxapi knows.")
    ] = False,
    json: options.AsJSON = None,
) -> None:
    """List the models of this API key and what each accepts."""
    screen = Screen(json=json)
    if media:
        explain = (
            partial(list_models, screen) if model is None else partial(explain_model, screen, model)
        )
        run(screen, explain)
    if model is not None:
        raise typer.BadParameter(f"{model[:80]!r} needs --media: other models have no parameters")
    run(screen, lambda: _list(screen, None if offline else open_session(screen), _known()))


async def _list(
    screen: Screen, session: Session | None, known: Mapping[str, "CatalogModel"]
) -> ExitCode:
    if session is None:
        rows = [_row(model.id, model.capabilities, model) for model in known.values()]
    else:
        async with session as fox:
            served = await fox.models.list()
        rows = [_row(model.id, model.capabilities, known.get(model.id)) for model in served]
    for row in rows:
        screen.record(**row)
    screen.print(table(_HEADER, map(_cells, rows)))
    if not rows:
        screen.note("the service offers no model to this API key")
    return ExitCode.OK


def _known() -> "Mapping[str, CatalogModel]":
    from foxapi_async import catalog

    return {model.id: model for model in catalog()}


def _row(name: str, capabilities: Iterable[str], rules: "CatalogModel | None") -> dict[str, Any]:
    """Return the record of a model; members that the catalog does not know are null."""
    return {
        "id": name,
        "capabilities": list(capabilities),
        "content_types": list(rules.content_types) if rules else None,
        "max_tokens": rules.max_tokens if rules else None,
        "thinking": rules.thinking if rules else None,
    }


def _cells(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return (
        row["id"],
        ", ".join(row["capabilities"]),
        _MAX_TOKENS.get(row["max_tokens"], _UNKNOWN),
        _UNKNOWN if row["thinking"] is None else "yes" if row["thinking"] else "",
    )
