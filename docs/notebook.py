"""Turns a program with ``# %%`` marks into a notebook without outputs."""

import json
import re
from typing import Any, Final

_MARK: Final = re.compile(r"^# %%(.*)$", re.MULTILINE)


def notebook(program: str) -> str:
    """Return the JSON of a notebook (nbformat 4.5) with the cells of a program."""
    parts = _MARK.split(program)[1:]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    cells = [_cell(number, head.strip(), body.strip()) for number, (head, body) in enumerate(pairs)]
    language = {"name": "python", "display_name": "Python 3", "language": "python"}
    whole = {
        "cells": cells,
        "metadata": {"kernelspec": {**language, "name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _cell(number: int, head: str, body: str) -> dict[str, Any]:
    common = {"id": f"cell-{number}", "metadata": {}}
    if head == "[markdown]":
        body = re.sub(r"^# ?", "", body, flags=re.MULTILINE)
        return {"cell_type": "markdown", **common, "source": body.splitlines(keepends=True)}
    code = {"execution_count": None, "outputs": [], "source": body.splitlines(keepends=True)}
    return {"cell_type": "code", **common, **code}
