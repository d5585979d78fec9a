"""From a request to the script of its answer."""

import json
from collections.abc import Mapping
from typing import Any, Final
from zlib import crc32

from msgspec import UNSET

from foxapi_async._catalog import MODELS
from foxapi_async._wire.request import GenerationRequest
from foxapi_async.gateway.models.kind import is_object
from foxapi_async.gateway.models.merge import UnsatisfiableError
from foxapi_async.gateway.models.prompt import Prompt, read_prompt
from foxapi_async.gateway.models.reply import reply, thinking
from foxapi_async.gateway.models.schema import instance
from foxapi_async.gateway.models.script import Script
from foxapi_async.gateway.models.token import cut_at_stop, tokens
from foxapi_async.gateway.models.turn import Call, Turn
from foxapi_async.gateway.sparse import TaskFault

_FAILURES: Final = {
    "content_policy_violation": "the prompt was refused by moderation",
    "generation_failed": "the generation failed",
    "model_not_support_capability": "the model does not take this kind of input",
    "model_unavailable": "no channel for this model is available",
    "service_unavailable": "the upstream service is unavailable",
    "timeout": "the upstream service was too slow",
}
_NO_PARAMETERS: Final[dict[str, Any]] = {"type": "object", "properties": {}}


def simulate(request: GenerationRequest, *, completion_id: str, created: int) -> Script:
    """Return the answer to a request that the catalog has let through."""
    prompt = read_prompt(request)
    model = MODELS.get(request.model)
    is_thinking = model is not None and model.thinking
    thought = tokens(thinking(prompt)) if is_thinking else ()
    fault: TaskFault | None = None
    turns: tuple[Turn, ...] = ()
    if prompt.failure is not None:
        code, written = prompt.failure
        fault = TaskFault.of(code, _FAILURES.get(code, "the generation failed as the prompt asked"))
        turns = (Turn(thinking=thought, pieces=tokens(reply(prompt, 0))).limited(written),)
    else:
        try:
            turns = tuple(
                _turn(request, prompt, thought, index) for index in range(_choices(request))
            )
        except UnsatisfiableError as error:
            fault = TaskFault.of("generation_failed", str(error))
    return Script(
        id=completion_id,
        created=created,
        model=request.model,
        turns=turns,
        prompt_words=prompt.words,
        is_thinking=is_thinking,
        wants_usage=_mapping(request.stream_options).get("include_usage") is True,
        fault=fault,
    )


def _turn(request: GenerationRequest, prompt: Prompt, thought: tuple[str, ...], index: int) -> Turn:
    function = _function_asked_for(request)
    if function is not None:
        arguments = _json(instance(function.get("parameters") or _NO_PARAMETERS))
        name = str(function.get("name", ""))
        call_id = f"call_{crc32(f'{name} {prompt.text}'.encode()):08x}{index:02x}"
        turn = Turn(
            thinking=thought,
            pieces=tokens(arguments),
            call=Call(id=call_id, name=name),
            finish_reason="tool_calls",
        )
    else:
        text = cut_at_stop(_text(request, prompt, index), _stops(request))
        turn = Turn(thinking=thought, pieces=tokens(text))
    return turn.limited(_limit(request))


def _text(request: GenerationRequest, prompt: Prompt, index: int) -> str:
    """Answer in the format that was asked for."""
    wanted = _mapping(request.response_format)
    if wanted.get("type") == "json_schema":
        return _json(instance(_mapping(wanted.get("json_schema")).get("schema", True)))
    text = reply(prompt, index)
    return _json({"answer": text}) if wanted.get("type") == "json_object" else text


def _function_asked_for(request: GenerationRequest) -> Mapping[str, Any] | None:
    """Return the function that ``tool_choice`` asks for: the named one, or the first."""
    choice = request.tool_choice
    if choice == "required":
        name = None
    elif isinstance(choice, dict) and choice.get("type") == "function":
        name = _mapping(choice.get("function")).get("name")
    else:
        return None
    tools = request.tools or ()
    for function in (_mapping(tool.get("function")) for tool in tools):
        if function and name in {None, function.get("name")}:
            return function
    raise UnsatisfiableError("tool_choice asks for a function that is not among the tools")


def _limit(request: GenerationRequest) -> int | None:
    """Return the tokens that each choice may take."""
    limits = [
        max(0, limit)
        for limit in (request.max_tokens, request.max_completion_tokens)
        if isinstance(limit, int)
    ]
    return min(limits, default=None)


def _choices(request: GenerationRequest) -> int:
    return max(1, request.n) if isinstance(request.n, int) else 1


def _stops(request: GenerationRequest) -> tuple[str, ...]:
    if request.stop is UNSET or request.stop is None:
        return ()
    return (request.stop,) if isinstance(request.stop, str) else tuple(request.stop)


def _mapping(value: object) -> Mapping[str, Any]:
    """Return ``value`` if it is a JSON object, an empty one otherwise."""
    return value if is_object(value) else {}


def _json(value: object) -> str:
    # The spaces that `json` writes make tokens of it.
    return json.dumps(value, ensure_ascii=False)
