"""The JSON schema of a type that msgspec decodes.

msgspec writes schemas too, but a date-time without a rule for its time zone has no format there,
enumerations lose their order, and the items of a named tuple lose their names.
"""

from inspect import cleandoc
from typing import Any, Final, cast

import msgspec
from msgspec import NODEFAULT, inspect

from foxapi_async._output.json_schema import DEFS, Schema, TypeNotSupportedError

_SCALARS: Final[dict[type[inspect.Type], Schema]] = {
    inspect.AnyType: {},
    inspect.RawType: {},
    inspect.NoneType: {"type": "null"},
    inspect.BoolType: {"type": "boolean"},
    inspect.IntType: {"type": "integer"},
    inspect.FloatType: {"type": "number"},
    inspect.StrType: {"type": "string"},
    inspect.BytesType: {"type": "string", "contentEncoding": "base64"},
    inspect.ByteArrayType: {"type": "string", "contentEncoding": "base64"},
    inspect.MemoryViewType: {"type": "string", "contentEncoding": "base64"},
    inspect.DateTimeType: {"type": "string", "format": "date-time"},
    inspect.TimeType: {"type": "string", "format": "time"},
    inspect.DateType: {"type": "string", "format": "date"},
    inspect.TimeDeltaType: {"type": "string", "format": "duration"},
    inspect.UUIDType: {"type": "string", "format": "uuid"},
    # A text may be anything; a number is always a decimal.
    inspect.DecimalType: {"type": "number"},
}
_RULES: Final = {
    "gt": "exclusiveMinimum",
    "ge": "minimum",
    "lt": "exclusiveMaximum",
    "le": "maximum",
    "multiple_of": "multipleOf",
    "min_length": "minLength",
    "max_length": "maxLength",
    "pattern": "pattern",
}
_CLASSES: Final = (
    inspect.EnumType,
    inspect.NamedTupleType,
    inspect.StructType,
    inspect.DataclassType,
    inspect.TypedDictType,
)
_SETS: Final = (inspect.SetType, inspect.FrozenSetType)
_KEYS: Final = (
    inspect.StrType,
    inspect.IntType,
    inspect.FloatType,
    inspect.EnumType,
    inspect.LiteralType,
    inspect.DateType,
    inspect.DateTimeType,
    inspect.UUIDType,
    inspect.AnyType,
)


def type_schema(annotation: Any, name: str) -> Schema:
    """Return the JSON schema of ``annotation``, with ``$defs`` for its classes.

    Raises:
        TypeNotSupportedError: msgspec does not know the type. ``name`` begins its path.
    """
    writer = _Writer()
    schema = writer.schema(inspect.type_info(annotation), name)
    return {**schema, "$defs": writer.defs} if writer.defs else schema


class _Writer:
    def __init__(self) -> None:
        self.defs: dict[str, Schema] = {}
        # A recursive type has the same object again. Keeping it keeps its id.
        self._names: dict[int, tuple[inspect.Type, str]] = {}

    def schema(self, info: inspect.Type, path: str) -> Schema:
        if isinstance(info, inspect.Metadata):
            extra: Schema | None = cast("Any", info).extra_json_schema
            return {**self.schema(info.type, path), **(extra or {})}
        if isinstance(info, _CLASSES):
            return self._referred(info, path)
        if (scalar := _SCALARS.get(type(info))) is not None:
            return scalar | _rules(info)
        return self._container(info, path)

    def _container(self, info: inspect.Type, path: str) -> Schema:
        match info:
            case inspect.UnionType():
                return {"anyOf": [self.schema(option, path) for option in info.types]}
            case inspect.LiteralType():
                return {"enum": list(info.values)}
            case inspect.TupleType():
                items = enumerate(info.item_types)
                return _tuple([self.schema(item, f"{path}[{place}]") for place, item in items])
            case inspect.DictType():
                return self._dict(info, path)
            case inspect.CollectionType():
                return self._array(info, path)
            case _:
                named = getattr(info, "cls", type(info))
                raise TypeNotSupportedError(path, f"is {named.__name__}, which has no JSON schema")

    def _array(self, info: inspect.CollectionType, path: str) -> Schema:
        unique: Schema = {"uniqueItems": True} if isinstance(info, _SETS) else {}
        items = self.schema(info.item_type, f"{path}[]")
        return {"type": "array", "items": items, **unique, **_lengths(info, "Items")}

    def _dict(self, info: inspect.DictType, path: str) -> Schema:
        key = info.key_type
        if not isinstance(key.type if isinstance(key, inspect.Metadata) else key, _KEYS):
            raise TypeNotSupportedError(path, "has keys that are no texts, and JSON has no others")
        value = self.schema(info.value_type, f"{path}{{}}")
        return {"type": "object", "additionalProperties": value, **_lengths(info, "Properties")}

    def _referred(self, info: Any, path: str) -> Schema:
        known = self._names.get(id(info))
        if known is None:
            name = self._new_name(info.cls.__name__)
            self._names[id(info)] = known = info, name
            # Before its members, so that definitions stand in the order of their first use.
            self.defs[name] = {}
            self.defs[name].update(self._class(info, path))
        return {"$ref": f"{DEFS}{known[1]}"}

    def _new_name(self, name: str) -> str:
        number, new = 1, name
        while new in self.defs:
            number += 1
            new = f"{name}_{number}"
        return new

    def _class(self, info: Any, path: str) -> Schema:
        schema: Schema = {"title": info.cls.__name__}
        if (text := _docstring(info.cls)) is not None:
            schema["description"] = text
        if isinstance(info, inspect.EnumType):
            return schema | {"enum": [member.value for member in info.cls]}
        members = {item.encode_name: self._member(item, path) for item in info.fields}
        required = [item.encode_name for item in info.fields if item.required]
        if getattr(info, "tag_field", None) is not None:
            members = {info.tag_field: {"enum": [info.tag]}, **members}
            required.insert(0, info.tag_field)
        if isinstance(info, inspect.NamedTupleType) or getattr(info, "array_like", False):
            items = [member | {"title": name} for name, member in members.items()]
            return schema | _tuple(items)
        schema |= {"type": "object", "properties": members, "required": required}
        if getattr(info, "forbid_unknown_fields", False):
            schema["additionalProperties"] = False
        return schema

    def _member(self, item: inspect.Field, path: str) -> Schema:
        schema = self.schema(item.type, f"{path}.{item.encode_name}")
        if item.default is not NODEFAULT:
            try:
                return schema | {"default": msgspec.to_builtins(item.default, str_keys=True)}
            except (TypeError, ValueError, OverflowError):
                # A default without a JSON form is only known to the class.
                return schema
        return schema


def _tuple(items: list[Schema]) -> Schema:
    count = len(items)
    if not items:
        return {"type": "array", "items": {"type": "null"}, "maxItems": 0}
    return {"type": "array", "prefixItems": items, "minItems": count, "maxItems": count}


def _rules(info: inspect.Type) -> Schema:
    return {
        keyword: value
        for name, keyword in _RULES.items()
        if (value := getattr(info, name, None)) is not None
    }


def _lengths(info: Any, what: str) -> Schema:
    bounds = {f"min{what}": info.min_length, f"max{what}": info.max_length}
    return {keyword: bound for keyword, bound in bounds.items() if bound is not None}


def _docstring(cls: type) -> str | None:
    """Return the docstring of a class, without one that Python made from its members."""
    text = vars(cls).get("__doc__")
    if not isinstance(text, str) or text.startswith((f"{cls.__name__}(", "An enumeration.")):
        return None
    return cleandoc(text)
