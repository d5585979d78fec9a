"""Bar plots as SVG, which a browser stretches to the width of the page."""

from collections.abc import Sequence
from html import escape

_WIDTH = 1000
_HEIGHT = 160
_GAP = 0.15


def bar_plot(
    title: str,
    bars: Sequence[tuple[Sequence[float], str]],
    classes: Sequence[str],
    labels: Sequence[str],
) -> str:
    """Return a figure of stacked bars.

    Args:
        title: What the figure shows, for screen readers.
        bars: For each bar the sizes of its parts, from below, and its tooltip.
        classes: The CSS class of each part.
        labels: Texts below the figure, spread over its width. Texts within the SVG would be
            stretched with it.
    """
    highest = max((sum(parts) for parts, _ in bars), default=0) or 1
    step = _WIDTH / max(len(bars), 1)
    shapes: list[str] = []
    for number, (parts, tooltip) in enumerate(bars):
        if not sum(parts):
            continue
        base = float(_HEIGHT)
        rects: list[str] = []
        for size, name in zip(parts, classes, strict=True):
            height = size / highest * _HEIGHT
            base -= height
            if size:
                rects.append(
                    f'<rect class="{name}" x="{number * step + step * _GAP / 2:.2f}" '
                    f'y="{base:.2f}" width="{step * (1 - _GAP):.2f}" height="{height:.2f}"/>'
                )
        shapes.append(f"<g><title>{escape(tooltip)}</title>{''.join(rects)}</g>")
    below = "".join(f"<span>{escape(label)}</span>" for label in labels)
    return (
        f'<div class="plot"><span class="top">{highest:,.0f}</span>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(title)}">{"".join(shapes)}</svg>'
        f'<div class="axis">{below}</div></div>'
    )
