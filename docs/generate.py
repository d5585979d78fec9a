"""Write the tables of the reference that are made of code: ``python docs/generate.py``.

A test compares what is committed with what this script would write.
"""

import ast
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path

from foxapi_async.gateway import settings
from foxapi_async.gateway.faults.kinds import HOW, KINDS, ROUTES, WHEN

FIGURES = Path(__file__).parent / "figures"


def tables() -> dict[str, str]:
    """Return the text of each generated file by its name."""
    return {"faults.md": "\n".join(_faults()) + "\n", "settings.md": "\n".join(_settings()) + "\n"}


def _faults() -> Iterator[str]:
    yield "### Routes\n"
    yield from _table(("Route", "Calls"), ((f"`{name}`", what) for name, what in ROUTES.items()))
    yield "\n### Faults\n"
    yield from _table(
        ("Fault", "Routes", "What happens", "Takes"),
        (
            (
                f"`{name}`",
                "all" if "any" in kind.routes else ", ".join(f"`{item}`" for item in kind.routes),
                kind.does,
                ", ".join(f"`{item}`" for item in kind.takes),
            )
            for name, kind in KINDS.items()
        ),
    )
    yield "\n### When a rule acts\n"
    yield from _table(("Member", "Acts on"), ((f"`{name}`", what) for name, what in WHEN.items()))
    yield "\n### How the fault goes\n"
    yield from _table(("Member", "Meaning"), ((f"`{name}`", what) for name, what in HOW.items()))


def _settings() -> Iterator[str]:
    told = _docstrings(Path(settings.__file__).read_text("utf-8"), "GatewaySettings")
    rows = (
        (f"`{item.name}`", _default(item.default), told[item.name])
        for item in fields(settings.GatewaySettings)
    )
    yield from _table(("Setting", "Default", "Meaning"), rows)


def _docstrings(source: str, name: str) -> dict[str, str]:
    """Return what is said below each member of a class."""
    found: dict[str, str] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            for member, text in zip(node.body, node.body[1:], strict=False):
                if (
                    isinstance(member, ast.AnnAssign)
                    and isinstance(member.target, ast.Name)
                    and isinstance(text, ast.Expr)
                    and isinstance(text.value, ast.Constant)
                ):
                    found[member.target.id] = " ".join(str(text.value.value).split())
    return found


def _default(value: object) -> str:
    return "the loop's clock" if value is MISSING else f"`{value!r}`"


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        yield f"| {' | '.join(cell.replace('``', '`') for cell in row)} |"


if __name__ == "__main__":
    for name, text in tables().items():
        (FIGURES / name).write_text(text, "utf-8")
        print(f"wrote {FIGURES / name}")
