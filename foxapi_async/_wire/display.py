"""How objects show themselves: short texts for ``repr``, escaped HTML for notebooks."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from foxapi_async._environment import environment

_SHORT: Final = 80
_LONG: Final = 10_000
_TABLE: Final = "border-collapse:collapse;margin:0;font-size:0.9em"
_CELL: Final = "text-align:left;vertical-align:top;padding:2px 12px 2px 0"
_HEAD: Final = f"{_CELL};font-weight:normal;opacity:0.7"
_WRAP: Final = f"{_CELL};overflow-wrap:anywhere"
_IMAGE: Final = "max-height:192px;max-width:100%;margin:4px 4px 0 0"
_TEXT: Final = "white-space:pre-wrap;overflow-wrap:anywhere;margin:4px 0 0 0"


def hides_content() -> bool:
    """Tell whether prompts and answers are hidden: ``FOXAPI_REPR`` is set, as to ``private``."""
    return environment("FOXAPI_REPR") is not None


def shown_text(text: str) -> str:
    """Return a text as ``repr`` shows it: its beginning, or its length if it is hidden."""
    if hides_content():
        return f"<{len(text)} characters>"
    return repr(text if len(text) <= _SHORT else text[: _SHORT - 1] + "…")


def html_card(
    title: str,
    rows: Iterable[tuple[str, object]],
    text: str | None = None,
    part: float | None = None,
    images: Sequence[str] = (),
) -> str:
    """Return escaped HTML: a title, a table of the rows that have a value, a text, and more.

    Args:
        title: The name of the object.
        rows: Names and values; a row whose value is ``None`` is left out.
        text: A prompt or an answer, which is hidden if they are. It is cut after 10,000 characters.
        part: How much is done, from 0 to 1.
        images: URLs of answers that are images, which are hidden if answers are.
    """
    lines = [f"<strong>{escape(title)}</strong>"]
    if part is not None:
        lines.append(f' <progress value="{min(max(part, 0.0), 1.0):.3f}" max="1"></progress>')
    body = "".join(
        f'<tr style="background:none"><th style="{_HEAD}">{escape(name)}</th>'
        f'<td style="{_WRAP}">{escape(str(value))}</td></tr>'
        for name, value in rows
        if value is not None
    )
    if body:
        lines.append(f'<table style="{_TABLE}">{body}</table>')
    if text is not None:
        hidden = hides_content()
        cut = f"<{len(text)} characters>" if hidden else text[:_LONG] + "…" * (len(text) > _LONG)
        lines.append(f'<pre style="{_TEXT}">{escape(cut)}</pre>')
    if images and not hides_content():
        lines += [
            f'<img src="{escape(url)}" alt="" style="{_IMAGE}" loading="lazy" '
            'referrerpolicy="no-referrer">'
            for url in images
        ]
    return f"<div>{''.join(lines)}</div>"
