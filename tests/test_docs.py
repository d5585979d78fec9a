"""Laws of the documentation: it agrees with the code."""

import ast
import importlib
import importlib.util
import re
from pathlib import Path

import pytest

import foxapi_async
from foxapi_async._client.params import PROMPT_FORMS, SubmitParams

DOORS = (
    *("config", "content", "errors", "gateway", "hooks", "journal", "ray", "sync", "testing"),
    "types",
)


@pytest.mark.parametrize("door", ["", *DOORS], ids=lambda door: door or "package")
def test_every_public_name_is_in_the_reference(checkout: Path, door: str) -> None:
    """Every public name is on a page of the reference."""
    pages = (checkout / "docs/reference").glob("*.md")
    written = set(re.findall(r"\w+", "\n".join(page.read_text("utf-8") for page in pages)))
    module = importlib.import_module(f"foxapi_async.{door}".rstrip("."))
    missing = sorted(set(module.__all__) - written - {"__version__"})
    assert not missing, f"write them into docs/reference: {missing}"


def test_every_example_is_on_a_page(checkout: Path) -> None:
    """Every file of ``docs/examples`` is included by a page."""
    docs = checkout / "docs"
    prose = "\n".join(page.read_text("utf-8") for page in docs.rglob("*.md"))
    included = set(re.findall(r"<!-- begin: example (\S+) -->", prose))
    files = {
        path.relative_to(docs / "examples").as_posix() for path in (docs / "examples").rglob("*.py")
    }
    assert files
    assert files <= included, f"no page includes {sorted(files - included)}"


def test_the_changelog_has_this_version(checkout: Path) -> None:
    """The installed version has its section, directly below Unreleased."""
    sections = re.findall(
        r"^## (\S+)", (checkout / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    )
    assert sections[:2] == ["Unreleased", foxapi_async.__version__]


def test_ci_runs_the_command_of_the_readme(checkout: Path) -> None:
    """CI runs the command of the README."""
    command = "python -m pip install nox && nox -s tests"
    assert command in (checkout / "README.md").read_text("utf-8")
    assert command in (checkout / ".ci/run").read_text("utf-8").splitlines()


def test_every_test_states_its_law(checkout: Path) -> None:
    """Every test function has a docstring of one sentence."""
    for path in sorted((checkout / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
                "test_"
            ):
                law = ast.get_docstring(node) or ""
                assert law.endswith("."), (
                    f"{path.name}: {node.name} needs a docstring of one sentence"
                )
                assert "\n\n" not in law, f"{path.name}: {node.name} says more than one sentence"


def test_the_pages_show_what_the_code_says(checkout: Path) -> None:
    """Examples, tables and the reference on a page are what ``docs/generate.py`` writes now."""
    script = checkout / "docs" / "generate.py"
    spec = importlib.util.spec_from_file_location("generate", script)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    stale = [path.name for path, text in module.pages().items() if path.read_text("utf-8") != text]
    assert not stale, f"run python docs/{script.name} again"


def test_the_pages_are_whole_in_the_repository(checkout: Path) -> None:
    """No page needs the site's builder to show an example, a table or a name."""
    for page in sorted((checkout / "docs").rglob("*.md")):
        text = page.read_text("utf-8")
        assert "--8<--" not in text, page.name
        assert "\n::: " not in text, page.name


def test_every_keyword_of_a_generation_is_in_the_reference(checkout: Path) -> None:
    """The reference has a row for each keyword of ``fox.llm.submit``, and names its methods."""
    page = (checkout / "docs/reference/session.md").read_text("utf-8")
    keywords = {name for form in (SubmitParams, *PROMPT_FORMS) for name in form.__annotations__}
    for keyword in sorted(keywords):
        assert re.search(rf"^\| `{keyword}` \|", page, re.MULTILINE), keyword
    for name in ("llm.submit", "llm.generate", "llm.stream", "tasks.handle", "models.list"):
        assert f"`fox.{name}`" in page, name


def test_every_public_field_has_a_meaning(checkout: Path) -> None:
    """The reference says of each field, attribute and keyword what it means."""
    for page in sorted((checkout / "docs/reference").glob("*.md")):
        for block in re.findall(
            r"<!-- begin: ((?:api|keywords|error-classes).*?)<!-- end -->",
            page.read_text("utf-8"),
            re.DOTALL,
        ):
            name = block.partition(" -->")[0]
            bare = re.findall(r"^\| (`\w+`) \|.*\|  \|$", block, re.MULTILINE)
            assert not bare, f"{name}: write a docstring below {', '.join(bare)}"


def test_every_citation_of_the_contract_resolves(checkout: Path) -> None:
    """Each § and quirk of the service contract that code, tests or pages cite is on its page."""
    page = (checkout / "docs/reference/service-contract.md").read_text("utf-8")
    sections = set(re.findall(r"^##+ (§[\d.]+\d|§\d+) ", page, re.MULTILINE))
    quirks = set(re.findall(r"^\| (Q\d+) \|", page, re.MULTILINE))
    cited: set[str] = set()
    for folder in ("foxapi_async", "tests", "docs", "benchmarks"):
        for path in sorted((checkout / folder).rglob("*")):
            if path.suffix in {".py", ".md"}:
                for found in re.findall(
                    r"(?i:contract) ((?:[§Q][\d.]+(?:, )?)+)", path.read_text("utf-8")
                ):
                    cited |= {word.rstrip(".") for word in found.strip(", ").split(", ")}
    assert len(cited) > 20
    assert cited <= sections | quirks, sorted(cited - sections - quirks)


def test_shell_blocks_can_be_pasted(checkout: Path) -> None:
    """No command in a shell block has a prompt."""
    for page in [checkout / "README.md", *sorted((checkout / "docs").rglob("*.md"))]:
        for block in re.findall(
            r"```(?:sh|console|bash)\n(.*?)```", page.read_text("utf-8"), re.DOTALL
        ):
            assert not re.search(r"^\$ ", block, re.MULTILINE), f"{page.name}: {block}"


def test_serve_is_documented(checkout: Path) -> None:
    """Every option of ``foxapi serve`` is in the reference of the command."""
    page = (checkout / "docs/reference/cli.md").read_text("utf-8")
    source = (checkout / "foxapi_async/cli/serve.py").read_text("utf-8")
    options = set(re.findall(r'"(--[a-z-]+)"', source))
    assert options
    assert options <= set(re.findall(r"--[a-z-]+", page))


def test_the_threat_model_names_tests_that_exist(checkout: Path) -> None:
    """Every promise of the threat model names an existing test."""
    page = (checkout / "docs/explanation/threat-model.md").read_text("utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert len(named) > 20
    for path, test in named:
        assert f"def {test}(" in (checkout / path).read_text("utf-8"), f"{path} has no {test}"
    promises = [line for line in page.splitlines() if line.startswith("| ")]
    heads = [line for line in promises if line == "| Promise | Shown by |"]
    for line in promises:
        assert "tests/" in line or line in heads, line


def test_batch_run_is_documented(checkout: Path) -> None:
    """Every option of ``foxapi batch run`` is in the reference of the command."""
    page = (checkout / "docs/reference/cli.md").read_text("utf-8")
    source = (checkout / "foxapi_async/cli/batch_options.py").read_text("utf-8")
    options = set(re.findall(r'"(--[a-z-]+)"', source))
    assert len(options) > 20
    assert options <= set(re.findall(r"--[a-z-]+", page))
