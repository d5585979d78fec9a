"""Writes the stub of ``foxapi_async.sync`` from the sources of the asynchronous classes.

``docs/generate.py`` calls it, so a new method of a session has its blocking form in the stub after
``python docs/generate.py``.
"""

import ast
import builtins
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any, Final

import foxapi_async
from foxapi_async.sync._rules import (
    REFUSED,
    RENAMED,
    blocking_text,
    export_order,
    function_names,
    holder_names,
    is_live,
    live_names,
)

_HEAD: Final = '''\
# Written by `python docs/generate.py` from the asynchronous classes. Do not edit.
"""The types of the blocking session, which are those of the asynchronous one without `async`."""
'''
# What an annotation of an asynchronous method becomes.
_RETYPED: Final = {
    "AsyncIterator": "Iterator",
    "AsyncIterable": "Iterable",
    "HasService": "FoxSession",
}
_DECORATORS: Final = {"overload", "property", "final"}
_LINE: Final = 100
_FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


def stub() -> str:
    """Return the text of the stub."""
    return _Stub().text()


class _Stub:
    def __init__(self) -> None:
        self._own = {*live_names(), *holder_names(), *function_names()}
        self._imports: dict[str, set[str]] = {}
        self._aliases: dict[str, str] = {}

    def text(self) -> str:
        """Return the whole stub. Imports and aliases are known when the classes are written."""
        live = [getattr(foxapi_async, name) for name in live_names()]
        blocks = [self._class(kind) for kind in sorted(live, key=_depth)]
        blocks += [self._holder(getattr(foxapi_async, name)) for name in holder_names()]
        blocks += [self._function(getattr(foxapi_async, name)) for name in function_names()]
        names = ", ".join(f'"{name}"' for name in sorted(self._own, key=export_order))
        head = [_HEAD, *self._import_lines(), "", *self._aliases.values(), ""]
        return "\n".join([*head, f"__all__ = [{names}]", "", *blocks])

    # Classes and functions

    def _class(self, kind: type[Any]) -> str:
        node, module = _definition(kind)
        bases = [
            self.annotation(base, module)
            for base in node.bases
            if not _is_private_base(base, module)
        ]
        lines = [*_decorators(node, module, self), f"class {kind.__name__}{_in_brackets(bases)}:"]
        members = [*self._attributes(node, module)]
        members += [line for member in node.body for line in self._member(member, module)]
        return "\n".join([*lines, *_docstring(node, "    "), *members, ""])

    def _attributes(self, node: ast.ClassDef, module: ModuleType) -> Iterator[str]:
        """Yield the public attributes that a method sets, such as ``self.llm: LLM``."""
        for one in ast.walk(node):
            if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Attribute):
                name = one.target.attr
                if not name.startswith("_"):
                    yield f"    {name}: {self.annotation(one.annotation, module)}"

    def _holder(self, kind: type[Any]) -> str:
        node, module = _definition(kind)
        keywords = [f"{one.arg}={ast.unparse(one.value)}" for one in node.keywords]
        bases = [self.annotation(base, module) for base in node.bases]
        head = f"class {kind.__name__}{_in_brackets([*bases, *keywords])}:"
        lines = [head, *_docstring(node, "    ")]
        for member in node.body[bool(ast.get_docstring(node)) :]:
            lines += self._field(member, module) or list(self._member(member, module))
            if _is_text(member):
                lines += _quoted(ast.literal_eval(ast.unparse(member)), "    ")
        return "\n".join([*lines, ""])

    def _field(self, node: ast.stmt, module: ModuleType) -> list[str]:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            return []
        default = " = ..." if node.value is not None else ""
        return [f"    {node.target.id}: {self.annotation(node.annotation, module)}{default}"]

    def _function(self, function: Any) -> str:
        node, module = _definition(function)
        return "\n".join([*self._signature(node, module, ""), *_docstring(node, "    "), ""])

    def _member(self, node: ast.stmt, module: ModuleType) -> Iterator[str]:
        if not isinstance(node, _FUNCTION) or not _is_shown(node.name, module):
            return
        decorators = set(map(ast.unparse, node.decorator_list))
        has_overloads = node.name in _overloaded(node, module) and "overload" not in decorators
        if has_overloads:
            return
        yield from _decorators(node, module, self, "    ")
        signature = list(self._signature(node, module, "    "))
        text = _docstring(_documented(node, module), "        ")
        if text:
            yield from signature
            yield from text
        else:
            yield from [*signature[:-1], signature[-1] + " ..."]

    def _signature(self, node: Any, module: ModuleType, indent: str) -> Iterator[str]:
        name = RENAMED.get(node.name, node.name)
        words = self._parameters(node.args, module)
        result = self.annotation(node.returns, module)
        line = f"{indent}def {name}({', '.join(words)}) -> {result}:"
        if len(line) <= _LINE:
            yield line
        else:
            yield f"{indent}def {name}("
            yield from (f"{indent}    {word}," for word in words)
            yield f"{indent}) -> {result}:"

    def _parameters(self, node: ast.arguments, module: ModuleType) -> list[str]:
        plain = [*node.posonlyargs, *node.args]
        padding: list[ast.expr | None] = [None] * (len(plain) - len(node.defaults))
        words = [
            self._parameter(one, default, module)
            for one, default in zip(plain, [*padding, *node.defaults], strict=True)
        ]
        if node.posonlyargs:
            words.insert(len(node.posonlyargs), "/")
        if node.vararg:
            words.append("*" + self._parameter(node.vararg, None, module))
        elif node.kwonlyargs:
            words.append("*")
        words += [
            self._parameter(one, default, module)
            for one, default in zip(node.kwonlyargs, node.kw_defaults, strict=True)
            if one.arg not in REFUSED
        ]
        if node.kwarg:
            words.append("**" + self._parameter(node.kwarg, None, module))
        return words

    def _parameter(self, node: ast.arg, default: ast.expr | None, module: ModuleType) -> str:
        if node.annotation is None:
            return node.arg
        text = f"{node.arg}: {self.annotation(node.annotation, module)}"
        if default is None:
            return text
        if isinstance(default, ast.Constant):
            return f"{text} = {ast.unparse(default)}"
        return f"{text} = {self.annotation(default, module) if _is_unset(default) else '...'}"

    # Names

    def annotation(self, node: ast.expr | None, module: ModuleType) -> str:
        """Return an annotation in the words of the stub, and import what it names."""
        if node is None:
            return "None"
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return self.annotation(ast.parse(node.value, mode="eval").body, module)
        text = ast.unparse(node)
        for name in sorted(set(_words(node))):
            self._name(name, module)
        text = re.sub(r"\w+", lambda word: _RETYPED.get(word[0], word[0]), text)
        # Two kinds of iterables have become one.
        return re.sub(r"\b(\w+\[\w+\]) \| \1", r"\1", text)

    def _name(self, name: str, module: ModuleType) -> None:
        if name in self._own or name in self._aliases or name in vars(builtins):
            return
        home, value, assigned = _found(name, module)
        if isinstance(value, ModuleType):
            self._imports.setdefault("", set()).add(
                f"{value.__name__} as {name}" if value.__name__ != name else name
            )
        elif assigned is not None and (
            type(value).__name__ == "TypeVar" or self._own & set(_words(assigned))
        ):
            self._alias(name, value, assigned, home)
        elif name in _RETYPED:
            if _RETYPED[name] not in self._own:
                self._imports.setdefault("collections.abc", set()).add(_RETYPED[name])
        else:
            self._imports.setdefault(home.__name__, set()).add(name)

    def _alias(self, name: str, value: Any, assigned: ast.expr, home: ModuleType) -> None:
        is_variable = type(value).__name__ == "TypeVar"
        self._aliases[name] = ""
        text = self.annotation(assigned, home)
        if not is_variable:
            self._imports.setdefault("typing", set()).add("TypeAlias")
        kind = "" if is_variable else ": TypeAlias"
        # Moved to the end: what it names stands before it.
        del self._aliases[name]
        self._aliases[name] = f"{name}{kind} = {text}"

    def _import_lines(self) -> list[str]:
        lines = [f"import {name}" for name in sorted(self._imports.pop("", ()))]
        for home in sorted(self._imports):
            names = sorted(self._imports[home], key=export_order)
            line = f"from {home} import {', '.join(names)}"
            if len(line) > _LINE:
                line = f"from {home} import (\n    " + ",\n    ".join(names) + ",\n)"
            lines.append(line)
        return lines


