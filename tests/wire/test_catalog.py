"""Laws of the catalog and of the check that client and gateway share."""

import pytest

from foxapi_async import catalog
from foxapi_async._catalog import MODELS, check
from foxapi_async._wire.request import GenerationRequest, request_decoder
from foxapi_async._wire.violation import Violation

SEED = {
    "gpt-5.4": (2, "at_least_16", False),
    "gpt-5.5": (2, "at_least_16", False),
    "kimi-k2.6": (2, "optional", True),
    "claude-opus-4-6": (3, "required", False),
    "claude-opus-4-7": (3, "required", False),
    "claude-sonnet-4-6": (3, "required", False),
    "gemini-3-pro-preview": (5, "optional", False),
    "gemini-3.1-pro-preview": (5, "optional", False),
}


def request(model: str, *types: str, max_tokens: int | None = None) -> GenerationRequest:
    """Return a request with one content part of each type."""
    blocks = [{"type": name, name: "x" if name == "text" else {"url": "u"}} for name in types]
    body: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": blocks}]}
    return request_decoder.convert(
        body | ({"max_tokens": max_tokens} if max_tokens is not None else {})
    )


def test_the_catalog_is_the_seeds_table() -> None:
    """The catalog has the eight models of the seed, in its order and with its rules."""
    assert [model.id for model in catalog()] == list(SEED)
    for model in catalog():
        assert (len(model.content_types), model.max_tokens, model.thinking) == SEED[model.id]
    assert MODELS["claude-opus-4-7"].capabilities == ("text", "vision", "file")


@pytest.mark.parametrize("model", SEED)
@pytest.mark.parametrize("block", ["text", "image_url", "video_url", "audio_url", "file_url"])
def test_content_types_follow_the_table(model: str, block: str) -> None:
    """A content type is rejected exactly if the table of the seed does not allow it."""
    codes = [item.code for item in check(request(model, block, max_tokens=64))]
    expected = [] if block in MODELS[model].content_types else ["unsupported_content_type"]
    assert codes == expected


@pytest.mark.parametrize(
    ("model", "max_tokens", "params"),
    [
        ("gpt-5.5", None, []),
        ("gpt-5.5", 15, ["max_tokens"]),
        ("gpt-5.5", 16, []),
        ("claude-opus-4-7", None, ["max_tokens"]),
        ("claude-opus-4-7", 1, []),
        ("kimi-k2.6", None, []),
        ("kimi-k2.6", 1, []),
        ("gemini-3-pro-preview", 1, []),
    ],
)
def test_max_tokens_follow_the_table(model: str, max_tokens: int | None, params: list[str]) -> None:
    """GPT models need at least 16, Claude models need a value, the others have no rule."""
    violations = check(request(model, "text", max_tokens=max_tokens))
    assert [item.param for item in violations] == params
    assert {item.code for item in violations} <= {"invalid_param"}


def test_all_violations_are_returned_in_the_order_of_the_service() -> None:
    """Content types come before ``max_tokens``, in the order of the parts (contract §7.1)."""
    violations = check(request("claude-opus-4-6", "text", "video_url", "audio_url"))
    assert [item.param for item in violations] == [
        "messages[0].content[1].type",
        "messages[0].content[2].type",
        "max_tokens",
    ]


def test_an_unknown_model_is_a_violation_only_if_strict() -> None:
    """A model outside the catalog is a violation only if the check is strict."""
    unknown = request("gpt-6", "audio_url")
    assert [item.code for item in check(unknown)] == ["model_not_supported"]
    assert check(unknown, strict=False) == ()


def test_the_bare_minimum_is_checked_for_every_model() -> None:
    """A request needs a model and a message, and a part needs the member of its type."""
    assert [
        item.param for item in check(request_decoder.convert({"model": "", "messages": []}))
    ] == [
        "model",
        "messages",
    ]
    block = {"type": "image_url", "text": "oops"}
    body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": [block]}]}
    assert [item.param for item in check(request_decoder.convert(body))] == [
        "messages[0].content[0].image_url"
    ]


