"""Laws of the catalog: the seed's table, and one check for client and gateway."""

import pytest

from foxapi_async import catalog
from foxapi_async._catalog import MODELS, check
from foxapi_async._wire.request import GenerationRequest, requests

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
    return requests.convert(body | ({"max_tokens": max_tokens} if max_tokens is not None else {}))


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
    """Content types before max_tokens, each block by its place (CONTRACT §7.1)."""
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
    assert [item.param for item in check(requests.convert({"model": "", "messages": []}))] == [
        "model",
        "messages",
    ]
    block = {"type": "image_url", "text": "oops"}
    body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": [block]}]}
    assert [item.param for item in check(requests.convert(body))] == [
        "messages[0].content[0].image_url"
    ]


def test_what_was_sent_is_quoted_in_part() -> None:
    """An answer that quotes a wrong name is no longer for a name that is."""
    for wrong in (request("x" * 5000, "text"), request("gpt-5.5", "x" * 5000)):
        (violation,) = check(wrong)
        assert len(violation.message) < 500
