"""Fits the JSON value of an answer to the schema of its type, for the decoder of the type."""

from typing import Any, Final, cast

import msgspec

from foxapi_async._output.answer_text import AnswerError, ExactFloat, ExactInteger
from foxapi_async._output.json_schema import (
    Schema,
    allows_null,
    is_schema,
    options,
    resolve,
    tuple_members,
)
from foxapi_async._wire.base import is_list, is_object

_KINDS: Final = {
    bool: ("boolean",),
    int: ("integer", "number"),
    ExactInteger: ("integer", "number"),
    float: ("number",),
    ExactFloat: ("number",),
    str: ("string",),
    list: ("array",),
    dict: ("object",),
    type(None): ("null",),
}


def fit(value: Any, schema: Schema) -> Any:
    """Return ``value`` as the decoder of the type expects it.

    Null of an optional member that may not be null means that it is not given, so it is left out.
    An object that stands for a tuple becomes a list.

    Args:
        value: The JSON value of the answer.
        schema: The schema of the type, before it was made strict.

    Raises:
        AnswerError: An object has a member that its schema does not have.
    """
    try:
        return _Fitter(schema).fit(value, schema, "")
    except RecursionError:
        raise AnswerError("is nested too deep") from None


def encode_answer(value: Any) -> bytes:
    """Encode a value of ``read_json``; each number keeps its digits.

    Raises:
        AnswerError: A text has half of a surrogate pair.
    """
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        raise AnswerError("has a text with half of a surrogate pair") from None
    except RecursionError:
        raise AnswerError("is nested too deep") from None


def _encode_number(value: ExactFloat | ExactInteger) -> msgspec.Raw:
    return msgspec.Raw(value.digits.encode())


_encoder: Final = msgspec.json.Encoder(enc_hook=_encode_number)


