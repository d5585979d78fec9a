"""The report of a batch: one HTML file without scripts, fonts or links to other places."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from foxapi_async._batch.plot import bar_plot
from foxapi_async._batch.state import BatchState, masked_url
from foxapi_async._batch.totals import Totals

_ENDS: Final = {
    "running": "The run has not ended, or was killed.",
    "done": "All rows were read.",
    "refused": "The service refused the account.",
    "budget": "The run stopped at its budget.",
    "errors": "The run stopped at its limit of errors.",
    "interrupted": "The run was interrupted.",
    "unwritable": "The output could not be written.",
    "failed": "The run ended with an error.",
}
_MANY_SECONDS: Final = 100

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#59636e;--line:#d1d9e0;--back:#fff;
--card:#f6f8fa;--good:#1f7a4d;--bad:#c4432b;--part:#2f6fb5}
@media(max-width:640px){.cards{grid-template-columns:repeat(2,1fr)!important}}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--line:#3d444d;--back:#0d1117;
--card:#161b22;--good:#3fb27f;--bad:#f0745c;--part:#6ba4e8}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1080px;padding:24px 16px 64px;background:var(--back);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{font-size:24px;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:17px;margin:36px 0 8px}
h3{font-size:14px;margin:14px 0 4px;font-weight:600}
p{margin:4px 0;color:var(--soft)}
.cards{display:grid;grid-template-columns:repeat(4,1fr);gap:12px;margin:20px 0}
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 14px}
.card b{display:block;font-size:22px;font-variant-numeric:tabular-nums;line-height:1.3}
.card span{color:var(--soft);font-size:13px}
.good b{color:var(--good)}.bad b{color:var(--bad)}
.bar{display:flex;height:10px;border-radius:5px;overflow:hidden;background:var(--line)}
.bar i{display:block}.bar .a{background:var(--good)}.bar .b{background:var(--bad)}
.plot{position:relative;border:1px solid var(--line);border-radius:8px;padding:22px 10px 6px}
.plot svg{display:block;width:100%;height:160px;border-bottom:1px solid var(--line)}
.top{position:absolute;left:10px;top:3px;font-size:12px;color:var(--soft)}
.axis{display:flex;justify-content:space-between;font-size:12px;color:var(--soft);padding-top:4px}
.a{fill:var(--good)}.b{fill:var(--bad)}.t{fill:var(--part)}
.key{font-size:13px}
.key i{display:inline-block;width:10px;height:10px;border-radius:2px;margin:0 5px 0 0}
.key i.a{background:var(--good)}.key i.b{background:var(--bad)}.key span{margin-right:14px}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px}
th,td{text-align:left;padding:6px 10px 6px 0;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--soft);font-weight:600}
th{white-space:nowrap;width:1%;padding-right:20px}
li{overflow-wrap:anywhere}
code,pre{font:13px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
pre{white-space:pre-wrap;background:var(--card);border:1px solid var(--line);border-radius:8px;
padding:8px 12px;margin:6px 0}
ul{margin:0;padding-left:18px}
"""


