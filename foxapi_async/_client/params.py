"""The keywords of a submit, and their conversion to a valid request."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, Required, TypedDict, TypeVar, get_args, get_origin

from msgspec import UNSET, ValidationError

from foxapi_async._catalog import check
from foxapi_async._catalog.check_media import check_media
from foxapi_async._client.llm_handle import LLMHandle
from foxapi_async._client.request_values import replace_objects
from foxapi_async._wire.completion import ChatCompletion, CompletionMessage
from foxapi_async._wire.decode_errors import Problem, parse_error
from foxapi_async._wire.jsonable import NotJSONError, to_jsonable
from foxapi_async._wire.media_request import MediaRequest, TaskRequest
from foxapi_async._wire.request import (
    MEDIA_MEMBERS,
    GenerationRequest,
    LLMRequest,
    Message,
    PromptRequest,
    is_prompt_form,
    member_names,
    prompt_decoder,
    request_decoder,
)
from foxapi_async._wire.suggestion import closest, suggestion
from foxapi_async._wire.violation import Violation
from foxapi_async.config import Validation
from foxapi_async.errors import RequestValidationError


class MessageModel(Protocol):
    """A message as a pydantic model, such as those of the OpenAI SDK."""

    def model_dump(self, *, mode: str, by_alias: bool) -> dict[str, Any]:
        """Return the members of the model."""
        ...


class ParseParams(TypedDict, total=False):
    """Keywords of ``parse``: those of ``LLMParams``, without ``response_format``.

    A keyword that is not given is not sent; ``None`` is sent as null. A member that is ``None`` in
    a pydantic model, a dataclass or a struct of a response is not sent.
    """

    model: Required[str]
    """The id of the model; ``fox.models.list()`` names those of your key."""
    messages: Required[
        str
        | Iterable[
            Message
            | CompletionMessage
            | ChatCompletion
            | LLMHandle
            | Mapping[str, object]
            | MessageModel
        ]
    ]
    """A text, which becomes one user message, or the messages of a conversation. A completion, or
    the handle of a finished generation, stands for its answer.
    """
    max_tokens: int | None
    """The maximum number of tokens of the answer, reasoning included. Some models require it."""
    max_completion_tokens: int | None
    """The newer name of ``max_tokens`` in OpenAI's API; passed on."""
    temperature: float | None
    """The randomness of the answer, usually 0 to 2."""
    top_p: float | None
    """The probability mass from which tokens are sampled, 0 to 1."""
    stop: str | Sequence[str] | None
    """One or more texts at which the answer ends; the answer does not include them."""
    n: int | None
    """The number of answers (choices); each is billed."""
    seed: int | None
    """Asks for the same answer to the same request; best effort."""
    frequency_penalty: float | None
    """Makes tokens less likely the more often they were used, -2 to 2."""
    presence_penalty: float | None
    """Makes tokens less likely once they were used, -2 to 2."""
    logit_bias: Mapping[str, float] | None
    """Maps token ids, as texts, to a bias of -100 to 100."""
    logprobs: bool | None
    """Whether the log probabilities of the tokens are returned."""
    top_logprobs: int | None
    """The number of likely tokens that are returned at each position; needs ``logprobs``."""
    tools: Sequence[Mapping[str, Any] | Callable[..., Any]] | None
    """The tools that the model may call: functions, or JSON schemas in OpenAI's form."""
    tool_choice: str | Mapping[str, Any] | None
    """``"auto"``, ``"none"``, ``"required"``, or the tool that must be called."""
    parallel_tool_calls: bool | None
    """Whether several tools may be called in one answer."""
    functions: Sequence[Mapping[str, Any]] | None
    """The older form of ``tools``."""
    function_call: str | Mapping[str, Any] | None
    """The older form of ``tool_choice``."""
    stream_options: Mapping[str, Any] | None
    """Options of the stream, such as ``{"include_usage": True}``."""
    reasoning: bool | None
    """Whether the model reasons before it answers; passed on."""
    reasoning_effort: str | None
    """How long the model reasons: ``"low"``, ``"medium"``, ``"high"``, or a value of the model."""
    verbosity: str | None
    """How long the answer is: ``"low"``, ``"medium"`` or ``"high"``."""
    modalities: Sequence[str] | None
    """The kinds of output, such as ``["text"]``."""
    audio: Mapping[str, Any] | None
    """The voice and the format of audio output."""
    prediction: Mapping[str, Any] | None
    """Text that the answer will probably contain, which may speed it up."""
    web_search_options: Mapping[str, Any] | None
    """Options of a web search by the model."""
    service_tier: str | None
    """The service tier of the provider."""
    store: bool | None
    """Whether the provider stores the request and its answer."""
    metadata: Mapping[str, str] | None
    """Your own labels, which the provider stores with the request."""
    prompt_cache_key: str | None
    """Groups requests that share the start of their prompt in the provider's cache."""
    prompt_cache_retention: str | None
    """How long the provider caches the prompt."""
    safety_identifier: str | None
    """A stable, anonymous id of your user, for the detection of abuse."""
    user: str | None
    """The older name of ``safety_identifier``."""
    key: str | None
    """Your own name of the input, 1 to 512 characters. A second submission with the same key
    returns the same handle and is not billed. The key is not sent.
    """
    retry_failed: bool
    """Whether a key whose task failed or was cancelled is submitted again, which is billed.

    It is not sent.
    """
    extra_headers: Mapping[str, str] | None
    """Headers of the POST, in addition to the SDK's own; those of the key, the body and the
    connection are refused. A journal does not keep them.
    """
    extra: Mapping[str, Any] | None
    """Other members of the request, sent as they are."""


