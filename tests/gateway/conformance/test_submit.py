"""``POST /v1/llm/generations`` with ``messages`` (seed; contract §3.2, §3.5, §7.1, §8)."""

import re
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.gateway.conformance.conftest import Target

SUBMIT = "/v1/llm/generations"
JSON = {"Content-Type": "application/json"}
MODELS: dict[str, tuple[str, ...]] = {
    "gpt-5.4": ("text", "image_url"),
    "gpt-5.5": ("text", "image_url"),
    "kimi-k2.6": ("text", "image_url"),
    "claude-opus-4-6": ("text", "image_url", "file_url"),
    "claude-opus-4-7": ("text", "image_url", "file_url"),
    "claude-sonnet-4-6": ("text", "image_url", "file_url"),
    "gemini-3-pro-preview": ("text", "image_url", "video_url", "audio_url", "file_url"),
    "gemini-3.1-pro-preview": ("text", "image_url", "video_url", "audio_url", "file_url"),
}
BLOCKS: dict[str, dict[str, Any]] = {
    "text": {"type": "text", "text": "say yes"},
    **{
        kind: {"type": kind, kind: {"url": f"https://example.com/sample.{suffix}"}}
        for kind, suffix in (
            ("image_url", "png"),
            ("video_url", "mp4"),
            ("audio_url", "wav"),
            ("file_url", "pdf"),
        )
    },
}
ALLOWED = [(model, kind) for model, kinds in MODELS.items() for kind in kinds]
FORBIDDEN = [
    (model, kind) for model, kinds in MODELS.items() for kind in BLOCKS if kind not in kinds
]


def hello(content: Any = "say yes") -> list[dict[str, Any]]:
    """Build a conversation of one message."""
    return [{"role": "user", "content": content}]


@pytest.mark.parametrize("stream", [False, True, None])
async def test_a_task_is_created(target: "Target", *, stream: bool | None) -> None:
    """A submit answers the ten members of the seed with their fixed values."""
    chosen: dict[str, Any] = {} if stream is None else {"stream": stream}
    before = int(time.time())
    task = await target.submit(model="claude-opus-4-7", max_tokens=64, **chosen)
    found = re.fullmatch(r"task-llm-(\d+)-[a-z0-9]{8}", task["id"])
    assert found, task["id"]
    path = f"{SUBMIT}/{task['id']}/stream"
    assert {name: task[name] for name in task if name != "usage"} == {
        "id": task["id"],
        "object": "llm.generation.task",
        "type": "llm",
        "model": "claude-opus-4-7",
        "status": "pending",
        "progress": 0,
        "created": task["created"],
        "stream": {"url": path} if stream else None,
        "results": None,
        "error": None,
    }
    assert int(found[1]) == task["created"]
    assert abs(task["created"] - before) < 300


@pytest.mark.parametrize(("model", "kind"), ALLOWED)
async def test_a_supported_content_type_is_accepted(
    target: "Target", model: str, kind: str
) -> None:
    """Each ✓ of the seed's table of content types is accepted."""
    content = [BLOCKS["text"], BLOCKS[kind]]
    reply = await target.post(model=model, messages=hello(content), max_tokens=16)
    assert reply.status == 200, reply


@pytest.mark.parametrize(("model", "kind"), FORBIDDEN)
async def test_an_unsupported_content_type_is_refused(
    target: "Target", model: str, kind: str
) -> None:
    """Each ✗ of the seed's table is 422 ``unsupported_content_type``."""
    content = [BLOCKS["text"], BLOCKS[kind]]
    reply = await target.post(model=model, messages=hello(content), max_tokens=16)
    assert (reply.status, reply.error["code"]) == (422, "unsupported_content_type")
    assert reply.error["type"] == "invalid_request_error"


@pytest.mark.parametrize("model", ["gpt-9", "GPT-5.5", "gpt-5.5 ", "claude", "gemini-2.5-pro"])
async def test_an_unlisted_model_is_refused(target: "Target", model: str) -> None:
    """The whitelist is strict: any other model is a 422 ``model_not_supported``."""
    reply = await target.post(model=model, messages=hello(), max_tokens=64)
    assert (reply.status, reply.error["code"]) == (422, "model_not_supported")
    assert reply.error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("model", "max_tokens", "status"),
    [
        ("gpt-5.4", None, 200),
        ("gpt-5.4", 16, 200),
        ("gpt-5.4", 15, 422),
        ("gpt-5.5", 16, 200),
        ("gpt-5.5", 1, 422),
        ("claude-opus-4-6", None, 422),
        ("claude-opus-4-6", 64, 200),
        ("claude-opus-4-7", None, 422),
        ("claude-sonnet-4-6", None, 422),
        ("claude-sonnet-4-6", 1, 200),
        ("kimi-k2.6", None, 200),
        ("kimi-k2.6", 1, 200),
        ("gemini-3-pro-preview", None, 200),
        ("gemini-3.1-pro-preview", 1, 200),
    ],
)
async def test_each_model_has_its_rule_of_max_tokens(
    target: "Target", model: str, max_tokens: int | None, status: int
) -> None:
    """GPT needs at least 16 if it is given, Claude needs the member, others have no rule."""
    limit = {} if max_tokens is None else {"max_tokens": max_tokens}
    reply = await target.post(model=model, messages=hello(), **limit)
    assert reply.status == status
    if status == 422:
        assert reply.error["type"] == "invalid_request_error"


