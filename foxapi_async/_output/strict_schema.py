"""Makes a JSON schema strict, as the strict mode of OpenAI's structured output demands.

In strict mode each object has ``additionalProperties: false`` and requires all its members, and few
other keywords are known. What strict mode cannot say stands in a ``description`` where that helps
the model; the check of the answer does not depend on it.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from foxapi_async._output.json_schema import (
    Schema,
    TypeNotSupportedError,
    allows_null,
    children,
    definition,
    is_schema,
    options,
    reference,
    resolve,
    tuple_members,
)
from foxapi_async._wire.base import is_list

_KEPT: Final = (
    "type",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
)
_FORMATS: Final = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
)
_NOTES: Final = {
    "minLength": "At least {} characters.",
    "maxLength": "At most {} characters.",
    "uniqueItems": "No item twice.",
    "default": "Default: {}.",
    "examples": "Examples: {}.",
}
_LOOKAROUND: Final = re.compile(r"\(\?(?:[=!]|<[=!])")
# One of these gives a value its type.
_TYPING: Final = ("type", "enum", "const", "$ref", "anyOf", "oneOf", "allOf", "properties")
# Dropping them would drop a part of the type.
_UNKNOWN_TO_STRICT: Final = frozenset(
    {"patternProperties", "propertyNames", "if", "not", "dependentSchemas", "minProperties"}
)
_TYPE_NAMES: Final = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}


def check_types(schema: Schema, name: str) -> None:
    """Raise ``TypeNotSupportedError`` for a value that a model cannot be asked for.

    Args:
        schema: The schema of a type.
        name: The name of the type, which begins the path.
    """
    seen: set[str] = set()

    def check(node: Any, path: str) -> None:
        if not is_schema(node) or not any(word in node for word in _TYPING):
            raise TypeNotSupportedError(path, "may be any value: give it a type")
        if "$ref" in node:
            if (target := reference(node)) not in seen:
                seen.add(target)
                check(definition(node, schema), path)
            return
        _check_node(node, schema, path)
        for place, part in children(node):
            # `false` is the end of a tuple or of an object, `true` allows more members.
            if not isinstance(part, bool):
                check(part, path + place)

    check(schema, name)


def _check_node(node: Schema, root: Schema, path: str) -> None:
    if "contentEncoding" in node or node.get("format") == "binary":
        raise TypeNotSupportedError(path, "is bytes, which a model cannot write: use str")
    if node.get("type") == "object" and "properties" not in node:
        rest = node.get("additionalProperties", True)
        if (rest is True or rest == {}) and "patternProperties" not in node:
            raise TypeNotSupportedError(
                f"{path}{{}}", "may be any value: give it a type, as in dict[str, int]"
            )
    if node.get("type") == "array" and not {"items", "prefixItems"} & node.keys():
        raise TypeNotSupportedError(f"{path}[]", "may be any value: give it a type")
    if node.get("uniqueItems") and is_schema(node.get("items")):
        items = resolve(node["items"], root)
        if any(option.get("type") == "object" for option in _flat(items, root)):
            raise TypeNotSupportedError(f"{path}[]", "is an object in a set: use a list")


def _flat(node: Schema, root: Schema) -> Iterator[Schema]:
    for option in options(node) or [node]:
        yield resolve(option, root)


def can_be_strict(schema: Schema) -> bool:
    """Tell whether strict mode has a form for ``schema``: it has none for free member names."""

    def can(node: Any) -> bool:
        if not is_schema(node):
            return isinstance(node, bool)
        has_free_names = node.get("additionalProperties") not in (None, False) or (
            node.get("type") == "object" and "properties" not in node
        )
        is_unknown = not _UNKNOWN_TO_STRICT.isdisjoint(node) or len(node.get("allOf", ())) > 1
        return not (has_free_names or is_unknown) and all(can(part) for _, part in children(node))

    return can(schema) and all(can(part) for part in schema.get("$defs", {}).values())


def close_objects(schema: Schema) -> Schema:
    """Return ``schema`` with ``additionalProperties: false`` wherever it names all members."""
    closed = {name: _close(part) for name, part in schema.items()}
    if "$defs" in schema:
        closed["$defs"] = {name: close_objects(part) for name, part in schema["$defs"].items()}
    if "properties" in schema:
        parts: Schema = schema["properties"]
        closed["properties"] = {name: _close(part) for name, part in parts.items()}
        if "patternProperties" not in schema:
            closed.setdefault("additionalProperties", False)
    return closed


def _close(part: Any) -> Any:
    if is_list(part):
        return [_close(item) for item in part]
    return close_objects(part) if is_schema(part) else part


def make_strict(schema: Schema) -> Schema:
    """Return the strict form of ``schema``, whose strict form is itself.

    Args:
        schema: A JSON schema with its definitions in ``$defs``, for which `can_be_strict` is true.
            Its root is an object.
    """
    maker = _Maker(schema)
    strict = maker.strict({name: part for name, part in schema.items() if name != "$defs"})
    if "$ref" in strict:
        # The root is an object itself.
        strict = dict(maker.definition(reference(strict)))
    defs: Schema = {}
    maker.collect(strict, defs)
    return {**strict, "$defs": defs} if defs else strict


class _Maker:
    """Makes the parts of one schema strict."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._made: dict[str, Schema] = {}
        self._recursive = _recursive_definitions(root)

    def definition(self, name: str) -> Schema:
        """Return the strict form of a definition."""
        if name not in self._made:
            self._made[name] = self.strict(self._root["$defs"][name])
        return self._made[name]

    def collect(self, node: Schema, defs: Schema) -> None:
        """Add the definitions that ``node`` uses to ``defs``."""
        for name in _references(node):
            if name not in defs:
                defs[name] = self.definition(name)
                self.collect(defs[name], defs)

    def strict(self, node: Schema) -> Schema:
        """Return the strict form of a part."""
        if "$ref" in node:
            return self._reference(node)
        if len(node.get("allOf", ())) == 1:
            rest = {name: part for name, part in node.items() if name != "allOf"}
            return self.strict({**node["allOf"][0], **rest})
        strict: Schema = {name: node[name] for name in _KEPT if name in node}
        if (union := options(node)) is not None:
            strict["anyOf"] = [self.strict(option) for option in union]
        elif "enum" in node or "const" in node:
            strict |= _enumeration(node["enum"] if "enum" in node else [node["const"]], node)
        elif (names := tuple_members(node)) is not None:
            strict = self._tuple(node, names)
        elif "properties" in node:
            strict |= self._object(node["properties"], set(node.get("required", ())))
        elif is_schema(items := [*node.get("prefixItems", ()), node.get("items")][0]):
            strict["items"] = self.strict(items)
        text = " ".join(filter(None, (node.get("description"), *_notes(node))))
        return strict | _text_rules(node) | ({"description": text} if text else {})

    def _object(self, members: Schema, required: set[str]) -> Schema:
        made = {
            name: self.strict(member) if name in required else self._optional(member)
            for name, member in members.items()
        }
        return {
            "type": "object",
            "properties": made,
            "required": list(made),
            "additionalProperties": False,
        }

    def _optional(self, member: Schema) -> Schema:
        """Return the form of a member that may be absent: null stands for that."""
        strict = self.strict(member)
        if allows_null(member, self._root):
            return strict
        if strict.keys() <= {"anyOf", "description"} and "anyOf" in strict:
            return strict | {"anyOf": [*strict["anyOf"], {"type": "null"}]}
        return {"anyOf": [strict, {"type": "null"}]}

    def _tuple(self, node: Schema, names: tuple[str, ...]) -> Schema:
        items = dict(zip(names, node["prefixItems"], strict=True))
        return self._object(items, set(names))

    def _reference(self, node: Schema) -> Schema:
        """Return a reference; a description beside it is kept where it can stand in a copy."""
        text, name = node.get("description"), reference(node)
        if text is None or name in self._recursive:
            return {"$ref": node["$ref"]}
        return self.strict({**self._root["$defs"][name], "description": text})


