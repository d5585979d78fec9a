"""Laws of notebooks: the one of the documentation runs, and an interrupted cell loses nothing."""

import html
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from foxapi_async.testing import BackgroundGateway

nbclient = pytest.importorskip("nbclient", reason="the group `notebook` is not installed")
pytest.importorskip("ipykernel", reason="the group `notebook` is not installed")
nbformat = pytest.importorskip("nbformat")

pytestmark = [
    # The client of the kernel is written for older versions of its parts.
    pytest.mark.filterwarnings("default"),
    pytest.mark.timeout(180),
]


@pytest.fixture(autouse=True)
def no_blocking() -> None:
    """Let the client of the kernel block its own loop."""


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[BackgroundGateway]:
    """Run a gateway that the kernels of a test find by their environment."""
    with BackgroundGateway() as gateway:
        monkeypatch.setenv("FOXAPI_BASE_URL", gateway.url)
        monkeypatch.setenv("FOXAPI_API_KEY", gateway.key)
        # pytest forbids it, and a kernel has no time to wait for a debugger.
        monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
        yield gateway


def executed(book: Any) -> list[Any]:
    """Run a notebook in a kernel of its own and return its cells of code."""
    nbclient.NotebookClient(book, timeout=120, kernel_name="python3").execute()
    return [cell for cell in book.cells if cell.cell_type == "code"]


def outputs(cell: Any, kind: str) -> str:
    """Return all that a cell shows of one type."""
    data = [one.get("data", {}).get(kind, "") for one in cell.outputs]
    texts = [one.get("text", "") for one in cell.outputs] if kind == "text/plain" else []
    return "".join([*data, *texts])


def test_the_notebook_of_the_docs_runs(served: BackgroundGateway, checkout: Path) -> None:
    """Each cell ends without an error, and shows text or HTML."""
    book = nbformat.read(checkout / "docs" / "examples" / "notebook.ipynb", as_version=4)
    nbformat.validate(book)
    cells = executed(book)
    shown = [outputs(cell, "text/html") for cell in cells]
    assert "1, 2, 3" in html.unescape(shown[0])
    assert "LLMHandle" in shown[2]
    assert "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11" in outputs(cells[3], "text/plain")
    assert "completed" in shown[4]
    assert "kimi-k2.6" in shown[5]
    assert len(served.billed) == 12
    assert not [one for cell in cells for one in cell.outputs if one.output_type == "error"]


INTERRUPTED = (
    """
import threading, os, signal
from foxapi_async.sync import FoxSession, as_completed

def interrupt(when):
    # As the button does: SIGINT to the process of the kernel.
    def watch():
        while not when():
            pass
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=watch, daemon=True).start()

fox = FoxSession()
""",
    """
interrupt(lambda: fox.stats().waiting == 1)
fox.llm.generate(model="gpt-5.5", messages="count 1 to 400")
""",
    """
(handle,) = fox.unclaimed
print(handle.id)
""",
    """
stream = fox.llm.submit(model="gpt-5.5", messages="count 1 to 400", stream=True).stream()
texts = []
interrupt(lambda: len(texts) > 50)
for delta in stream:
    texts.append(delta.text)
""",
    """
taken = len(texts)
texts += [delta.text for delta in stream]
print(taken < 300, "".join(texts) == ", ".join(map(str, range(1, 401))))
fox.close()
""",
)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals to a process")
def test_an_interrupted_cell_loses_nothing(served: BackgroundGateway) -> None:
    """``KeyboardInterrupt`` ends the cell, the handle is unclaimed, and the stream goes on."""
    book = nbformat.v4.new_notebook()
    book.cells = [nbformat.v4.new_code_cell(source.strip()) for source in INTERRUPTED]
    for cell in book.cells:
        cell.metadata["tags"] = ["raises-exception"]
    cells = executed(book)
    ends = [[one.ename for one in cell.outputs if one.output_type == "error"] for cell in cells]
    assert ends == [[], ["KeyboardInterrupt"], [], ["KeyboardInterrupt"], []], ends
    assert outputs(cells[2], "text/plain").strip() == served.billed[0]
    assert outputs(cells[4], "text/plain").strip() == "True True"
    assert len(served.billed) == 2