def conversation(*messages: dict[str, object]) -> tuple[Violation, ...]:
    """Return the violations of the messages."""
    return check(request_decoder.convert({"model": "gemini-3-pro-preview", "messages": messages}))


@pytest.mark.parametrize("role", ["usr", "User", "human", "", "assistant "])
def test_an_unknown_role_is_a_violation(role: str) -> None:
    """Only OpenAI's roles in lower case are valid."""
    (violation,) = conversation({"role": role, "content": "hi"})
    assert (violation.param, violation.level) == ("messages[0].role", "error")
    assert ("did you mean" in violation.message) is (role not in {"", "human"})


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": ""}],
        [{"role": "user", "content": " \n"}],
        [{"role": "user", "content": [{"type": "text", "text": "\t"}]}],
        [{"role": "system", "content": ""}, {"role": "user", "content": ""}],
        [{"role": "assistant"}],
    ],
)
def test_a_conversation_without_content_is_a_violation(messages: list[dict[str, object]]) -> None:
    """Blank texts alone are a violation; with another text, a media part or a call they are not."""
    (violation,) = conversation(*messages)
    assert violation.param == "messages"
    assert conversation(*messages, {"role": "user", "content": "hi"}) == ()
    assert conversation(*messages, {"role": "assistant", "tool_calls": [{"id": "c"}]}) == ()
    picture = {"type": "image_url", "image_url": {"url": "https://x/1.png"}}
    assert conversation(*messages, {"role": "user", "content": [picture]}) == ()


@pytest.mark.parametrize("role", ["system", "developer", "user", "tool"])
@pytest.mark.parametrize("members", [{}, {"content": None}, {"content": []}])
def test_only_the_assistant_needs_no_content(role: str, members: dict[str, object]) -> None:
    """A message of any other role than ``assistant`` needs content."""
    violations = conversation({"role": role, **members})
    assert [item.param for item in violations] == ["messages[0].content"]


@pytest.mark.parametrize(
    ("role", "name", "suggestion"),
    [
        ("user", "contents", "content"),
        ("assistant", "Content", "content"),
        ("user", "tool_call", "tool_calls"),
        ("assistant", "toolCalls", "tool_calls"),
        ("user", "text", None),
    ],
)
def test_a_misspelt_member_of_a_message_is_a_warning(
    role: str, name: str, suggestion: str | None
) -> None:
    """An unknown member is a warning that suggests the most similar known member."""
    (violation,) = conversation({"role": role, "content": "hi", name: "x"})
    assert (violation.param, violation.level) == (f"messages[0].{name}", "warning")
    assert suggestion is None or repr(suggestion) in violation.message


def test_misspelt_members_of_parts_are_warnings() -> None:
    """Misspelt members of parts and media are warnings; other unknown members are not."""
    url = {"url": "https://x/1.png", "detial": "high", "fps": 2}
    picture = {"type": "image_url", "image_url": url, "cache_controll": {}, "min_pixels": 4}
    violations = conversation({"role": "user", "content": [picture]})
    assert [(item.param.rpartition(".")[2], item.level) for item in violations] == [
        ("cache_controll", "warning"),
        ("detial", "warning"),
    ]


def test_members_of_compatible_services_are_no_violations() -> None:
    """Messages in the form of OpenAI and compatible services have no violation."""
    assert (
        conversation(
            {"role": "developer", "content": "be kind", "name": "me"},
            {
                "role": "user",
                "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}],
                "cache_control": {"type": "ephemeral"},
            },
            {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "audio": {"id": "a"},
                "annotations": [],
                "function_call": {"name": "f", "arguments": ""},
                "tool_calls": [{"id": "c", "type": "function", "extra_content": {}}],
                "reasoning_content": "…",
                "a_member_of_next_year": 1,
            },
            {"role": "tool", "tool_call_id": "c", "content": ""},
            {"role": "function", "name": "f", "content": "1"},
        )
        == ()
    )


def test_a_long_value_is_quoted_in_part() -> None:
    """The message of a violation quotes only the beginning of a long value."""
    for wrong in (request("x" * 5000, "text"), request("gpt-5.5", "x" * 5000)):
        (violation,) = check(wrong)
        assert len(violation.message) < 500