class LLMParams(ParseParams, total=False):
    """Keywords of ``submit``, ``generate`` and ``stream``: OpenAI's chat parameters and more.

    A keyword that is not given is not sent; ``None`` is sent as null. A member that is ``None`` in
    a pydantic model, a dataclass or a struct of a response is not sent.
    """

    response_format: Any
    """The form of the answer: a type, as in ``completion.parse``, whose JSON schema is sent; or
    ``{"type": "json_object"}``, or a JSON schema in OpenAI's form.
    """


class SubmitParams(LLMParams, total=False):
    """Keywords of ``submit``: those of ``LLMParams``, and ``stream``."""

    stream: bool
    """Whether ``handle.stream()`` can follow the answer; false by default."""


class _PromptOptions(TypedDict, total=False):
    model: Required[str]
    """The id of the model; ``fox.models.list()`` names those of your key."""
    system_prompt: str | None
    """The instructions of the system, at most 10,000 characters."""
    max_tokens: int | None
    """The maximum number of tokens of the answer, reasoning included; at least 1."""
    temperature: float | None
    """The randomness of the answer, 0 to 2."""
    reasoning: bool | None
    """Whether the model reasons before it answers; some models require it."""
    key: str | None
    """As in ``LLMParams``."""
    retry_failed: bool
    """As in ``LLMParams``."""
    extra_headers: Mapping[str, str] | None
    """As in ``LLMParams``."""
    extra: Mapping[str, Any] | None
    """As in ``LLMParams``."""


class PromptParams(_PromptOptions, total=False):
    """Keywords of ``submit``, ``generate`` and ``stream`` for a prompt without a conversation."""

    prompt: Required[str]
    """The text of the prompt, 1 to 100,000 characters."""


class VisionParams(_PromptOptions, total=False):
    """Keywords of ``submit``, ``generate`` and ``stream`` for a prompt with images."""

    prompt: Required[str]
    """The text of the prompt, 1 to 100,000 characters."""
    image_urls: Required[Sequence[str]]
    """1 to 10 images: http(s) URLs or data URIs."""


class VideoParams(_PromptOptions, total=False):
    """Keywords of ``submit``, ``generate`` and ``stream`` for a prompt with videos."""

    prompt: Required[str]
    """The text of the prompt, 1 to 100,000 characters."""
    video_urls: Required[Sequence[str]]
    """1 to 10 videos: URLs of mp4, mpeg, mpg, mov or webm files, or of YouTube for Gemini."""