def render_report(state: BatchState) -> str:
    """Return the report. Texts of rows, answers and errors are escaped."""
    totals = state.totals
    body = "\n".join(
        (
            *_head(state),
            *_cards(totals),
            *_timeline(totals),
            *_durations(totals),
            *_errors(totals),
            *_answers(totals),
            *_settings(state),
        )
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>{_text(_name(state))}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _name(state: BatchState) -> str:
    return state.settings.output.replace("\\", "/").rpartition("/")[2]


def _head(state: BatchState) -> Iterator[str]:
    totals = state.totals
    started = datetime.fromtimestamp(totals.started_at, UTC).isoformat(" ", "seconds")
    yield f"<h1>{_text(_name(state))}</h1>"
    yield (
        f"<p>Begun {started}, {duration(totals.seconds)} long. {_ENDS[totals.end]} "
        f"{_model(state)}</p>"
    )


def _model(state: BatchState) -> str:
    model = state.settings.request.model
    return f"Model <code>{_text(model)}</code>." if model else ""


def _cards(totals: Totals) -> Iterator[str]:
    answered = totals.earlier + totals.answered
    earlier = f", {totals.earlier:,} earlier" if totals.earlier else ""
    rows = answered + totals.errors_total
    cards = [
        (
            "good",
            f"{answered:,}",
            f"answered{earlier}",
        ),
        ("bad" if totals.failed else "", f"{totals.failed:,}", "failed"),
        ("bad" if totals.invalid else "", f"{totals.invalid:,}", "invalid rows"),
        ("bad" if totals.unknown else "", f"{totals.unknown:,}", "of unknown outcome"),
        ("", f"{totals.prompt_tokens:,}", "prompt tokens"),
        ("", f"{totals.completion_tokens:,}", "completion tokens"),
        ("", f"{totals.credits:,.6g}" if totals.with_credits else "unknown", _credits_note(totals)),
        ("", rate(totals.finished, totals.seconds), "rows a second"),
    ]
    share = 100 * answered / rows if rows else 0.0
    yield '<div class="cards">'
    for kind, value, name in cards:
        yield f'<div class="card {kind}"><b>{value}</b><span>{name}</span></div>'
    yield "</div>"
    yield (
        f'<div class="bar" role="img" aria-label="{share:.1f} % answered">'
        f'<i class="a" style="width:{share:.3f}%"></i>'
        f'<i class="b" style="width:{100 - share if rows else 0:.3f}%"></i></div>'
    )


def _credits_note(totals: Totals) -> str:
    answered = totals.earlier + totals.answered
    if not totals.with_credits or totals.with_credits >= answered:
        return "credits"
    return f"credits of {totals.with_credits:,} tasks"


def _timeline(totals: Totals) -> Iterator[str]:
    line = totals.timeline
    if not line.answered:
        return
    width = line.slot_seconds
    bars = [
        ((good, bad), f"from {duration(number * width)}: {good:,} answered, {bad:,} not answered")
        for number, (good, bad) in enumerate(zip(line.answered, line.failed, strict=True))
    ]
    span = len(bars) * width
    yield "<h2>Rows over time</h2>"
    yield f"<p>Rows that ended in each {duration(width)}.</p>"
    labels = ("0", duration(span / 2), duration(span))
    yield bar_plot("rows over time", bars, ("a", "b"), labels)
    yield '<p class="key"><span><i class="a"></i>answered</span>'
    yield '<span><i class="b"></i>not answered</span></p>'


def _durations(totals: Totals) -> Iterator[str]:
    times = totals.durations
    found = [(number, end, count) for number, (end, count) in enumerate(times.ends()) if count]
    if not found:
        return
    first, last = found[0][0], found[-1][0]
    bins = list(times.ends())[first : last + 1]
    factor = bins[0][0] / (10**0.1)
    bars = [((count,), f"up to {duration(end)}: {count:,} rows") for end, count in bins]
    shares = (("50 %", 0.5), ("90 %", 0.9), ("99 %", 0.99), ("all", 1.0))
    quantiles = [(name, times.quantile(share)) for name, share in shares]
    yield "<h2>Time to result</h2>"
    yield (
        "<p>"
        + ", ".join(f"{name} within {duration(value or 0)}" for name, value in quantiles)
        + ".</p>"
    )
    middle = bins[len(bins) // 2][0]
    labels = (duration(factor), duration(middle), duration(bins[-1][0]))
    yield bar_plot("time to result", bars, ("t",), labels)


def _errors(totals: Totals) -> Iterator[str]:
    if not totals.errors:
        return
    yield "<h2>Errors</h2>"
    for code, kind in sorted(totals.errors.items(), key=lambda item: -item[1].count):
        rows = "1 row" if kind.count == 1 else f"{kind.count:,} rows"
        yield f"<h3><code>{_text(code)}</code> {rows}</h3><ul>"
        for example in kind.examples:
            where = f"Line {example.line:,}{_custom_id(example.custom_id)}"
            yield f"<li>{where}: {_text(example.message)}</li>"
        yield "</ul>"


def _answers(totals: Totals) -> Iterator[str]:
    if totals.answers:
        yield "<h2>First answers</h2>"
    for example in totals.answers:
        yield f"<p>Line {example.line:,}{_custom_id(example.custom_id)}</p>"
        yield f"<pre>{_text(example.text)}</pre>"


def _settings(state: BatchState) -> Iterator[str]:
    settings = state.settings
    rows: Sequence[tuple[str, str]] = (
        ("Input", settings.input),
        ("Output", settings.output),
        ("Errors", settings.errors),
        ("Journal", masked_url(settings.journal)),
    )
    yield '<h2>Files</h2><div class="wide"><table>'
    for name, value in rows:
        yield f"<tr><th>{name}</th><td><code>{_text(value)}</code></td></tr>"
    yield "</table></div>"


def _custom_id(custom_id: str | None) -> str:
    return "" if custom_id is None else f", <code>{_text(custom_id[:80])}</code>"


def _text(text: str) -> str:
    # A browser would show a text with marks of the writing direction in another order.
    return "".join(_visible(escape(text)))


def _visible(text: str) -> Iterable[str]:
    for letter in text:
        yield letter if letter.isprintable() or letter in "\n\t" else f"\\u{ord(letter):04x}"


def duration(seconds: float) -> str:
    """Return seconds as a short text, such as ``350 ms``, ``12.5 s``, ``4 min`` or ``2.5 h``."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < _MANY_SECONDS:
        return f"{seconds:.3g} s"
    minutes = seconds / 60
    return f"{minutes:.3g} min" if minutes < _MANY_SECONDS else f"{minutes / 60:.3g} h"


def rate(rows: int, seconds: float) -> str:
    """Return rows a second as a short text."""
    return f"{rows / seconds:,.3g}" if seconds > 0 else "0"