def _words(node: ast.expr) -> Iterator[str]:
    return (one.id for one in ast.walk(node) if isinstance(one, ast.Name))


def _is_unset(node: ast.expr) -> bool:
    return ast.unparse(node) == "UNSET"


def _is_shown(name: str, module: ModuleType) -> bool:
    # Users build a session; a session builds everything else.
    is_built = name == "__init__" and hasattr(module, "FoxSession")
    return is_built or name in RENAMED or not name.startswith("_")


def _depth(kind: type[Any]) -> int:
    return len(kind.__mro__)


def _is_private_base(node: ast.expr, module: ModuleType) -> bool:
    base = vars(module).get(ast.unparse(node).partition("[")[0])
    return (
        isinstance(base, type) and base.__module__.startswith("foxapi_async.") and not is_live(base)
    )


def _in_brackets(words: list[str]) -> str:
    return f"({', '.join(words)})" if words else ""


def _decorators(node: Any, module: ModuleType, stub: _Stub, indent: str = "") -> Iterator[str]:
    for decorator in node.decorator_list:
        if ast.unparse(decorator) in _DECORATORS:
            yield f"{indent}@{stub.annotation(decorator, module)}"


@cache
def _tree(module: ModuleType) -> ast.Module:
    return ast.parse(inspect.getsource(module))


