"""Laws of the layers that import-linter cannot check: parts of packages, environment, size."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

# The rules of `_protocol` take times and random numbers as arguments.
IMPURE = {"aiohttp", "asyncio", "os", "random", "secrets", "socket", "threading", "time"}
VAGUE_NAMES = {"common", "helper", "helpers", "misc", "util", "utils"}


def sources(folder: Path) -> Iterator[tuple[str, ast.Module]]:
    """Parse every module below a folder; the names are relative, with slashes."""
    for path in sorted(folder.rglob("*.py")):
        yield path.relative_to(folder).as_posix(), ast.parse(path.read_text("utf-8"))


def imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield (module, name) of every import; the name is empty for ``import module``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)


class RuntimeNames(ast.NodeVisitor):
    """Collects the names that are used at run time, without annotations."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def visit_If(self, node: ast.If) -> None:
        """Skip the body of ``if TYPE_CHECKING``."""
        if not (isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            for statement in node.body:
                self.visit(statement)
            self.visit(node.test)
        for statement in node.orelse:
            self.visit(statement)

    def visit_arg(self, node: ast.arg) -> None:
        """Skip a parameter: it has nothing but its annotation."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Skip the annotation."""
        self.visit(node.target)
        if node.value:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Skip the return annotation."""
        for child in (*node.decorator_list, node.args, *node.body):
            self.visit(child)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Keep ``aiohttp.ClientSession`` and the like."""
        self.names.add(node.attr)
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        """Keep a bare name."""
        self.names.add(node.id)


def test_only_the_transport_opens_client_sessions(package: Path) -> None:
    """Only ``_transport`` creates an ``aiohttp.ClientSession``; others may annotate with it."""
    # The gateway shares no I/O with the client, so it has one of its own for its upstreams.
    for name, tree in sources(package):
        if not name.startswith(
            ("_transport/", "gateway/models/upstream/chat_client", "gateway/files/remote_file")
        ):
            visitor = RuntimeNames()
            visitor.visit(tree)
            assert "ClientSession" not in visitor.names, name


def test_only_the_transport_knows_tenacity(package: Path) -> None:
    """Only ``_transport`` imports tenacity."""
    users = {
        name
        for name, tree in sources(package)
        if any(module.partition(".")[0] == "tenacity" for module, _ in imported(tree))
    }
    assert users
    assert all(name.startswith("_transport/") for name in users), users


def test_rules_are_pure(package: Path) -> None:
    """``_protocol`` imports no clock, no random numbers, no event loop and no HTTP library."""
    for name, tree in sources(package / "_protocol"):
        impure = {module.partition(".")[0] for module, _ in imported(tree)} & IMPURE
        assert not impure, f"_protocol/{name} imports {impure}"


def test_only_one_module_reads_the_environment(package: Path) -> None:
    """Only ``_environment`` reads environment variables."""
    for name, tree in sources(package):
        if name != "_environment.py":
            named = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
            named |= {item for _, item in imported(tree)}
            # typer reads the variables that `envvar` names.
            named |= {node.arg or "" for node in ast.walk(tree) if isinstance(node, ast.keyword)}
            assert not named & {"environ", "environb", "getenv", "envvar"}, name


def test_a_module_holds_one_noun(package: Path) -> None:
    """No module grows past 500 lines."""
    for path in package.rglob("*.py"):
        lines = len(path.read_text("utf-8").splitlines())
        assert lines <= 500, f"{path.relative_to(package)} has {lines} lines"


def test_a_function_fits_a_screen(package: Path) -> None:
    """No function grows past 60 lines, its docstring not counted."""
    for name, tree in sources(package):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[0]
                prose = 0
                if ast.get_docstring(node) is not None:
                    prose = (first.end_lineno or first.lineno) - first.lineno + 1
                lines = (node.end_lineno or node.lineno) - node.lineno + 1 - prose
                assert lines <= 60, f"{name}: {node.name} has {lines} lines"


@pytest.mark.parametrize("folder", ["foxapi_async", "tests", "benchmarks", "docs"])
def test_a_module_is_named_by_its_noun(checkout: Path, folder: str) -> None:
    """No module has a vague name."""
    for path in (checkout / folder).rglob("*"):
        assert path.stem.strip("_") not in VAGUE_NAMES, path
