"""A bar that shows how far a loop has come, in a terminal or a notebook."""

from typing import Protocol, cast

from foxapi_async.errors import ConfigError


class _Bar(Protocol):
    """What is used of a bar of tqdm."""

    def update(self, n: int) -> object: ...

    def close(self) -> None: ...


class ProgressBar:
    """Shows how many of ``total`` are done (extra ``notebook``); ``None`` is an unknown total.

    Raises:
        ConfigError: tqdm is not installed.
    """

    def __init__(self, total: int | None, unit: str) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError:
            raise ConfigError(
                "progress=True draws with tqdm: python -m pip install 'foxapi-async[notebook]'"
            ) from None
        self._bar = cast("_Bar", tqdm(total=total, unit=unit))
        self._left = total

    def __call__(self, _: object) -> None:
        """Count one more; the last one closes the bar."""
        self._bar.update(1)
        if self._left is not None:
            self._left -= 1
            if not self._left:
                self.close()

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()
