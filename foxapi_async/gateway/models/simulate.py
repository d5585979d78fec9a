"""From a request to the script of its answer."""

import json
from collections.abc import Mapping
from typing import Any, Final
from zlib import crc32

from msgspec import UNSET

from foxapi_async._catalog import MODELS
from foxapi_async._wire.request import GenerationRequest
from foxapi_async.gateway.models.json_types import is_object
from foxapi_async.gateway.models.prompt import Prompt, read_prompt
from foxapi_async.gateway.models.reply import reply, thinking
from foxapi_async.gateway.models.schema_merge import UnsatisfiableError
from foxapi_async.gateway.models.schema_values import generate
from foxapi_async.gateway.models.script import Script
from foxapi_async.gateway.models.tokens import cut_at_stop, tokens
from foxapi_async.gateway.models.turn import Call, ChoiceScript
from foxapi_async.gateway.response_structs import TaskFault

_FAILURES: Final = {
    "content_policy_violation": "the prompt was refused by moderation",
    "generation_failed": "the generation failed",
    "model_not_support_capability": "the model does not take this kind of input",
    "model_unavailable": "no channel for this model is available",
    "service_unavailable": "the upstream service is unavailable",
    "timeout": "the upstream service was too slow",
}
_NO_PARAMETERS: Final[dict[str, Any]] = {"type": "object", "properties": {}}
_LONGEST_NAME: Final = 256
_LONGEST_REASON: Final = 500
# All choices of an answer together; each may be as long as a schema's value can be.
_MOST_CHARACTERS: Final = 1_000_000


def is_costly(request: GenerationRequest) -> bool:
    """Tell whether the answer follows a schema, which takes up to a tenth of a second."""
    return isinstance(request.response_format, dict) or bool(request.tools)


def simulate(request: GenerationRequest, *, completion_id: str, created: int) -> Script:
    """Return the answer to a request that the catalog has let through."""
    prompt = read_prompt(request)
    model = MODELS.get(request.model)
    is_thinking = model is not None and model.thinking
    thought = tokens(thinking(prompt)) if is_thinking else ()
    fault: TaskFault | None = None
    turns: tuple[ChoiceScript, ...] = ()
    if prompt.failure is not None:
        code, written = prompt.failure
        fault = TaskFault.of(code, _FAILURES.get(code, "the generation failed as the prompt asked"))
        turns = (ChoiceScript(thinking=thought, pieces=tokens(reply(prompt, 0))).limited(written),)
    else:
        try:
            turns = _turns(request, prompt, thought)
        except UnsatisfiableError as error:
            fault = TaskFault.of("generation_failed", str(error)[:_LONGEST_REASON])
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


def _turns(
    request: GenerationRequest, prompt: Prompt, thought: tuple[str, ...]
) -> tuple[ChoiceScript, ...]:
    """Write every choice. What a schema asks for is built once, for all of them."""
    function = _function_asked_for(request)
    name = None if function is None else str(function.get("name", ""))
    if name is not None and len(name) > _LONGEST_NAME:
        raise UnsatisfiableError(f"the name of a function has at most {_LONGEST_NAME} characters")
    given = _given_text(request, function)
    choices = _choices(request)
    if given is not None and len(given) * choices > _MOST_CHARACTERS:
        raise UnsatisfiableError(f"{choices} choices of this schema are too long for one answer")
    return tuple(
        _turn(request, prompt, thought, index, name=name, given=given) for index in range(choices)
    )


def _turn(
    request: GenerationRequest,
    prompt: Prompt,
    thought: tuple[str, ...],
    index: int,
    *,
    name: str | None,
    given: str | None,
) -> ChoiceScript:
    text = _free_text(request, prompt, index) if given is None else given
    if name is not None:
        call_id = f"call_{crc32(f'{name} {prompt.text}'.encode()):08x}{index:02x}"
        turn = ChoiceScript(
            thinking=thought,
            pieces=tokens(text),
            call=Call(id=call_id, name=name),
            finish_reason="tool_calls",
        )
    else:
        turn = ChoiceScript(thinking=thought, pieces=tokens(cut_at_stop(text, _stops(request))))
    return turn.limited(_limit(request))


def _given_text(request: GenerationRequest, function: Mapping[str, Any] | None) -> str | None:
    """Return the JSON that a schema asks for; ``None`` when the model may write as it likes."""
    if function is not None:
        return _json(generate(function.get("parameters") or _NO_PARAMETERS))
    wanted = _mapping(request.response_format)
    if wanted.get("type") != "json_schema":
        return None
    return _json(generate(_mapping(wanted.get("json_schema")).get("schema", True)))


def _free_text(request: GenerationRequest, prompt: Prompt, index: int) -> str:
    text = reply(prompt, index)
    as_json = _mapping(request.response_format).get("type") == "json_object"
    return _json({"answer": text}) if as_json else text


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
