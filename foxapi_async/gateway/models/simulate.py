"""Builds the script of the answer to a request."""

import json
from collections.abc import Mapping
from typing import Any, Final
from zlib import crc32

from msgspec import UNSET

from foxapi_async._catalog import MODELS
from foxapi_async._wire.request import GenerationRequest
from foxapi_async.gateway.models.prompt import Prompt, cut_at_stop, read_prompt, split_tokens
from foxapi_async.gateway.models.reply import reply, thinking
from foxapi_async.gateway.models.schema_merge import UnsatisfiableError, is_object
from foxapi_async.gateway.models.schema_values import generate
from foxapi_async.gateway.models.script import ChoiceScript, FunctionCall, Script
from foxapi_async.gateway.response_structs import TaskErrorBody

_FAILURES: Final = {
    "content_policy_violation": "the prompt was refused by moderation",
    "generation_failed": "the generation failed",
    "model_not_support_capability": "the model does not take this kind of input",
    "model_unavailable": "no channel for this model is available",
    "service_unavailable": "the upstream service is unavailable",
    "timeout": "the upstream service was too slow",
}
_NO_PARAMETERS: Final[dict[str, Any]] = {"type": "object", "properties": {}}
_MAX_NAME_LENGTH: Final = 256
_MAX_REASON_LENGTH: Final = 500
# The sum over all choices. The budget of a schema's value applies to one choice.
_MAX_CHARACTERS: Final = 1_000_000


def is_costly(request: GenerationRequest) -> bool:
    """Return whether the answer follows a schema, which may take a tenth of a second."""
    return isinstance(request.response_format, dict) or bool(request.tools)


def failure_message(code: str) -> str:
    """Return the message of a failure that a prompt asks for."""
    return _FAILURES.get(code, "the generation failed as the prompt asked")


def simulate(request: GenerationRequest, *, completion_id: str, created: int) -> Script:
    """Return the script of the answer to a valid request."""
    prompt = read_prompt(request)
    model = MODELS.get(request.model)
    is_thinking = model is not None and model.thinking
    reasoning = split_tokens(thinking(prompt)) if is_thinking else ()
    error: TaskErrorBody | None = None
    choices: tuple[ChoiceScript, ...] = ()
    if prompt.failure is not None:
        code, limit = prompt.failure
        error = TaskErrorBody.of(code, failure_message(code))
        choice = ChoiceScript(thinking=reasoning, pieces=split_tokens(reply(prompt, 0)))
        choices = (choice.limited(limit),)
    else:
        try:
            choices = _choices(request, prompt, reasoning)
        except UnsatisfiableError as reason:
            error = TaskErrorBody.of("generation_failed", str(reason)[:_MAX_REASON_LENGTH])
    return Script(
        id=completion_id,
        created=created,
        model=request.model,
        choices=choices,
        prompt_words=prompt.words,
        is_thinking=is_thinking,
        wants_usage=_mapping(request.stream_options).get("include_usage") is True,
        error=error,
    )


def _choices(
    request: GenerationRequest, prompt: Prompt, reasoning: tuple[str, ...]
) -> tuple[ChoiceScript, ...]:
    """Build every choice. All choices share one value of a requested schema."""
    function = _required_function(request)
    name = None if function is None else str(function.get("name", ""))
    if name is not None and len(name) > _MAX_NAME_LENGTH:
        raise UnsatisfiableError(
            f"the name of a function has at most {_MAX_NAME_LENGTH} characters"
        )
    schema_text = _schema_text(request, function)
    number = _choice_count(request)
    if schema_text is not None and len(schema_text) * number > _MAX_CHARACTERS:
        raise UnsatisfiableError(f"{number} choices of this schema are too long for one answer")
    return tuple(
        _choice(request, prompt, reasoning, index, name=name, schema_text=schema_text)
        for index in range(number)
    )


def _choice(
    request: GenerationRequest,
    prompt: Prompt,
    reasoning: tuple[str, ...],
    index: int,
    *,
    name: str | None,
    schema_text: str | None,
) -> ChoiceScript:
    text = _free_text(request, prompt, index) if schema_text is None else schema_text
    if name is not None:
        call_id = f"call_{crc32(f'{name} {prompt.text}'.encode()):08x}{index:02x}"
        choice = ChoiceScript(
            thinking=reasoning,
            pieces=split_tokens(text),
            function_call=FunctionCall(id=call_id, name=name),
            finish_reason="tool_calls",
        )
    else:
        pieces = split_tokens(cut_at_stop(text, _stops(request)))
        choice = ChoiceScript(thinking=reasoning, pieces=pieces)
    return choice.limited(_token_limit(request))


def _schema_text(request: GenerationRequest, function: Mapping[str, Any] | None) -> str | None:
    """Return JSON that matches the requested schema, or ``None`` if no schema is requested."""
    if function is not None:
        return _json(generate(function.get("parameters") or _NO_PARAMETERS))
    response_format = _mapping(request.response_format)
    if response_format.get("type") != "json_schema":
        return None
    return _json(generate(_mapping(response_format.get("json_schema")).get("schema", True)))


def _free_text(request: GenerationRequest, prompt: Prompt, index: int) -> str:
    text = reply(prompt, index)
    is_json = _mapping(request.response_format).get("type") == "json_object"
    return _json({"answer": text}) if is_json else text


def _required_function(request: GenerationRequest) -> Mapping[str, Any] | None:
    """Return the function that ``tool_choice`` requires: the named one, or the first."""
    tool_choice = request.tool_choice
    if tool_choice == "required":
        name = None
    elif isinstance(tool_choice, dict) and tool_choice.get("type") == "function":
        name = _mapping(tool_choice.get("function")).get("name")
    else:
        return None
    tools = request.tools or ()
    for function in (_mapping(tool.get("function")) for tool in tools):
        if function and name in {None, function.get("name")}:
            return function
    raise UnsatisfiableError("tool_choice asks for a function that is not among the tools")


def _token_limit(request: GenerationRequest) -> int | None:
    """Return the maximum number of tokens of each choice."""
    limits = [
        max(0, limit)
        for limit in (request.max_tokens, request.max_completion_tokens)
        if isinstance(limit, int)
    ]
    return min(limits, default=None)


def _choice_count(request: GenerationRequest) -> int:
    return max(1, request.n) if isinstance(request.n, int) else 1


def _stops(request: GenerationRequest) -> tuple[str, ...]:
    if request.stop is UNSET or request.stop is None:
        return ()
    return (request.stop,) if isinstance(request.stop, str) else tuple(request.stop)


def _mapping(value: object) -> Mapping[str, Any]:
    """Return ``value`` if it is a JSON object, else an empty one."""
    return value if is_object(value) else {}


def _json(value: object) -> str:
    # `json` writes spaces between members, so the text splits into several tokens.
    return json.dumps(value, ensure_ascii=False)
