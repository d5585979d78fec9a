"""The rules for requests of media, as far as the schemas of the service state them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

from foxapi_async._catalog.media_models import MediaParam, media_models
from foxapi_async._wire.media_request import MediaKind
from foxapi_async._wire.suggestion import closest, suggestion
from foxapi_async._wire.violation import Violation

_SHOWN: Final = 80
_SIMILARITY: Final = 0.8
# Members of every request, some of which the catalog has for no model.
_COMMON: Final = frozenset({"model", "prompt", "callback_url", "model_params"})


def check_media(
    kind: MediaKind, model: str, params: Mapping[str, Any], *, strict: bool = False
) -> tuple[Violation, ...]:
    """Return the violations of a media request.

    A model that the catalog does not know has no rules. A rule whose description makes a
    difference between variants of the model is not applied.

    Args:
        kind: What the request is to make.
        model: The id of the model.
        params: The members of the body but for ``model``.
        strict: Whether a model outside the catalog is a violation.

    Returns:
        The violations, in the order of the parameters in the catalog.
    """
    if not model:
        return (_invalid("model", "name a model"),)
    known = media_models().get(model)
    if known is None:
        return (_unknown_model(model),) if strict else ()
    if known.kind != kind:
        text = f"model {model} makes a result of kind {known.kind!r}, not {kind!r}"
        return (_invalid("model", text),)
    return (
        *_missing(known.params, params, model),
        *_wrong_values(known.params, params),
        *_misspelt(known.params, params),
    )


def _missing(
    rules: Mapping[str, MediaParam], params: Mapping[str, Any], model: str
) -> Iterator[Violation]:
    for name, rule in rules.items():
        if rule.required and params.get(name) is None:
            yield _invalid(name, f"model {model} requires {name}")


def _wrong_values(
    rules: Mapping[str, MediaParam], params: Mapping[str, Any]
) -> Iterator[Violation]:
    for name, rule in rules.items():
        value = params.get(name)
        if value is None:
            continue
        if rule.type is not None and not _has_type(value, rule.type):
            yield _invalid(name, f"must be of type {rule.type}, got {_json_type(value)}")
        elif rule.items is not None and isinstance(value, list | tuple):
            yield from _wrong_items(name, rule.items, cast("Sequence[Any]", value))
        elif rule.enum and not rule.models_differ and value not in rule.enum:
            choices = ", ".join(str(choice) for choice in rule.enum)
            yield _invalid(name, f"{str(value)[:_SHOWN]!r} is not allowed; choose one of {choices}")


def _wrong_items(name: str, wanted: str, value: Sequence[Any]) -> Iterator[Violation]:
    for position, item in enumerate(value):
        if not _has_type(item, wanted):
            where = f"{name}[{position}]"
            yield _invalid(where, f"must be of type {wanted}, got {_json_type(item)}")
            return


def _misspelt(rules: Mapping[str, MediaParam], params: Mapping[str, Any]) -> Iterator[Violation]:
    """Yield a warning for a parameter that is almost a known one: the catalog may lack others."""
    known = _COMMON | rules.keys()
    for name in params:
        if name in known:
            continue
        near = closest(name[:_SHOWN].lower(), known, similarity=_SIMILARITY)
        if near is not None:
            hint = suggestion(near, "")
            text = f"unknown parameter {name[:_SHOWN]!r}; {hint}"
            yield Violation(
                code="unsupported_advanced_options",
                param=name[:_SHOWN],
                message=text,
                level="warning",
            )


def _unknown_model(model: str) -> Violation:
    near = closest(model[:_SHOWN].lower(), media_models(), similarity=_SIMILARITY)
    hint = suggestion(near, "`foxapi models --media` lists the known ones")
    return Violation(
        code="model_not_supported",
        param="model",
        message=f"model {model[:_SHOWN]!r} is not in the catalog; {hint}",
    )


def _has_type(value: object, wanted: str) -> bool:
    rule = _TYPES.get(wanted)
    return rule is None or rule(value)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: Final[Mapping[str, Callable[[object], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "integer": _is_integer,
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list | tuple),
    "object": lambda value: isinstance(value, Mapping),
}


def _json_type(value: object) -> str:
    names = (name for name, rule in _TYPES.items() if rule(value))
    return next(names, type(value).__name__)


def _invalid(param: str, message: str) -> Violation:
    return Violation(code="invalid_param", param=param, message=message)
