"""Handles of billed tasks whose callers have gone before they got a result."""

from collections import OrderedDict
from typing import Any, Final, Protocol

_MOST: Final = 10_000
_FEW: Final = 64


class SupportsDone(Protocol):
    """A handle, as far as it matters here."""

    def done(self) -> bool:
        """Tell whether the outcome is known."""
        ...


class Unclaimed:
    """Keeps handles until somebody has got their outcome, and the newest ten thousand at most.

    Nobody polls for a handle that lies here: it is done when somebody has taken it and awaited it.
    """

    def __init__(self) -> None:
        # Each with whether it was done when it came: then its outcome has reached nobody.
        self._handles: OrderedDict[SupportsDone, bool] = OrderedDict()
        self._full = _FEW

    def add(self, handle: SupportsDone) -> bool:
        """Keep ``handle``; tell whether it is new here."""
        if handle in self._handles:
            return False
        if len(self._handles) >= self._full:
            self._drop_claimed()
            self._full = max(_FEW, 2 * len(self._handles))
        if len(self._handles) >= _MOST:
            self._handles.popitem(last=False)
        self._handles[handle] = handle.done()
        return True

    def handles(self) -> tuple[Any, ...]:
        """Return them, the newest last."""
        self._drop_claimed()
        return tuple(self._handles)

    def __len__(self) -> int:
        self._drop_claimed()
        return len(self._handles)

    def _drop_claimed(self) -> None:
        claimed = [one for one, was_done in self._handles.items() if one.done() and not was_done]
        for handle in claimed:
            del self._handles[handle]