def _recursive_definitions(root: Schema) -> set[str]:
    """Return the names of the definitions that refer to themselves."""
    uses = {name: set(_references(part)) for name, part in root.get("$defs", {}).items()}

    def reached(name: str) -> set[str]:
        found: set[str] = set()
        new = set(uses[name])
        while new:
            found |= new
            new = set[str]().union(*(uses[one] for one in new)) - found
        return found

    return {name for name in uses if name in reached(name)}


def _references(node: Any) -> Iterator[str]:
    """Yield the names of the definitions to which the parts of ``node`` refer."""
    if not is_schema(node):
        return
    if "$ref" in node:
        yield reference(node)
    for _, part in children(node):
        yield from _references(part)


def _enumeration(values: list[Any], node: Schema) -> Schema:
    """Return an enumeration with the type of its values, which strict mode demands."""
    types = list(dict.fromkeys(_TYPE_NAMES[type(value)] for value in values))
    kind = node.get("type") or (types[0] if len(types) == 1 else types)
    return {"type": kind, "enum": values}


def _text_rules(node: Schema) -> Schema:
    """Return the rules of a text that strict mode knows."""
    rules: Schema = {}
    if "pattern" in node and not _LOOKAROUND.search(node["pattern"]):
        rules["pattern"] = node["pattern"]
    if node.get("format") in _FORMATS:
        rules["format"] = node["format"]
    return rules


def _notes(node: Schema) -> Iterator[str]:
    """Yield a sentence for each rule that strict mode does not know."""
    for keyword, sentence in _NOTES.items():
        value = node.get(keyword)
        if value is None or value in ([], {}) or value is False:
            continue
        text = ", ".join(map(_json, value)) if keyword == "examples" else _json(value)
        yield sentence.format(text)
    if node.get("format", "date") not in _FORMATS:
        yield f"Format: {node['format']}."
    if _LOOKAROUND.search(node.get("pattern", "")):
        yield f"Pattern: {node['pattern']}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