class _Fitter:
    def __init__(self, root: Schema) -> None:
        self._root = root
        # Whether a value matches a part: a union asks this again at each level of the answer.
        self._matches: dict[tuple[int, int], bool] = {}

    def fit(self, value: Any, node: Any, path: str) -> Any:
        # For pydantic, true is 1 where a literal or an enum allows 1.
        if isinstance(value, bool) and not self._takes_boolean(value, node):
            raise AnswerError("is true or false, which its type does not allow", path.lstrip("."))
        if not is_schema(node) or not (is_object(value) or is_list(value)):
            return value
        node = resolve(node, self._root)
        if (union := options(node)) is not None:
            option = self._choose(value, union)
            return value if option is None else self.fit(value, option, path)
        if len(node.get("allOf", ())) == 1:
            return self.fit(value, node["allOf"][0], path)
        if is_list(value):
            return self._fit_list(value, node, path)
        return self._fit_object(cast("dict[str, Any]", value), node, path)

    def _takes_boolean(self, value: bool, node: Any) -> bool:  # noqa: FBT001 a JSON value
        if not is_schema(node):
            return bool(node)
        node = resolve(node, self._root)
        if (union := options(node)) is not None:
            return any(self._takes_boolean(value, option) for option in union)
        if len(node.get("allOf", ())) == 1:
            return self._takes_boolean(value, node["allOf"][0])
        allowed = node.get("enum", [node["const"]] if "const" in node else [value])
        kinds = node.get("type", "boolean")
        return any(item is value for item in allowed) and "boolean" in kinds

    def _fit_object(self, value: dict[str, Any], node: Schema, path: str) -> Any:
        if (names := tuple_members(node)) is not None and value.keys() == set(names):
            return self._fit_list([value[name] for name in names], node, path)
        members: Schema | None = node.get("properties")
        rest = node.get("additionalProperties", members is None)
        if "patternProperties" in node or "allOf" in node:
            return value
        fitted: dict[str, Any] = {}
        for name, item in value.items():
            if members is not None and name in members:
                if item is None and self._is_not_given(name, node):
                    continue
                fitted[name] = self.fit(item, members[name], f"{path}.{name}")
            elif rest is False:
                raise AnswerError(
                    f"has the unknown member {name!r}", path.lstrip("."), safe="has unknown members"
                )
            else:
                fitted[name] = self.fit(item, rest, f"{path}[...]")
        return fitted

    def _is_not_given(self, name: str, node: Schema) -> bool:
        member = node["properties"][name]
        return name not in node.get("required", ()) and not allows_null(member, self._root)

    def _fit_list(self, value: list[Any], node: Schema, path: str) -> list[Any]:
        prefix: list[Any] = node.get("prefixItems", [])
        rest = node.get("items", True)
        return [
            self.fit(item, prefix[place] if place < len(prefix) else rest, f"{path}[{place}]")
            for place, item in enumerate(value)
        ]

    def _choose(self, value: Any, union: list[Schema]) -> Schema | None:
        """Return the schema of the union that ``value`` is meant for; ``None`` if none is clear."""
        likely = [option for option in union if self._is_kind(value, option)]
        if len(likely) > 1:
            likely = [option for option in likely if self._has_tags(value, option)] or likely
        matching = [option for option in likely if self._does_match(value, option)]
        if matching:
            return matching[0]
        return likely[0] if len(likely) == 1 else None

    def _is_kind(self, value: Any, node: Any) -> bool:
        """Tell whether ``value`` has the JSON type of ``node``."""
        if not is_schema(node):
            return bool(node)
        node = resolve(node, self._root)
        if (union := options(node)) is not None:
            return any(self._is_kind(value, option) for option in union)
        if "enum" in node or "const" in node:
            values = node["enum"] if "enum" in node else [node["const"]]
            return any(item == value and type(item) is _plain_type(value) for item in values)
        kinds = node.get("type", ())
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if is_object(value) and tuple_members(node) is not None:
            return True
        return not kinds or any(kind in kinds for kind in _KINDS[type(value)])

    def _has_tags(self, value: Any, node: Any) -> bool:
        """Tell whether the members of ``value`` that tell types apart are those of ``node``."""
        members = resolve(node, self._root).get("properties", {})
        return is_object(value) and all(
            name not in value or self._is_kind(value[name], member)
            for name, member in members.items()
            if is_schema(member) and ("enum" in member or "const" in member)
        )

    def _does_match(self, value: Any, node: Any) -> bool:
        """Tell whether ``value`` has the types and the member names of ``node``."""
        key = (id(value), id(node))
        if key not in self._matches:
            self._matches[key] = self._match(value, node)
        return self._matches[key]

    def _match(self, value: Any, node: Any) -> bool:
        if not is_schema(node):
            return bool(node)
        node = resolve(node, self._root)
        if (union := options(node)) is not None:
            return any(self._does_match(value, option) for option in union)
        if not self._is_kind(value, node):
            return False
        if is_object(value):
            return self._match_object(value, node)
        if is_list(value):
            prefix: list[Any] = node.get("prefixItems", [])
            rest = node.get("items", True)
            return all(
                self._does_match(item, prefix[place] if place < len(prefix) else rest)
                for place, item in enumerate(value)
            )
        return True

    def _match_object(self, value: dict[str, Any], node: Schema) -> bool:
        if (names := tuple_members(node)) is not None:
            return value.keys() == set(names) and all(
                self._does_match(value[name], item)
                for name, item in zip(names, node["prefixItems"], strict=True)
            )
        members: Schema | None = node.get("properties")
        rest = node.get("additionalProperties", members is None)
        if not set(node.get("required", ())) <= value.keys():
            return False
        return all(
            (item is None and self._is_not_given(name, node))
            or self._does_match(item, members[name])
            if members is not None and name in members
            else self._does_match(item, rest)
            for name, item in value.items()
        )


def _plain_type(value: object) -> type:
    kind: type = type(value)
    return {ExactInteger: int, ExactFloat: float}.get(kind, kind)
