"""Write what the pages take from elsewhere: ``python docs/generate.py``, or ``--check``.

It also writes the stub of ``foxapi_async.sync``, and the notebook of ``docs/examples/notebook.py``.

A page marks the place::

    <!-- begin: example quickstart.py -->
    (generated)
    <!-- end -->

Kinds of blocks: ``example FILE`` (a program of ``docs/examples``), ``figure FILE`` (a table that a
benchmark wrote to ``docs/figures``), ``api PATH [as NAME]`` (a public name), ``keywords PATH`` (the
keys of a ``TypedDict``), ``faults``, ``error-tree``, ``error-advice``. So every page
reads the same in the repository and on the site.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from inspect import getdoc
from pathlib import Path
from typing import Final

DOCS: Final = Path(__file__).parent
sys.path.insert(0, str(DOCS))

# The modules stand beside this script.
from api_blocks import Reference  # noqa: E402
from notebook import notebook  # noqa: E402
from sync_stub import stub  # noqa: E402

from foxapi_async import errors  # noqa: E402
from foxapi_async.gateway.faults.catalog import CONDITIONS, FAULT_KINDS, OPTIONS, ROUTES  # noqa: E402

STUB: Final = DOCS.parent / "foxapi_async" / "sync" / "__init__.pyi"
NOTEBOOK: Final = DOCS / "examples" / "notebook.ipynb"
_BLOCK: Final = re.compile(r"(<!-- begin: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
_LANGUAGES: Final = {
    ".html": "html",
    ".js": "javascript",
    ".py": "python",
    ".sh": "sh",
    ".toml": "toml",
}


def pages() -> dict[Path, str]:
    """Return the current text of each page with a marked block, and of what else is written."""
    found = ((path, path.read_text("utf-8")) for path in sorted(DOCS.rglob("*.md")))
    filled = {path: _filled(text, path) for path, text in found if "<!-- begin: " in text}
    program = (DOCS / "examples" / "notebook.py").read_text("utf-8")
    generated = {NOTEBOOK: notebook(program), STUB: stub()}
    return filled | {DOCS / "llms.txt": _index()} | generated


def _index() -> str:
    """Return the list of pages that language models read (https://llmstxt.org)."""
    lines = ["# foxapi_async", "", "> FoxAPI generations as awaitable task handles.", ""]
    for folder in ("tutorial", "how-to", "reference", "explanation"):
        lines += [f"## {folder.capitalize()}", ""]
        for path in sorted((DOCS / folder).glob("*.md")):
            page = f"{folder}/" if path.stem == "index" else f"{folder}/{path.stem}/"
            title = path.read_text("utf-8").partition("\n")[0].removeprefix("# ")
            lines.append(f"- [{title}]({page})")
        lines.append("")
    return "\n".join(lines)


def _filled(text: str, page: Path) -> str:
    def fill(match: re.Match[str]) -> str:
        kind, _, rest = match[2].partition(" ")
        if kind not in BLOCKS:
            raise ValueError(f"{page.name}: there is no block {kind!r}")
        before = text[: match.start()]
        headings = re.findall(r"^(#+) ", _outside_blocks(before), re.MULTILINE)
        return f"{match[1]}\n{BLOCKS[kind](rest, len(headings[-1])).strip()}\n\n{match[3]}"

    return _BLOCK.sub(fill, text)


def _outside_blocks(text: str) -> str:
    return re.sub(r"```.*?```", "", _BLOCK.sub("", text), flags=re.DOTALL)


@cache
def _reference() -> Reference:
    return Reference()


def _example(name: str, _level: int) -> str:
    path = DOCS / "examples" / name
    return f"```{_LANGUAGES[path.suffix]}\n{path.read_text('utf-8').strip()}\n```"


def _figure(name: str, _level: int) -> str:
    return (DOCS / "figures" / name).read_text("utf-8")


def _api(words: str, level: int) -> str:
    path, _, title = words.partition(" as ")
    return _reference().block(path, title, level + 1)


def _keywords(path: str, _level: int) -> str:
    return _reference().keywords(path)


def _faults(_rest: str, level: int) -> str:
    return "\n".join(_fault_tables("#" * (level + 1)))


def _fault_tables(mark: str) -> Iterator[str]:
    yield f"{mark} Routes\n"
    yield from _table(("Route", "Calls"), _named(ROUTES))
    yield f"\n{mark} Faults\n"
    yield from _table(
        ("Fault", "Routes", "What happens", "Takes"),
        (
            (
                f"`{name}`",
                "all" if "any" in kind.routes else ", ".join(f"`{item}`" for item in kind.routes),
                kind.description,
                ", ".join(f"`{item}`" for item in kind.options),
            )
            for name, kind in FAULT_KINDS.items()
        ),
    )
    yield f"\n{mark} When a rule acts\n"
    yield from _table(("Member", "Acts on"), _named(CONDITIONS))
    yield f"\n{mark} How the fault goes\n"
    yield from _table(("Member", "Meaning"), _named(OPTIONS))


def _named(texts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    return ((f"`{name}`", text) for name, text in texts.items())


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield from ('<div class="rows" markdown>', "")
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        yield f"| {' | '.join(cell.replace('``', '`') for cell in row)} |"
    yield from ("", "</div>")


def error_names() -> list[str]:
    """Return the error classes in the order in which the module's docstring draws them."""
    drawn = re.findall(r"^    +([A-Z]\w*Error)\b", errors.__doc__ or "", re.MULTILINE)
    return [name for name in drawn if name in errors.__all__]


def _error_tree(_rest: str, _level: int) -> str:
    drawing = (errors.__doc__ or "").partition("::\n\n")[2]
    lines = [line[4:] for line in drawing.splitlines() if not line or line.startswith("    ")]
    return "```text\n" + "\n".join(lines).strip() + "\n```\n"


def _error_advice(_rest: str, _level: int) -> str:
    rows: list[tuple[str, ...]] = []
    for name in error_names():
        kind: type[BaseException] = getattr(errors, name)
        meaning = " ".join((getdoc(kind) or "").partition("\n\n")[0].split())
        link = f"[`{name}`](#{name.lower()})"
        rows.append((link, meaning.replace("|", "\\|"), vars(kind)["advice"]))
    return "\n".join(_table(("Class", "What happened", "What you can do"), iter(rows)))


def _error_classes(_rest: str, level: int) -> str:
    return "\n".join(
        _reference().block(f"foxapi_async.errors.{name}", level=level + 1) for name in error_names()
    )


BLOCKS: Final[dict[str, Callable[[str, int], str]]] = {
    "api": _api,
    "error-advice": _error_advice,
    "error-classes": _error_classes,
    "error-tree": _error_tree,
    "example": _example,
    "faults": _faults,
    "figure": _figure,
    "keywords": _keywords,
}


def main(words: list[str]) -> int:
    """Write the pages; with ``--check`` name those that would change, and fail."""
    current = pages()
    stale = [path for path, text in current.items() if _text(path) != text]
    for path in stale:
        print(f"{'stale' if '--check' in words else 'wrote'}: {path.relative_to(DOCS.parent)}")
    if "--check" in words:
        return 1 if stale else 0
    for path in stale:
        path.write_text(current[path], "utf-8")
    return 0


def _text(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
