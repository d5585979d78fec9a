"""From the bytes of a submit to a request that may become a task (contract §7.1)."""

import logging
from collections.abc import Sequence

import msgspec
from msgspec import DecodeError, ValidationError

from foxapi_async._catalog import violations
from foxapi_async._wire.decode_errors import Problem, parse_error
from foxapi_async._wire.request import GenerationRequest, request_decoder
from foxapi_async.gateway.api_errors import APIError
from foxapi_async.gateway.bounds import check_bounds

_logger = logging.getLogger(__name__)

_MOST_CHOICES = 128
_MOST_STOPS = 64
_MOST_WARNINGS = 10


def decode(body: bytes) -> GenerationRequest | APIError:
    """Decode a body: raise the refusal of what is no JSON, return that of JSON of another shape.

    The two are apart because the service looks at the key in between.
    """
    check_bounds(body)
    try:
        return request_decoder.decode(body)
    except ValidationError as error:
        # The decoder stops at the first member that is wrong; what follows may not even be JSON.
        _refuse_malformed(body)
        return _wrong_member(parse_error(error))
    except DecodeError as error:
        raise APIError(400, f"the body is not valid JSON: {error}") from None


def validate(request: GenerationRequest) -> GenerationRequest:
    """Return a request that breaks no rule; refuse any other for the first that it breaks.

    The service accepts what is only a warning, so it is told in the log.
    """
    for number, violation in enumerate(violations(request)):
        if violation.level == "error":
            raise APIError.from_violation(violation)
        if number < _MOST_WARNINGS:
            _logger.warning("accepted with %r: %s", violation.param, violation.message)
    if isinstance(request.n, int) and not 1 <= request.n <= _MOST_CHOICES:
        raise APIError.invalid("n", f"n must be 1 to {_MOST_CHOICES}, got {request.n}")
    if isinstance(request.stop, Sequence) and not isinstance(request.stop, str):
        stops = len(request.stop)
        if stops > _MOST_STOPS:
            raise APIError.invalid("stop", f"give at most {_MOST_STOPS} of `stop`, got {stops}")
    return request


def _refuse_malformed(body: bytes) -> None:
    try:
        msgspec.json.decode(body)
    except (DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise APIError(400, f"the body is not valid JSON: {error}") from None


def _wrong_member(problem: Problem) -> APIError:
    """Build the 422 for the first wrong member."""
    param = problem.param
    if param == "sync":
        return APIError.invalid("sync", "`sync` must be false: every submit answers with a task")
    if problem.missing is not None:
        return APIError.invalid(param, f"`{param}` is required")
    where = f"`{param}`" if param else "the body"
    return APIError.invalid(param or "body", f"{where}: {problem.message}")
