"""What the modules of this package share: a JSON schema, and the error of a type without one."""

from collections.abc import Iterator
from typing import Any, Final, TypeAlias, TypeGuard

Schema: TypeAlias = dict[str, Any]

DEFS: Final = "#/$defs/"
"""The start of each ``$ref``."""


class TypeNotSupportedError(TypeError):
    """A type that no JSON schema can ask for. ``path`` is its path, such as ``City.pets[]``."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} {reason}")
        self.path = path
        self.reason = reason


def is_schema(value: object) -> TypeGuard[Schema]:
    """Tell whether a part of a schema is an object; ``True`` and ``False`` are schemas too."""
    return isinstance(value, dict)


def resolve(node: Schema, root: Schema) -> Schema:
    """Return the definition that ``node`` refers to, or ``node`` itself."""
    while "$ref" in node:
        node = definition(node, root)
    return node


def definition(node: Schema, root: Schema) -> Schema:
    """Return the definition that ``node["$ref"]`` names."""
    found: Schema = root["$defs"][reference(node)]
    return found


def reference(node: Schema) -> str:
    """Return the name of the definition that ``node`` refers to."""
    name: str = node["$ref"]
    # A name is written into a pointer (RFC 6901).
    return name.removeprefix(DEFS).replace("~1", "/").replace("~0", "~")


def options(node: Schema) -> list[Schema] | None:
    """Return the schemas of a union, or ``None`` for another schema."""
    found: list[Schema] | None = node.get("anyOf") or node.get("oneOf")
    return found


def children(node: Schema) -> Iterator[tuple[str, Any]]:
    """Yield the path and the schema of each part of ``node``; what it refers to is no part."""
    for option in options(node) or node.get("allOf", ()):
        yield "", option
    for name, member in node.get("properties", {}).items():
        yield f".{name}", member
    for number, item in enumerate(node.get("prefixItems", ())):
        yield f"[{number}]", item
    for keyword, path in (("items", "[]"), ("additionalProperties", "{}")):
        if keyword in node:
            yield path, node[keyword]
    for pattern in node.get("patternProperties", {}).values():
        yield "{}", pattern


def allows_null(node: Any, root: Schema) -> bool:
    """Tell whether null matches ``node``."""
    if not is_schema(node):
        return bool(node)
    node = resolve(node, root)
    if (union := options(node)) is not None:
        return any(allows_null(option, root) for option in union)
    if "enum" in node:
        return None in node["enum"]
    if "const" in node:
        return node["const"] is None
    kind = node.get("type")
    return kind is None or kind == "null" or (isinstance(kind, list) and "null" in kind)


def tuple_members(node: Schema) -> tuple[str, ...] | None:
    """Return the names under which strict mode asks for the items of a tuple.

    A list of strict mode has items of one schema. So an object stands for a tuple whose items
    differ or have names. ``None`` stands for every other schema.
    """
    prefix: list[Schema] = node.get("prefixItems", [])
    titles = [item.get("title") for item in prefix]
    named = len(prefix) == len(set(filter(None, titles)))
    if not prefix or (not named and all(item == prefix[0] for item in prefix)):
        return None
    return tuple(
        str(title) if named else f"item_{number}" for number, title in enumerate(titles, 1)
    )