async def test_openai_parameters_are_accepted(target: "Target") -> None:
    """Sampling, stop sequences, penalties and unknown parameters are accepted."""
    reply = await target.post(
        model="gemini-3-pro-preview",
        messages=[{"role": "system", "content": "be brief"}, *hello()],
        temperature=0.5,
        top_p=0.9,
        stop=["END", "STOP"],
        frequency_penalty=0.1,
        presence_penalty=-0.1,
        n=1,
        seed=7,
        user="a-user",
        response_format={"type": "text"},
        a_parameter_of_next_year={"nested": [1, 2]},
    )
    assert reply.status == 200, reply


@pytest.mark.parametrize(
    "members",
    [
        {"messages": hello()},
        {"model": "gpt-5.5"},
        {"model": "gpt-5.5", "messages": []},
        {"model": 5, "messages": hello()},
        {"model": "gpt-5.5", "messages": "hello"},
        {"model": "gpt-5.5", "messages": hello(), "stream": "perhaps"},
        {"model": "gpt-5.5", "messages": hello(), "max_tokens": "many"},
    ],
)
async def test_a_missing_or_wrong_member_is_refused(
    target: "Target", members: dict[str, Any]
) -> None:
    """A required member that is missing, or one of a wrong type, is 422 in the envelope."""
    reply = await target.post(**members)
    assert (reply.status, reply.error["type"]) == (422, "invalid_request_error")


@pytest.mark.parametrize("body", [b"", b"{", b"not json", b'{"model": "gpt-5.5", ', b"\xff"])
async def test_malformed_json_is_a_bad_request(target: "Target", body: bytes) -> None:
    """A body that is not JSON is a 400."""
    reply = await target.call("POST", SUBMIT, data=body, headers=JSON)
    assert (reply.status, reply.error["type"]) == (400, "invalid_request_error")


async def test_another_content_type_is_a_bad_request(target: "Target") -> None:
    """A body without the content type of JSON is a 400."""
    body = b'{"model": "gpt-5.5", "messages": [{"role": "user", "content": "say yes"}]}'
    reply = await target.call("POST", SUBMIT, data=body, headers={"Content-Type": "text/plain"})
    assert (reply.status, reply.error["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize("key", [None, "", "sk-no-such-key-0123456789"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", SUBMIT),
        ("GET", "/v1/tasks/task-llm-1-abcdefgh"),
        ("GET", f"{SUBMIT}/task-llm-1-abcdefgh/stream"),
        ("GET", "/v1/configs/llm_generations_models"),
    ],
)
async def test_every_endpoint_needs_a_key(
    target: "Target", method: str, path: str, key: str | None
) -> None:
    """A missing or unknown key is a 401 everywhere, and the response does not repeat it."""
    body = {"json": {"model": "gpt-5.5", "messages": hello()}} if method == "POST" else {}
    reply = await target.call(method, path, key=key, **body)
    assert (reply.status, reply.error["type"]) == (401, "authentication_error")
    assert not key or key.encode() not in reply.body


async def test_the_model_is_checked_before_content_and_limit(target: "Target") -> None:
    """Of several mistakes the first in the order of contract §7.1 is reported."""
    content = [BLOCKS["video_url"]]
    reply = await target.post(model="gpt-9", messages=hello(content))
    assert reply.error["code"] == "model_not_supported"
    reply = await target.post(model="claude-opus-4-7", messages=hello(content))
    assert reply.error["code"] == "unsupported_content_type"


async def test_models_are_listed(target: "Target") -> None:
    """The models of the seed are listed with their capabilities, in the service's order."""
    reply = await target.call("GET", "/v1/configs/llm_generations_models")
    assert (reply.status, reply.json["object"]) == (200, "list")
    words = {"text": "text", "image_url": "vision", "video_url": "video"}
    words |= {"audio_url": "audio", "file_url": "file"}
    listed = {item["id"]: item for item in reply.json["data"]}
    for model, kinds in MODELS.items():
        assert listed[model]["object"] == "model"
        assert listed[model]["capabilities"] == [words[kind] for kind in kinds]
