"""Objects that are tied to a connection or a loop, of which there can be no second."""

from typing import ClassVar, NoReturn


class Uncopied:
    """Refuses ``copy``, ``deepcopy`` and ``pickle``, and names what to use in their place."""

    __slots__ = ()

    _instead: ClassVar[str]

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} can be neither copied nor pickled: {self._instead}")
