"""The only reader of environment variables."""

import os
from collections.abc import Mapping


def environment(name: str) -> str | None:
    """Return an environment variable, or ``None`` when it is missing or empty."""
    return os.environ.get(name, "").strip() or None


def child_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a child process: that of this process with ``changes``."""
    return os.environ | dict(changes)
