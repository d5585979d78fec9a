"""``foxapi models --media``: the known media models, and the parameters of one of them."""

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from foxapi_async.cli.errors import ExitCode, UsageError
from foxapi_async.cli.output import Screen
from foxapi_async.cli.render import key_values, table

if TYPE_CHECKING:
    from foxapi_async import MediaModel, MediaParam

_MODELS: Final = ("model", "makes", "requires")
_PARAMS: Final = ("parameter", "required", "type", "default", "values")


async def list_models(screen: Screen) -> ExitCode:
    """List the media models that foxapi knows. Sends no request."""
    from foxapi_async import media_catalog

    models = media_catalog()
    for model in models:
        screen.record(**_summary(model))
    rows = [(model.id, model.kind, ", ".join(_required(model))) for model in models]
    screen.print(table(_MODELS, rows))
    screen.note("`foxapi models --media MODEL` explains the parameters of one")
    return ExitCode.OK


async def explain_model(screen: Screen, name: str) -> ExitCode:
    """Show the parameters of a media model. Sends no request."""
    from foxapi_async import media_catalog

    known = {each: model for model in media_catalog() for each in (model.id, *model.other_ids)}
    model = known.get(name)
    if model is None:
        near = get_close_matches(name[:80], known, n=1)
        otherwise = "`foxapi models --media` lists the known ones"
        hint = f"did you mean {near[0]!r}?" if near else otherwise
        raise UsageError(f"MODEL {name[:80]!r} is not a media model that foxapi knows; {hint}")
    screen.record(**_summary(model), params=[_record(*item) for item in model.params.items()])
    head = {
        "model": model.id,
        "variants": ", ".join(model.other_ids),
        "makes": model.kind,
        "results": model.result,
    }
    screen.print(key_values(head))
    screen.print()
    screen.print(table(_PARAMS, [_cells(*item) for item in model.params.items()]))
    if any(param.hints for param in model.params.values()):
        screen.note("values in brackets are read from descriptions: foxapi does not check them")
    return ExitCode.OK


def _summary(model: "MediaModel") -> dict[str, Any]:
    return {
        "id": model.id,
        "variants": list(model.other_ids),
        "kind": model.kind,
        "path": model.path,
        "result": model.result,
        "required": _required(model),
    }


def _required(model: "MediaModel") -> list[str]:
    return [name for name, param in model.params.items() if param.required]


def _record(name: str, param: "MediaParam") -> dict[str, Any]:
    return {"name": name, **msgspec.structs.asdict(param)}


def _cells(name: str, param: "MediaParam") -> tuple[str, str, str, str, str]:
    items = f" of {param.items}" if param.items is not None else ""
    kind = param.type or (f"({param.type_hint})" if param.type_hint else "")
    default = param.default if param.default is not None else param.hints.get("default")
    return (
        name,
        "yes" if param.required else "",
        kind + items,
        "" if default is None else _text(default),
        _values(param),
    )


def _values(param: "MediaParam") -> str:
    hints = {name: value for name, value in param.hints.items() if name != "default"}
    checked = ", ".join(map(_text, param.enum))
    if not hints:
        return f"({checked})" if checked and param.models_differ else checked
    read = ", ".join(_hint(name, value) for name, value in hints.items())
    return f"{checked} ({read})".strip()


def _hint(name: str, value: object) -> str:
    if name == "values" and isinstance(value, list):
        return ", ".join(map(_text, cast("list[object]", value)))
    return f"{name.replace('_', ' ')} {_text(value)}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
