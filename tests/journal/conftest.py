"""A journal on disk, and sessions that share it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from foxapi_async import FoxSession, PollPolicy
from foxapi_async.gateway import Gateway

KEY = "sk-secret-0123456789abcdef"

Open = Callable[..., FoxSession]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return where the journal is."""
    return tmp_path / "tâches 任务.db"


@pytest.fixture
def open_fox(gateway: Gateway, file: Path, quick: PollPolicy) -> Open:
    """Return what opens a session with the journal; other options as it takes them."""

    def make(**options: object) -> FoxSession:
        settings: dict[str, object] = {"base_url": gateway.url, "journal": file, "polling": quick}
        settings["api_key"] = KEY
        return FoxSession(**(settings | options))  # type: ignore[arg-type]

    return make
