"""What the demo shows: its steps, the code of each step and the results."""

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Final

from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

_INDENT: Final = 5
_MAX_WIDTH: Final = 88
_BAR_WIDTH: Final = 40
_WORDS: Final = re.compile(r"\n|[^\S\n]*[^\s]+|[^\S\n]+")


class DemoDisplay:
    """Draws on a terminal, or writes plain lines to any other console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = min(console.width, _MAX_WIDTH)

    def header(self, title: str, subtitle: str) -> None:
        """Show the title of the demo."""
        self._console.print()
        self._console.print(Text.assemble("  ", (title, "bold"), "  ", (subtitle, "dim")))

    def step(self, number: int, title: str, code: str) -> None:
        """Show the title of a step and the code that it runs."""
        self._console.print()
        self._console.print(Text.assemble(f"  {number}  ", (title, "bold")), style="cyan")
        self._console.print()
        if self._console.is_terminal:
            shown = Syntax(code, "python", theme="ansi_dark", background_color="default")
            self._indented(shown)
        else:
            self._console.print("\n".join(" " * _INDENT + line for line in code.splitlines()))
        self._console.print()

    def line(self, text: str, style: str = "") -> None:
        """Show a line of the result."""
        self._indented(Text(text, style))

    def text_writer(self) -> "TextWriter":
        """Return a writer for text that arrives in pieces."""
        return TextWriter(self._console, self._width)

    @contextmanager
    def progress(self, total: int, *names: str) -> Generator[Mapping[str, "Counter"], None, None]:
        """Show a progress bar for each name while inside, and yield their counters."""
        bars = Progress(
            TextColumn(" " * _INDENT + "{task.description}"),
            BarColumn(bar_width=_BAR_WIDTH, complete_style="cyan", finished_style="green"),
            TextColumn("{task.completed:>3.0f}/{task.total:.0f}"),
            _Seconds(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        width = max(map(len, names))
        with bars:
            yield {name: Counter(bars, name.ljust(width), total) for name in names}

    def figures(self, rows: Mapping[str, str]) -> None:
        """Show the figures of the whole demo."""
        table = Table(box=box.ROUNDED, show_header=False, border_style="dim", padding=(0, 2))
        table.add_column()
        table.add_column(justify="right", style="bold")
        for name, value in rows.items():
            table.add_row(name, value)
        self._console.print()
        if self._console.is_terminal:
            self._indented(table)
            return
        for name, value in rows.items():
            self.line(f"{name:<24}{value:>10}")

    def footer(self, text: str) -> None:
        """Show what to try next."""
        self._console.print()
        self.line(text, "dim")
        self._console.print()

    def _indented(self, item: RenderableType) -> None:
        self._console.print(Padding(item, (0, 0, 0, _INDENT), expand=False))


class _Seconds(ProgressColumn):
    """The seconds from the first step of a bar to its last."""

    def render(self, task: Task) -> Text:
        """Return the seconds with one decimal."""
        return Text(f"{task.finished_time or task.elapsed or 0:>4.1f} s", "dim")


class Counter:
    """The counter of a progress bar. Its time starts at the first step."""

    def __init__(self, bars: Progress, description: str, total: int) -> None:
        self._bars = bars
        self._task = bars.add_task(description, total=total, start=False)
        self._is_started = False

    def step(self) -> None:
        """Advance the bar by one."""
        if not self._is_started:
            self._is_started = True
            self._bars.start_task(self._task)
        self._bars.advance(self._task)


class TextWriter:
    """Writes text that arrives in pieces, and breaks lines between words."""

    def __init__(self, console: Console, width: int) -> None:
        self._console = console
        self._width = width
        self._column = 0

    def write(self, text: str, style: str = "") -> None:
        """Write a piece."""
        for word in _WORDS.findall(text):
            if word == "\n":
                self.end()
                continue
            if self._column and self._column + cell_len(word) > self._width:
                self.end()
            shown = word if self._column else " " * _INDENT + word.lstrip()
            self._column += cell_len(shown)
            self._console.print(Text(shown, style), end="", soft_wrap=True)

    def end(self) -> None:
        """End the line unless it is empty."""
        if self._column:
            self._console.print()
        self._column = 0