class AudioParams(_PromptOptions, total=False):
    """Keywords of ``submit``, ``generate`` and ``stream`` for an audio recording."""

    audio_url: Required[str]
    """The recording: an http(s) URL or a data URI."""
    prompt: str
    """The text of the prompt, 1 to 100,000 characters. Without it, the service transcribes."""


PROMPT_FORMS: Final = (PromptParams, VisionParams, VideoParams, AudioParams)
"""The forms of a request without a conversation (contract §3.1)."""


F = TypeVar("F", bound=Callable[..., object])


def names_keywords(*forms: type[Any]) -> Callable[[F], F]:
    """Return a decorator for a function that takes the keywords of one of ``forms``.

    ``help()``, editors and ``inspect.signature`` then list each keyword. The default
    ``UNSET`` stands for a keyword that is not sent. Type checkers read the overloads.

    Args:
        *forms: ``TypedDict`` classes. A keyword is required if all of them require it.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
        annotations: dict[str, Any] = {}
        for form in forms:
            for name, annotation in form.__annotations__.items():
                annotations.setdefault(name, annotation)
        named = [
            _parameter(
                name,
                annotation,
                is_required=all(name in form.__required_keys__ for form in forms),
            )
            for name, annotation in annotations.items()
        ]
        keyword_only = [one for one in own if one.kind is one.KEYWORD_ONLY]
        positional = [one for one in own if one.kind is not one.KEYWORD_ONLY]
        parameters = [*positional, *named, *keyword_only]
        vars(function)["__signature__"] = signature.replace(parameters=parameters)
        return function

    return decorate


def _parameter(name: str, annotation: Any, *, is_required: bool) -> inspect.Parameter:
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if is_required else UNSET,
        annotation=get_args(annotation)[0] if get_origin(annotation) is Required else annotation,
    )


_MEMBERS: Final = member_names(GenerationRequest)
_PROMPT_MEMBERS: Final = member_names(PromptRequest)
_UNCHECKED: Final = "Correct what .violations lists, or pass validation='off' to skip these checks."
_OURS: Final = frozenset({"key", "retry_failed", "extra_headers", "extra"})
# What only one of the two kinds of request has, and tells it from the other.
_PROMPT_KEYWORDS: Final = ("prompt", *MEDIA_MEMBERS)
_PROMPT_NAMES: Final = frozenset(_PROMPT_KEYWORDS)


def build_request(params: Mapping[str, Any]) -> LLMRequest:
    """Build the request from the keywords of a submit.

    Args:
        params: The keywords, also those that are not part of the request.

    Returns:
        The request, whose values have the right types.

    Raises:
        TypeError: A keyword is unknown or missing, or belongs to another form of request. The text
            suggests a known one, because a typo in a billed request costs money.
        RequestValidationError: A value has the wrong type or would be changed by JSON; the error
            has its path. Or ``sync`` is true, whose response has no task id (contract §3.4).
    """
    extra: Mapping[str, Any] = params.get("extra") or {}
    if not isinstance(extra, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] not checked at runtime
        raise _rejected("extra", f"must be a dict of members, got {type(extra).__name__}")
    members = {name: value for name, value in params.items() if name not in _OURS}
    if members.get("sync") or extra.get("sync"):
        raise _rejected("sync", "must not be true: the response would have no task id")
    is_prompt = is_prompt_form(members)
    _reject_mixed_forms(members, extra)
    _reject_unknown_keywords(members, extra, _PROMPT_MEMBERS if is_prompt else _MEMBERS)
    _reject_missing_keywords(members, is_prompt=is_prompt)
    if isinstance(members.get("messages"), str):
        members["messages"] = ({"role": "user", "content": members["messages"]},)
    try:
        value = to_jsonable({**replace_objects(members), **extra})
        return prompt_decoder.convert(value) if is_prompt else request_decoder.convert(value)
    except NotJSONError as error:
        raise _rejected(error.path or "request", error.reason) from None
    except ValidationError as error:
        problem = parse_error(error)
        raise _rejected(problem.path or "request", _with_hint(problem)) from None
    except RecursionError:
        raise _rejected("request", "is nested too deep, or contains itself") from None


def check_keywords(names: Iterable[str]) -> None:
    """Raise ``TypeError`` for keywords of a submit that are unknown, missing or mixed up."""
    members = {name: None for name in names if name not in _OURS}
    is_prompt = is_prompt_form(members)
    _reject_mixed_forms(members, {})
    _reject_unknown_keywords(members, {}, _PROMPT_MEMBERS if is_prompt else _MEMBERS)
    _reject_missing_keywords(members, is_prompt=is_prompt)


def validate(request: TaskRequest, validation: Validation) -> None:
    """Raise ``RequestValidationError`` with all violations of the catalog's rules."""
    if validation == "off":
        return
    is_strict = validation == "strict"
    violations = (
        check_media(request.kind, request.model, request.params, strict=is_strict)
        if isinstance(request, MediaRequest)
        else check(request, strict=is_strict)
    )
    if violations:
        raise RequestValidationError(violations, advice=_UNCHECKED)


