"""From the keywords of a call to a request that is right, or an error that says what is not."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Required, TypedDict

from msgspec import ValidationError

from foxapi_async._catalog import check
from foxapi_async._wire.request import GenerationRequest, Message, member_names, requests
from foxapi_async._wire.shape import encode
from foxapi_async._wire.violation import Violation
from foxapi_async.config import Validation
from foxapi_async.errors import RequestValidationError


class LLMParams(TypedDict, total=False):
    """The keywords of ``submit``, ``generate`` and ``stream``: OpenAI's chat parameters and ours.

    A keyword left out is not sent; ``None`` is sent as null.
    """

    model: Required[str]
    messages: Required[str | Sequence[Message | Mapping[str, object]]]
    max_tokens: int | None
    max_completion_tokens: int | None
    temperature: float | None
    top_p: float | None
    stop: str | Sequence[str] | None
    n: int | None
    seed: int | None
    frequency_penalty: float | None
    presence_penalty: float | None
    logit_bias: Mapping[str, float] | None
    logprobs: bool | None
    top_logprobs: int | None
    tools: Sequence[Mapping[str, Any]] | None
    tool_choice: str | Mapping[str, Any] | None
    parallel_tool_calls: bool | None
    functions: Sequence[Mapping[str, Any]] | None
    function_call: str | Mapping[str, Any] | None
    response_format: Mapping[str, Any] | None
    stream_options: Mapping[str, Any] | None
    reasoning: bool | None
    reasoning_effort: str | None
    verbosity: str | None
    modalities: Sequence[str] | None
    audio: Mapping[str, Any] | None
    prediction: Mapping[str, Any] | None
    web_search_options: Mapping[str, Any] | None
    service_tier: str | None
    store: bool | None
    metadata: Mapping[str, str] | None
    prompt_cache_key: str | None
    prompt_cache_retention: str | None
    safety_identifier: str | None
    user: str | None
    key: str | None
    extra: Mapping[str, Any] | None


class SubmitParams(LLMParams, total=False):
    """The keywords of ``submit``, which alone leaves it to you whether the answer is streamed."""

    stream: bool


_LONGEST_KEY: Final = 512
_MEMBERS: Final = member_names(GenerationRequest)
_NO_JSON: Final = (TypeError, ValueError, RecursionError)
_KEYWORDS: Final = sorted((_MEMBERS | {"key", "extra"}) - {"sync"})


def build_request(params: Mapping[str, Any]) -> GenerationRequest:
    """Return the request that ``params`` describe.

    ``TypeError`` for a keyword that is not among them, with the nearest that is: a typo in a billed
    body costs money. ``RequestValidationError`` for a value of the wrong type, and for ``sync``,
    which answers without a task id (CONTRACT §3.4).
    """
    extra = dict(params.get("extra") or {})
    members = {name: value for name, value in params.items() if name not in {"extra", "key"}}
    if members.get("sync") or extra.get("sync"):
        raise _refused("sync", "sync=True answers without a task id, so nothing could be awaited")
    _refuse_keywords(members, extra)
    if isinstance(members["messages"], str):
        members["messages"] = ({"role": "user", "content": members["messages"]},)
    try:
        request = requests.convert(members | extra)
    except ValidationError as error:
        raise _refused(*_located(str(error))) from None
    except _NO_JSON as error:
        raise _unwritable(error) from None
    _refuse_infinite(members)
    return request


def validate(request: GenerationRequest, validation: Validation) -> None:
    """Raise ``RequestValidationError`` with everything that the catalog has against ``request``."""
    if validation == "off":
        return
    violations = check(request, strict=validation == "strict")
    if violations:
        raise RequestValidationError(violations)


def checked_key(key: str | None) -> str | None:
    """Return ``key`` if a journal can hold it; a mistyped one would pay twice."""
    if key is None:
        return None
    if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance] the caller's word
        raise _refused("key", f"must be a text or None, got {type(key).__name__}: use str(...)")
    if not 1 <= len(key) <= _LONGEST_KEY or "\0" in key:
        raise _refused("key", f"must have 1 to {_LONGEST_KEY} characters, none of them NUL")
    try:
        key.encode()
    except UnicodeEncodeError:
        raise _refused("key", "is not valid Unicode: it has half of a surrogate pair") from None
    return key


def encode_request(request: GenerationRequest) -> bytes:
    """Return the body of ``request``, or say which value has no JSON."""
    try:
        return encode(request)
    except _NO_JSON as error:
        raise _unwritable(error) from None


def _refuse_keywords(members: Mapping[str, Any], extra: Mapping[str, Any]) -> None:
    for name in members:
        if name not in _MEMBERS:
            raise TypeError(_unknown_keyword(name))
    for name in extra:
        if name in _MEMBERS and name != "sync":
            raise TypeError(f"{name!r} has a keyword of its own: pass {name}=..., not extra=...")
    for name in ("model", "messages"):
        if name not in members:
            raise TypeError(f"missing the required keyword {name!r}")


def _unknown_keyword(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, _KEYWORDS, n=1)
    hint = (
        f"did you mean {near[0]!r}?" if near else "pass it in extra={...} if the service knows it"
    )
    return f"unknown keyword {name!r}; {hint}"


def _refused(param: str, message: str) -> RequestValidationError:
    return RequestValidationError([Violation(code="invalid_param", param=param, message=message)])


def _unwritable(error: Exception) -> RequestValidationError:
    reason = "a text is not valid Unicode" if isinstance(error, UnicodeError) else str(error)
    return _refused("request", f"cannot be written as JSON: {reason}")


def _located(message: str) -> tuple[str, str]:
    """Split msgspec's "Expected `str`, got `int` - at `$.messages[0].role`"."""
    text, _, path = message.partition(" - at `")
    return path.rstrip("`").removeprefix("$.") or "request", text


def _refuse_infinite(members: Mapping[str, Any]) -> None:
    """Refuse NaN and infinity, which JSON would turn into null."""
    for name, value in members.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise _refused(name, f"must be a finite number, got {value!r}")
