"""The paths of the endpoints and the format of task ids (contract §2, §4.1)."""

import re
from typing import Final
from urllib.parse import quote

SUBMIT_LLM: Final = "/v1/llm/generations"
STREAM_LLM: Final = "/v1/llm/generations/{task_id}/stream"
TASK: Final = "/v1/tasks/{task_id}"
LLM_MODELS: Final = "/v1/configs/llm_generations_models"
OPENAI_MODELS: Final = "/v1/models"
UPLOAD_STREAM: Final = "/v1/files/upload/stream"
UPLOAD_BASE64: Final = "/v1/files/upload/base64"
UPLOAD_URL: Final = "/v1/files/upload/url"

_TASKS: Final = TASK.removesuffix("{task_id}")
_PLAIN = re.compile(r"[A-Za-z0-9._-]+")
_NAMED = re.compile(r'"(id|task_id|taskId)"\s*:\s*"([A-Za-z0-9._:-]{1,256})"')
_TASK_ID = re.compile(r"[A-Za-z0-9._:-]{1,256}")


def is_task_id(text: str) -> bool:
    """Tell whether ``text`` could be a task id: short, and safe in a path."""
    # A URL library would treat dots alone as a relative path.
    return _TASK_ID.fullmatch(text) is not None and text.strip(".") != ""


def find_task_id(text: str) -> str | None:
    """Return the task id in the text of a response that cannot be decoded; ``None`` without one.

    A member ``task_id`` or ``taskId`` counts, and an ``id`` that begins with ``task-``.
    """
    for found in _NAMED.finditer(text):
        name, value = str(found[1]), str(found[2])
        if is_task_id(value) and (name != "id" or value.startswith("task-")):
            return value
    return None


def task_path(task_id: str) -> str:
    """Return the path of the task."""
    return f"{_TASKS}{_quoted(task_id)}"


def stream_path(task_id: str) -> str:
    """Return the path of the event stream of the task, without an offset."""
    return STREAM_LLM.format(task_id=_quoted(task_id))


def _quoted(task_id: str) -> str:
    # Fast path: nearly every id needs no quoting.
    return task_id if _PLAIN.fullmatch(task_id) else quote(task_id, safe="")
