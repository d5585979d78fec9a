"""What type checkers know of a ``TypeAdapter`` of pydantic, which is never imported."""

from typing import Any, Protocol, TypeVar

T_co = TypeVar("T_co", covariant=True)


class TypeAdapterLike(Protocol[T_co]):
    """A ``pydantic.TypeAdapter``."""

    def validate_json(self, data: bytes, /) -> T_co:
        """Return the value that the JSON stands for."""
        ...

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON schema of the type."""
        ...
