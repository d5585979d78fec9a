"""The steps of an iterator that may be dropped while one of them is under way."""

from abc import ABC, abstractmethod


class Steps(ABC):
    """What an iterator refers to: ``with`` surrounds each step, and it is left after the last.

    ``await anext(as_completed(handles))`` drops its iterator when the step begins.
    """

    def __init__(self) -> None:
        self._steps_under_way = 0
        self._is_dropped = False

    def __enter__(self) -> None:
        self._steps_under_way += 1

    def __exit__(self, *_: object) -> None:
        self._steps_under_way -= 1
        if self._is_dropped:
            self.drop()

    def drop(self) -> None:
        """Leave, at the end of a step that is under way."""
        self._is_dropped = True
        if not self._steps_under_way:
            self.leave()

    @abstractmethod
    def leave(self) -> None:
        """End what the iterator has begun."""
