"""Writes ``docs/reference/errors.md`` from the classes: ``python docs/error_page.py``."""

import re
import sys
from inspect import getdoc
from pathlib import Path
from typing import Final

from foxapi_async import errors

PAGE: Final = Path(__file__).with_name("reference") / "errors.md"

_INTRO: Final = """\
# Errors

<!-- Written by docs/error_page.py from foxapi_async/errors.py; a test compares. -->

Every class says what you can do about it: `.advice`, which a traceback prints below the text.
All of them pickle and copy whole, none holds the API key, and none shows a prompt in its text.

## The tree

"""

_TABLE: Final = """\
## What to do

| Class | What happened | What you can do |
|---|---|---|
"""

_CLASSES: Final = """\
## The classes

::: foxapi_async.errors
    options:
      show_root_heading: false
      show_root_toc_entry: false
      filters: ["!^_"]
      heading_level: 3
      members:
"""


def names() -> list[str]:
    """Return the classes in the order in which the module's docstring draws them."""
    drawing = errors.__doc__ or ""
    drawn = re.findall(r"^    +([A-Z]\w*Error)\b", drawing, re.MULTILINE)
    return [name for name in drawn if name in errors.__all__]


def tree() -> str:
    """Return the drawing of the module's docstring."""
    block = (errors.__doc__ or "").partition("::\n\n")[2]
    lines = [line[4:] for line in block.splitlines() if not line or line.startswith("    ")]
    return "```text\n" + "\n".join(lines).strip() + "\n```\n"


def page() -> str:
    """Return the whole page."""
    rows: list[str] = []
    for name in names():
        kind: type[BaseException] = getattr(errors, name)
        meaning = " ".join((getdoc(kind) or "").partition("\n\n")[0].split())
        meaning = meaning.replace("``", "`").replace("|", "\\|")
        rows.append(
            f"| [`{name}`][foxapi_async.errors.{name}] | {meaning} | {vars(kind)['advice']} |\n"
        )
    members = "".join(f"        - {name}\n" for name in names())
    return f"{_INTRO}{tree()}\n{_TABLE}{''.join(rows)}\n{_CLASSES}{members}"


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