def _reject_mixed_forms(members: Mapping[str, Any], extra: Mapping[str, Any]) -> None:
    """Raise for members of two forms of request, of which the service would ignore one."""
    if _PROMPT_NAMES.isdisjoint(members) and _PROMPT_NAMES.isdisjoint(extra):
        return
    given = [name for name in _PROMPT_KEYWORDS if name in members or name in extra]
    if "messages" in members or "messages" in extra:
        raise TypeError(
            f"give either messages=... or {given[0]}=..., not both: a request is a conversation or "
            "a prompt"
        )
    media = [name for name in given if name in MEDIA_MEMBERS]
    if len(media) > 1:
        raise TypeError(
            f"give either {media[0]}=... or {media[1]}=..., not both: messages=... takes media of "
            "several kinds"
        )


def _reject_unknown_keywords(
    members: Mapping[str, Any], extra: Mapping[str, Any], known: frozenset[str]
) -> None:
    for name in members:
        if name not in known:
            raise TypeError(_unknown_keyword(name, known))
    for name in extra:
        if name in known and name != "sync":
            raise TypeError(f"{name!r} has a keyword of its own: pass {name}=..., not extra=...")


def _reject_missing_keywords(members: Mapping[str, Any], *, is_prompt: bool) -> None:
    if "model" not in members:
        raise TypeError("missing the required keyword 'model'")
    if not is_prompt and "messages" not in members:
        raise TypeError("missing the required keyword 'messages', or 'prompt' in its place")
    if is_prompt and "prompt" not in members and "audio_url" not in members:
        raise TypeError("missing the required keyword 'prompt'")


def _unknown_keyword(name: str, known: frozenset[str]) -> str:
    if name in _MEMBERS and known is _PROMPT_MEMBERS:
        return f"{name!r} needs messages=...: a request with prompt=... or audio_url=... has none"
    if name in _PROMPT_MEMBERS and known is _MEMBERS:
        return f"{name!r} needs prompt=...: write a system message into messages=..."
    near = closest(name, sorted((known | _OURS) - {"sync"}))
    hint = suggestion(near, "pass it in extra={...} if the service knows it")
    return f"unknown keyword {name!r}; {hint}"


def _rejected(param: str, message: str) -> RequestValidationError:
    return RequestValidationError([Violation(code="invalid_param", param=param, message=message)])


def _with_hint(problem: Problem) -> str:
    """Return the message of ``problem``, and a hint for common mistakes."""
    text = f"{problem.path} {problem.message}"
    return problem.message + next((hint for found, hint in _HINTS if found.fullmatch(text)), "")


_HINTS: Final = tuple(
    (re.compile(pattern), f": {hint}")
    for pattern, hint in (
        (r"(image|video)_urls .*got `str`", "put the URL into a list, [url]"),
        (r"messages .*got `object`", "put the message into a list, [message]"),
        (r"messages\[\d+\] .*got `str`", "write {'role': 'user', 'content': 'the text'}"),
        (r"messages\[\d+\].content .*got `object`", "put the block into a list, [block]"),
        (
            r"messages\[\d+\].content\[\d+\] .*got `str`",
            "write foxapi_async.content.text('the text')",
        ),
    )
)
