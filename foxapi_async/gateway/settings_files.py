"""Reads the files that options name: rules of faults, upstreams and replies."""

import tomllib
from pathlib import Path

from foxapi_async.errors import ConfigError


def read_settings_file(kind: str, path: str | Path) -> str:
    """Return the text of a file in UTF-8, without a byte order mark.

    Raises:
        ConfigError: The file cannot be read. The message begins with ``kind`` and the path.
    """
    try:
        return Path(path).read_text("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{kind} file {path}: {error.strerror or 'cannot be read'}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{kind} file {path}: it is not UTF-8: {error}; save it as UTF-8"
        ) from None


def parse_toml(text: str) -> dict[str, object]:
    """Return the document of a TOML text.

    Raises:
        ConfigError: The text is not TOML.
    """
    try:
        return tomllib.loads(text)
    # A number with thousands of digits is a `ValueError` of its own.
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"it is not TOML: {error}") from None
