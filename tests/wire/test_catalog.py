"""Laws of the catalog: the seed's table, and one check for client and gateway."""

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
    """Return a request with one block of each type."""
    blocks = [{"type": name, name: "x" if name == "text" else {"url": "u"}} for name in types]
    body: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": blocks}]}
    return request_decoder.convert(
        body | ({"max_tokens": max_tokens} if max_tokens is not None else {})
    )


def test_the_catalog_is_the_seeds_table() -> None:
    """Eight models, in the seed's order, with its rules."""
    assert [model.id for model in catalog()] == list(SEED)
    for model in catalog():
        assert (len(model.content_types), model.max_tokens, model.thinking) == SEED[model.id]
    assert MODELS["claude-opus-4-7"].capabilities == ("text", "vision", "file")


@pytest.mark.parametrize("model", SEED)
@pytest.mark.parametrize("block", ["text", "image_url", "video_url", "audio_url", "file_url"])
def test_content_types_follow_the_table(model: str, block: str) -> None:
    """A block is refused exactly where the seed's table has a cross."""
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
    """GPT models want 16 if any, Claude models want some, the others have no rule."""
    violations = check(request(model, "text", max_tokens=max_tokens))
    assert [item.param for item in violations] == params
    assert {item.code for item in violations} <= {"invalid_param"}


def test_violations_come_all_at_once_in_the_servers_order() -> None:
    """Content types before max_tokens, each block by its place (contract §7.1)."""
    violations = check(request("claude-opus-4-6", "text", "video_url", "audio_url"))
    assert [item.param for item in violations] == [
        "messages[0].content[1].type",
        "messages[0].content[2].type",
        "max_tokens",
    ]


def test_unknown_models_are_the_servers_to_judge() -> None:
    """A model outside the catalog is a violation for the strict alone."""
    unknown = request("gpt-6", "audio_url")
    assert [item.code for item in check(unknown)] == ["model_not_supported"]
    assert check(unknown, strict=False) == ()


def test_the_bare_minimum_is_checked_for_every_model() -> None:
    """A model and a message must be there, and a block needs the member that it names."""
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
    """Return what the catalog has against the messages."""
    return check(request_decoder.convert({"model": "gemini-3-pro-preview", "messages": messages}))


@pytest.mark.parametrize("role", ["usr", "User", "human", "", "assistant "])
def test_an_unknown_role_is_a_violation(role: str) -> None:
    """OpenAI's roles are known, in lower case, and no other."""
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
def test_a_conversation_that_says_nothing_is_a_violation(messages: list[dict[str, object]]) -> None:
    """Blank texts alone are no question; beside a text, a medium or a call they are fine."""
    (violation,) = conversation(*messages)
    assert violation.param == "messages"
    assert conversation(*messages, {"role": "user", "content": "hi"}) == ()
    assert conversation(*messages, {"role": "assistant", "tool_calls": [{"id": "c"}]}) == ()
    picture = {"type": "image_url", "image_url": {"url": "https://x/1.png"}}
    assert conversation(*messages, {"role": "user", "content": [picture]}) == ()


@pytest.mark.parametrize("role", ["system", "developer", "user", "tool"])
@pytest.mark.parametrize("members", [{}, {"content": None}, {"content": []}])
def test_who_does_not_answer_needs_content(role: str, members: dict[str, object]) -> None:
    """Only the model may say nothing, when it calls a tool."""
    violations = conversation({"role": role, **members})
    assert [item.param for item in violations] == ["messages[0].content"]


@pytest.mark.parametrize(
    ("role", "name", "near"),
    [
        ("user", "contents", "content"),
        ("assistant", "Content", "content"),
        ("user", "tool_call", "tool_calls"),
        ("assistant", "toolCalls", "tool_calls"),
        ("user", "text", None),
    ],
)
def test_a_misspelt_member_of_a_message_is_a_warning(
    role: str, name: str, near: str | None
) -> None:
    """A member that nobody knows is named, with the nearest that is known."""
    (violation,) = conversation({"role": role, "content": "hi", name: "x"})
    assert (violation.param, violation.level) == (f"messages[0].{name}", "warning")
    assert near is None or repr(near) in violation.message


def test_misspelt_members_of_blocks_are_warnings() -> None:
    """Blocks and media are looked at too; what merely is new there is not."""
    url = {"url": "https://x/1.png", "detial": "high", "fps": 2}
    picture = {"type": "image_url", "image_url": url, "cache_controll": {}, "min_pixels": 4}
    violations = conversation({"role": "user", "content": [picture]})
    assert [(item.param.rpartition(".")[2], item.level) for item in violations] == [
        ("cache_controll", "warning"),
        ("detial", "warning"),
    ]


def test_members_that_openai_and_its_kind_know_are_no_violations() -> None:
    """History as providers give it, and as they take it, is left alone."""
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


def test_what_was_sent_is_quoted_in_part() -> None:
    """An answer that quotes a wrong name is no longer for a name that is."""
    for wrong in (request("x" * 5000, "text"), request("gpt-5.5", "x" * 5000)):
        (violation,) = check(wrong)
        assert len(violation.message) < 500
