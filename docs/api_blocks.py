"""Renders a public name as Markdown that reads the same in the repository and on the site."""

import builtins
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, cast

import griffe

ROOT: Final = Path(__file__).parent.parent
_LONG_SIGNATURE: Final = 88
_KINDS: Final = {
    griffe.ParameterKind.var_positional: "*",
    griffe.ParameterKind.var_keyword: "**",
}

# The page of shapes describes them once.
_OF_ALL_SHAPES: Final = frozenset({"extra", "to_dict", "to_json"})
_MADE_BY_METHODS: Final = frozenset(
    {"ChatStream", "BudgetUse", "Exchange", "Extra", "LLMHandle", "RowMap", "TaskHandle"}
)
_BUILTIN: Final = frozenset(dir(builtins))


class Reference:
    """The public names of ``foxapi_async``, read from its sources."""

    def __init__(self) -> None:
        self._package = griffe.load(
            "foxapi_async", search_paths=[str(ROOT)], docstring_parser="google"
        )

    def block(self, path: str, title: str = "", level: int = 2) -> str:
        """Return the Markdown of one class, function or alias of a type.

        Args:
            path: The dotted name, as users import it.
            title: The name to print, where it is not the last part of ``path``.
            level: The level of the heading; members stand one level below.
        """
        item = self._find(path)
        name = title or item.name
        if isinstance(item, griffe.Class):
            lines = _class(item, name, level)
        elif isinstance(item, griffe.Function):
            lines = _function(item, name, level)
        else:
            lines = _value(cast("griffe.Attribute", item), name, level)
        return "\n".join(lines).strip() + "\n"

    def keywords(self, path: str) -> str:
        """Return the table of a ``TypedDict``, for functions that take ``**params``."""
        return "\n".join(_fields(cast("griffe.Class", self._find(path)), "Keyword")).strip() + "\n"

    def _find(self, path: str) -> griffe.Object:
        found = self._package[path.removeprefix("foxapi_async.")]
        return cast("griffe.Object", found.final_target if found.is_alias else found)


def _class(item: griffe.Class, name: str, level: int) -> Iterator[str]:
    yield from _heading(name, level)
    is_made_by_users = not (_is_enum(item) or _is_error(item) or name in _MADE_BY_METHODS)
    if name == item.name and is_made_by_users:
        yield from _signature(item, name)
    yield from _prose(item)
    if _is_error(item):
        yield from _attributes(item)
    else:
        yield from _fields(item, "Field")
    for member in _members(item):
        if isinstance(member, griffe.Function):
            yield from _function(member, f"{name}.{member.name}", level + 1)


def _function(item: griffe.Function, name: str, level: int) -> Iterator[str]:
    yield from _heading(name, level)
    for one in item.overloads or [item]:
        yield from _signature(one, name)
    yield from _prose(item)


def _value(item: griffe.Attribute, name: str, level: int) -> Iterator[str]:
    yield from _heading(name, level)
    yield from ("```python", f"{name} = {item.value}", "```", "")
    yield from _prose(item)


def _heading(name: str, level: int) -> Iterator[str]:
    yield from (f"{'#' * level} `{name}`", "")


def _signature(item: griffe.Class | griffe.Function, name: str) -> Iterator[str]:
    parameters = [one for one in _parameters(item) if one.name not in {"self", "cls"}]
    prefix = ""
    result = ""
    if isinstance(item, griffe.Function):
        prefix = "async " if "async" in item.labels else ""
        result = f" -> {item.returns}" if item.returns is not None else ""
    shown = list(_shown(parameters))
    line = f"{prefix}{name}({', '.join(shown)}){result}"
    yield "```python"
    if len(line) <= _LONG_SIGNATURE:
        yield line
    else:
        yield f"{prefix}{name}("
        yield from (f"    {one}," for one in shown)
        yield f"){result}"
    yield from ("```", "")


def _parameters(item: griffe.Class | griffe.Function) -> Iterable[griffe.Parameter]:
    if isinstance(item, griffe.Function):
        return item.parameters
    own = item.all_members.get("__init__")
    if own is not None:
        target = own.final_target if own.is_alias else own
        return cast("griffe.Function", target).parameters
    keyword = griffe.ParameterKind.keyword_only
    return [
        griffe.Parameter(
            field.name, annotation=field.annotation, kind=keyword, default=_default(field)
        )
        for field in _stored(item)
    ]


def _shown(parameters: Iterable[griffe.Parameter]) -> Iterator[str]:
    keyword_only = False
    for one in parameters:
        if one.kind is griffe.ParameterKind.var_positional:
            keyword_only = True
        elif one.kind is griffe.ParameterKind.keyword_only and not keyword_only:
            keyword_only = True
            yield "*"
        text = f"{_KINDS.get(one.kind, '') if one.kind else ''}{one.name}"
        annotated = one.annotation is not None
        if annotated:
            text += f": {_without_constraints(str(one.annotation))}"
        if one.default is not None and one.kind not in _KINDS:
            text += f" = {one.default}" if annotated else f"={one.default}"
        yield text


