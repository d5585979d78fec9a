"""The check of answers against a JSON schema."""

from typing import Any, Final

import msgspec

from foxapi_async._batch.rows import BatchFileError, shortened
from foxapi_async.errors import ConfigError
from foxapi_async.types import ChatCompletion

_MAX_SCHEMA: Final = 1024 * 1024


class AnswerMismatchError(Exception):
    """An answer does not match the schema; the message gives the path, without the answer."""


class AnswerSchema:
    """A JSON schema that answers must match. References to other documents are not loaded.

    Raises:
        ConfigError: The extra is missing.
        BatchFileError: It is no valid schema.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        try:
            from jsonschema import Draft202012Validator, SchemaError
            from referencing import Registry
        except ImportError:
            raise ConfigError(
                "--schema needs an extra: python -m pip install 'foxapi-async[batch]'"
            ) from None
        try:
            Draft202012Validator.check_schema(schema)
        except SchemaError as error:
            raise BatchFileError(f"--schema: {shortened(error.message)}") from None
        self._validator: Any = Draft202012Validator(schema, registry=Registry())

    def parse(self, completion: ChatCompletion) -> Any:
        """Return the answer as JSON data.

        Raises:
            AnswerMismatchError: The answer is cut off, is not JSON, or does not match the schema.
        """
        if completion.finish_reason == "length":
            raise AnswerMismatchError("the answer was cut off by its limit of tokens")
        try:
            value = msgspec.json.decode(completion.text)
        except (ValueError, RecursionError):
            raise AnswerMismatchError("the answer is not JSON") from None
        try:
            error = next(self._validator.iter_errors(value), None)
        except Exception as failure:  # noqa: BLE001 what a reference raises has no public base class
            raise AnswerMismatchError(
                f"the schema cannot be applied ({type(failure).__name__})"
            ) from None
        if error is not None:
            path = "".join(f"[{name!r}]" for name in error.absolute_path) or "the whole answer"
            raise AnswerMismatchError(f"{shortened(path)} breaks the rule {error.validator!r}")
        return value


def parse_schema(text: bytes, name: str) -> dict[str, Any]:
    """Return the JSON schema of a file.

    Raises:
        BatchFileError: It is too large, or no JSON object.
    """
    if len(text) > _MAX_SCHEMA:
        raise BatchFileError(f"--schema {name}: it is larger than 1 MiB")
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (ValueError, RecursionError):
        raise BatchFileError(f"--schema {name}: it must be a JSON object") from None
