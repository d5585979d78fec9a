"""Answers as members of a JSON object and as text, and tables for people."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.cells import cell_len
from rich.text import Text

from foxapi_async.cli.output import Screen, printable
from foxapi_async.types import ChatCompletion, Choice, MediaResults

_GAP: Final = 2


def answer_members(result: ChatCompletion | MediaResults) -> dict[str, Any]:
    """Return the members of a result; ``choices`` is one of them if there are several."""
    if isinstance(result, MediaResults):
        return _media_members(result)
    completion = result
    members: dict[str, Any] = {
        "model": completion.model,
        "text": completion.text,
        "reasoning": completion.reasoning,
        "finish_reason": completion.finish_reason,
        "tool_calls": [call.to_dict() for call in completion.message.tool_calls or ()],
        "usage": completion.usage.to_dict() if completion.usage is not None else None,
    }
    if len(completion.choices) > 1:
        members["choices"] = [choice.to_dict() for choice in completion.choices]
    return members


def _media_members(results: MediaResults) -> dict[str, Any]:
    return {
        "model": results.task.model if results.task is not None else "",
        "urls": list(results.urls),
        "results": [result.to_dict() for result in results],
    }


def show_answer(screen: Screen, result: ChatCompletion | MediaResults) -> None:
    """Show the text and the tool calls of each choice, or the links of each media result."""
    if isinstance(result, MediaResults):
        for item in result:
            screen.print("\n".join(item.urls) or item.to_json())
        return
    completion = result
    for choice in completion.choices:
        screen.print(_choice_text(choice))
    if not completion.text and completion.finish_reason == "length":
        screen.note("the answer is empty: --max-tokens was used up before it began")


def _choice_text(choice: Choice) -> str:
    message = choice.message
    calls = (
        f"{call.function.name}({call.function.arguments})" for call in message.tool_calls or ()
    )
    return "\n".join(filter(None, (message.content or message.refusal, *calls)))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Text:
    """Return a line for the header and a line for each row. No cell is cut or wrapped.

    A terminal that is too narrow wraps the lines itself, so a cell can be copied whole.
    """
    head, *lines = _aligned([header, *rows])
    return Text("\n").join([Text(head, "bold"), *map(Text, lines)])


def key_values(members: Mapping[str, str]) -> Text:
    """Return a line for each member that is not empty: its name dimmed, its value whole."""
    width = max(map(cell_len, members), default=0) + _GAP
    cells = {name: _cell(value) for name, value in members.items()}
    return Text("\n").join(
        Text.assemble((name.ljust(width), "dim"), value) for name, value in cells.items() if value
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [[_cell(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) + _GAP for column in zip(*cells, strict=True)]
    return [
        "".join(
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in cells
    ]


def _cell(text: str) -> str:
    """Return ``text`` on one line, without characters that steer a terminal."""
    return printable(text).replace("\n", r"\n").replace("\t", r"\t")