def _prose(item: griffe.Object) -> Iterator[str]:
    if item.docstring is None:
        return
    for section in item.docstring.parsed:
        if isinstance(section, griffe.DocstringSectionText):
            yield from (_plain(section.value), "")
        elif isinstance(section, griffe.DocstringSectionParameters):
            yield from _table(
                ("Argument", "Meaning"),
                ((f"`{one.name}`", one.description) for one in section.value),
            )
        elif isinstance(section, griffe.DocstringSectionReturns | griffe.DocstringSectionYields):
            word = "Yields" if isinstance(section, griffe.DocstringSectionYields) else "Returns"
            yield from (f"**{word}** {_cell(section.value[0].description)}", "")
        elif isinstance(section, griffe.DocstringSectionRaises):
            yield from _table(
                ("Raises", "When"),
                ((f"`{one.annotation}`", one.description) for one in section.value),
            )
        elif isinstance(section, griffe.DocstringSectionExamples):
            for _, text in section.value:
                yield from (_plain(text), "")


def _fields(item: griffe.Class, head: str) -> Iterator[str]:
    rows: list[tuple[str, ...]] = []
    for member in _members(item):
        if isinstance(member, griffe.Attribute):
            if not _is_enum(item) and member.annotation is None and member.docstring is None:
                continue
            default = (_default(member) or "") if member.has_labels("class-attribute") else ""
            meaning = member.docstring.value if member.docstring else ""
            kind = str(member.annotation or "")
            if kind.startswith("Required["):
                kind, meaning = kind[len("Required[") : -1], f"Required. {meaning}"
            rows.append((f"`{member.name}`", _type(kind), _code(default), meaning))
    if rows:
        columns = [0, 1, 2, 3] if any(row[2] for row in rows) else [0, 1, 3]
        heads = (head, "Type", "Default", "Meaning")
        yield from _field_table(
            tuple(heads[one] for one in columns),
            (tuple(row[one] for one in columns) for row in rows),
        )


def _attributes(item: griffe.Class) -> Iterator[str]:
    """Yield the attributes of an error: its own in a table, those of its bases by a link."""
    own = item.members.get("__init__")
    parameters = cast("griffe.Function", own).parameters if own else griffe.Parameters()
    rows: list[tuple[str, ...]] = []
    for name, member in item.members.items():
        if isinstance(member, griffe.Attribute) and member.docstring is not None:
            given = parameters[name].annotation if name in parameters else None
            kind = _type(str(member.annotation or given or ""))
            rows.append((f"`{name}`", kind, member.docstring.value))
    if rows:
        yield from _field_table(("Attribute", "Type", "Meaning"), rows)
    bases = [str(base) for base in item.bases if str(base).endswith("Error")]
    if bases:
        links = " and ".join(
            f"`{base}`" if base in _BUILTIN else f"[`{base}`](#{base.lower()})" for base in bases
        )
        yield from (f"Subclass of {links}; has its attributes.", "")


def _members(item: griffe.Class) -> Iterator[griffe.Object]:
    """Yield the public members, those of the bases first, each in the order of the source."""
    found: dict[str, griffe.Object] = {}
    for base in reversed([item, *item.mro()]):
        for name, member in base.members.items():
            is_shared = name in _OF_ALL_SHAPES and "._wire." in base.canonical_path
            if not name.startswith("_") and (base is item or not is_shared):
                target = member.final_target if member.is_alias else member
                found[name] = cast("griffe.Object", target)
    for member in found.values():
        if member.docstring is not None or not isinstance(member, griffe.Function):
            yield member


def _stored(item: griffe.Class) -> Iterator[griffe.Attribute]:
    for member in _members(item):
        if (
            isinstance(member, griffe.Attribute)
            and not member.has_labels("property")
            and member.annotation is not None
        ):
            yield member


def _default(item: griffe.Attribute) -> str | None:
    if item.value is None:
        return None
    text = re.sub(r"\s+", " ", str(item.value))
    made = re.fullmatch(r"field\(default(_factory)?=(?:lambda: )?(.+?)(?:, repr=\w+)?\)", text)
    if made is None:
        return text
    if made[2] == "_nothing":
        return "None"
    return f"{made[2]}()" if made[1] and made[2].isidentifier() else made[2]


def _is_error(item: griffe.Class) -> bool:
    return item.name.endswith("Error")


def _is_enum(item: griffe.Class) -> bool:
    return any(str(base).endswith("Enum") for base in item.bases)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _plain(text: str) -> str:
    return text.replace("``", "`").strip()


def _cell(text: str) -> str:
    return _plain(re.sub(r"\s+", " ", text))


def _type(text: str) -> str:
    """Return a type for the cell of a table, which cannot hold a bar: ``A | B`` is "A or B"."""
    parts = [""]
    depth = 0
    for character in _without_constraints(text):
        depth += (character in "[(") - (character in "])")
        if character == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return " or ".join(_type_code(part.strip()) for part in parts if part.strip())


def _without_constraints(text: str) -> str:
    """Return a type without the constraints of msgspec: ``int`` of ``Annotated[int, Meta()]``."""
    return re.sub(r"Annotated\[(\w+), Meta\([^()]*\)\]", r"\1", text)


def _type_code(text: str) -> str:
    return f"<code>{text.replace('|', '&#124;')}</code>" if "|" in text else f"`{text}`"


def _field_table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield a table that the site lays out anew on a narrow screen."""
    yield from ('<div class="rows fields" markdown>', "")
    yield from _table(heads, rows)
    yield from ("</div>", "")


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for row in rows:
        yield f"| {' | '.join(_cell(cell) for cell in row)} |"
    yield ""
