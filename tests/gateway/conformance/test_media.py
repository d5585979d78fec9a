"""Media tasks, uploads and links (contract §4, §9 to §11).

One image and two uploads are made at a remote service.
"""

import base64
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
import pytest

if TYPE_CHECKING:
    from tests.gateway.conformance.conftest import Reply, Target

IMAGES = "/v1/images/generations"
SUBMITS = [
    IMAGES,
    "/v1/videos/generations",
    "/v1/audios/generations",
    "/v1/audio/generations",
    "/v1/run/generations",
]
UPLOADS = [f"/v1/files/upload/{name}" for name in ("stream", "base64", "url")]
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABAQMAAAAl21bKAAAAA1BMVEUAAP+KeNJXAAAACklEQVR4nGNgAAAAAgABSK+kcQAA"
    "AABJRU5ErkJggg=="
)


async def download(target: "Target", url: str) -> bytes:
    """Fetch a link without a key."""
    parts = urlsplit(url)
    assert parts.scheme in {"http", "https"}
    assert parts.netloc
    async with target.http.get(url, headers={"User-Agent": "foxapi-conformance/1"}) as answer:
        assert answer.status == 200
        return await answer.read()


async def test_an_image_is_made(target: "Target") -> None:
    """A submit answers with a task that goes forward only, and its result has a link."""
    reply = await target.call("POST", IMAGES, json={"model": "gpt-image-2", "prompt": "a red fox"})
    assert reply.status == 200, reply
    task = reply.json
    found = re.fullmatch(r"task-unified-(\d+)-[a-z0-9]{8}", task["id"])
    assert found
    assert int(found[1]) == task["created"]
    assert (task["object"], task["type"]) == ("image.generation.task", "image")
    assert (task["model"], task["status"], task["progress"]) == ("gpt-image-2", "pending", 0)
    assert isinstance(task["task_info"]["can_cancel"], bool)
    assert isinstance(task["task_info"]["estimated_time"], int)
    seen = await target.snapshots(task["id"])
    assert {item["id"] for item in seen} == {task["id"]}
    progress = [item["progress"] for item in seen]
    assert progress == sorted(progress)
    (result,) = seen[-1]["results"]
    assert result["content_type"].startswith("image/")
    assert (await download(target, result["url"])).startswith(b"\x89PNG")


@pytest.mark.parametrize("path", SUBMITS)
@pytest.mark.parametrize(
    "body", [{"prompt": "a cat"}, {"model": "no-such-model-0", "prompt": "a cat"}]
)
async def test_a_submit_needs_a_known_model(target: "Target", path: str, body: Any) -> None:
    """A missing or unknown model is a 422 in the envelope."""
    reply = await target.call("POST", path, json=body)
    assert reply.status == 422, reply
    assert reply.error["message"]


@pytest.mark.parametrize("path", SUBMITS + UPLOADS)
@pytest.mark.parametrize("key", [None, "sk-no-such-key-0123456789"])
async def test_each_endpoint_needs_its_key(target: "Target", path: str, key: str | None) -> None:
    """A missing or unknown key is a 401, whatever the body is."""
    reply = await target.call("POST", path, key=key, json={"model": "x"})
    assert (reply.status, reply.error["type"]) == (401, "authentication_error")


def check_upload(reply: "Reply", name: str) -> str:
    """Check the answer to an upload, and return its link."""
    assert reply.status == 200, reply
    answer = reply.json
    assert re.fullmatch(r"file-\d+-[A-Za-z0-9]+", answer["id"])
    assert (answer["filename"], answer["size"]) == (name, len(PNG))
    assert isinstance(answer["created"], int)
    url: str = answer["url"]
    return url


async def test_a_file_is_uploaded(target: "Target") -> None:
    """A form and base64 store the same bytes, and a link has them without a key."""
    form = aiohttp.FormData()
    form.add_field("auto_cleanup", "true")
    form.add_field("file", PNG, filename="a.png", content_type="image/png")
    first = check_upload(await target.call("POST", UPLOADS[0], data=form), "a.png")
    encoded = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    body = {"file_data": encoded, "file_name": "b.png"}
    second = check_upload(await target.call("POST", UPLOADS[1], json=body), "b.png")
    for url in (first, second):
        assert await download(target, url) == PNG


@pytest.mark.parametrize("path", UPLOADS[1:])
async def test_an_upload_without_its_member_is_a_400(target: "Target", path: str) -> None:
    """An upload without ``file_data`` or ``url`` is a 400."""
    reply = await target.call("POST", path, json={})
    assert (reply.status, reply.error["type"]) == (400, "invalid_request_error")