def _definition(value: Any) -> tuple[Any, ModuleType]:
    """Return the definition of a class or function, and its module."""
    module = importlib.import_module(value.__module__)
    for node in _tree(module).body:
        if isinstance(node, ast.ClassDef | _FUNCTION) and node.name == value.__name__:
            return node, module
    raise LookupError(f"{value.__module__} defines no {value.__name__}")


def _siblings(node: Any, module: ModuleType) -> list[Any]:
    """Return all definitions with the name of a method in its class, in their order."""
    for owner in _tree(module).body:
        if isinstance(owner, ast.ClassDef) and node in owner.body:
            return [
                one for one in owner.body if isinstance(one, _FUNCTION) and one.name == node.name
            ]
    return []


def _overloaded(node: Any, module: ModuleType) -> set[str]:
    return {
        one.name
        for one in _siblings(node, module)
        if "overload" in map(ast.unparse, one.decorator_list)
    }


def _documented(node: Any, module: ModuleType) -> Any:
    """Return the definition whose docstring belongs here: the first overload has that of all."""
    siblings = _siblings(node, module)
    if len(siblings) > 1 and siblings[0] is node:
        return siblings[-1]
    return node


def _docstring(node: Any, indent: str) -> list[str]:
    text = blocking_text(ast.get_docstring(node))
    return _quoted(text, indent) if text else []


def _quoted(text: str, indent: str) -> list[str]:
    lines = inspect.cleandoc(text).splitlines()
    if len(lines) == 1:
        return [f'{indent}"""{lines[0]}"""']
    return textwrap.indent("\n".join([f'"""{lines[0]}', *lines[1:], '"""']), indent).splitlines()


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _found(name: str, module: ModuleType) -> tuple[ModuleType, Any, ast.expr | None]:
    """Return the module where a name is defined, its value, and what is assigned to it there."""
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.ImportFrom | ast.Import):
            for one in node.names:
                if (one.asname or one.name) == name:
                    return _imported(node, one.name, module)
    for node in _tree(module).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return module, vars(module)[name], node.value
    return module, vars(module)[name], None


def _imported(
    node: ast.ImportFrom | ast.Import, name: str, module: ModuleType
) -> tuple[ModuleType, Any, ast.expr | None]:
    if isinstance(node, ast.Import):
        return module, importlib.import_module(name), None
    home = importlib.import_module(node.module or "")
    if home.__name__.startswith("foxapi_async"):
        return _found(name, home)
    return home, getattr(home, name), None
