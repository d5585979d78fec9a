"""Checks of the body of a submit (contract §7.1): JSON, then required fields, then values."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import DecodeError, ValidationError

from foxapi_async._catalog import CatalogModel, violations
from foxapi_async._wire.base import is_object
from foxapi_async._wire.decode_errors import Problem, parse_error
from foxapi_async._wire.request import (
    GenerationRequest,
    LLMRequest,
    is_prompt_form,
    prompt_decoder,
    request_decoder,
)
from foxapi_async.gateway.api_errors import APIError
from foxapi_async.gateway.conversation import as_conversation

MAX_DEPTH: Final = 128
"""Arrays and objects inside each other. The JSON encoder uses C stack for each level."""
MAX_VALUES: Final = 100_000
"""A value of three bytes takes about a hundred bytes in memory."""

# An unterminated string matches to the end of the body, so the scan is linear.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{,]|[\]}]', re.DOTALL)

_MAX_CHOICES: Final = 128
_MAX_STOPS: Final = 64
_MAX_WARNINGS: Final = 10


def parse_json(body: bytes) -> object:
    """Return the value of a JSON body.

    Raises:
        APIError: 400, for a body that is not JSON, is nested too deeply or has too many values.
    """
    check_bounds(body)
    try:
        value: object = msgspec.json.decode(body)
    except (DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise APIError(400, f"the body is not valid JSON: {error}") from None
    return value


def check_bounds(body: bytes) -> None:
    """Raise a 400 for a body that is nested too deeply or has too many values.

    The body may be invalid JSON; the decoder finds that. Brackets and commas inside strings do not
    count.
    """
    levels = body.count(b"[") + body.count(b"{")
    if levels <= MAX_DEPTH and levels + body.count(b",") <= MAX_VALUES:
        return
    depth = values = 0
    for token in _TOKEN.finditer(body):
        character = body[token.start()]
        if character in b"[{":
            depth += 1
            values += 1
        elif character in b"]}":
            depth -= 1
        elif character in b",":
            values += 1
        if depth > MAX_DEPTH:
            raise APIError(400, f"the body is nested more than {MAX_DEPTH} levels deep")
        if values > MAX_VALUES:
            raise APIError(400, f"the body has more than {MAX_VALUES} values")


def decode(body: bytes, value: object) -> LLMRequest:
    """Decode a JSON body into the request of its form (contract §3.1).

    Args:
        body: The body.
        value: What ``parse_json`` has returned for it.

    Returns:
        The request, whose members have the right types.

    Raises:
        APIError: 422, when a field is missing or has a wrong type.
    """
    is_prompt = is_object(value) and is_prompt_form(value)
    try:
        return prompt_decoder.decode(body) if is_prompt else request_decoder.decode(body)
    except ValidationError as error:
        raise _wrong_member(parse_error(error)) from None
    except DecodeError as error:
        raise APIError(400, f"the body is not valid JSON: {error}") from None


def validate(request: LLMRequest, models: Mapping[str, CatalogModel]) -> list[str]:
    """Check the values of a request.

    Args:
        request: The request.
        models: The rules of the gateway's models, by id.

    Returns:
        At most ten warnings. The service accepts what they describe, so the gateway does too.

    Raises:
        APIError: 422, for the first rule that the request breaks.
    """
    warnings: list[str] = []
    for violation in violations(request, models=models):
        if violation.level == "error":
            raise APIError.from_violation(violation)
        if len(warnings) < _MAX_WARNINGS:
            warnings.append(f"{violation.param!r}: {violation.message}")
    if isinstance(request, GenerationRequest):
        _check_conversation(request)
    return warnings


def to_conversation(request: LLMRequest) -> GenerationRequest:
    """Return a valid request in the form that models read.

    Raises:
        APIError: 422, when a member that the form with ``prompt`` does not name breaks a rule of
            conversations.
    """
    try:
        conversation = as_conversation(request)
    except ValidationError as error:
        raise _wrong_member(parse_error(error)) from None
    if conversation is not request:
        _check_conversation(conversation)
    return conversation


def _check_conversation(request: GenerationRequest) -> None:
    if isinstance(request.n, int) and not 1 <= request.n <= _MAX_CHOICES:
        raise APIError.invalid("n", f"n must be 1 to {_MAX_CHOICES}, got {request.n}")
    if isinstance(request.stop, Sequence) and not isinstance(request.stop, str):
        stops = len(request.stop)
        if stops > _MAX_STOPS:
            raise APIError.invalid("stop", f"`stop` takes at most {_MAX_STOPS} texts, got {stops}")


def _wrong_member(problem: Problem) -> APIError:
    """Build the 422 for the first wrong member."""
    param = problem.param
    if param == "sync":
        return APIError.invalid("sync", "`sync` must be false: every submit answers with a task")
    if problem.missing == "messages" and param == "messages":
        return APIError.invalid(param, "`messages` is required, or `prompt` or `audio_url`")
    if problem.missing is not None:
        return APIError.invalid(param, f"`{param}` is required")
    where = f"`{param}`" if param else "the body"
    return APIError.invalid(param or "body", f"{where}: {problem.message}")
