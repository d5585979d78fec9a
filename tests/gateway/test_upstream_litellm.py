"""A server that this project did not write as the upstream: the proxy of LiteLLM, unmodified.

It has no model and answers by its own ``mock_response``. ``nox -s upstream`` installs it.
"""

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from foxapi_async import FoxSession
from foxapi_async.errors import TaskFailedError
from foxapi_async.gateway import Gateway, Upstream

LITELLM = shutil.which("litellm")
KEY = "sk-7Hq2-litellm-0123456789"
CONFIG = f"""
model_list:
  - model_name: mock
    litellm_params: {{model: openai/mock, api_key: none, mock_response: "Hello from LiteLLM"}}
general_settings: {{master_key: {KEY}}}
"""

pytestmark = [
    pytest.mark.skipif(
        LITELLM is None, reason="`litellm[proxy]` is not installed: nox -s upstream"
    ),
    pytest.mark.skipif(sys.platform == "win32", reason="the process is ended by a signal"),
    # It takes half a minute to start on a busy machine.
    pytest.mark.timeout(180),
]


@pytest.fixture
async def litellm(tmp_path: Path) -> AsyncIterator[str]:
    """Start the proxy and return its base URL; it is not up yet."""
    config = tmp_path / "config.yaml"
    await asyncio.to_thread(config.write_text, CONFIG, "utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert LITELLM is not None
    process = await asyncio.create_subprocess_exec(
        *(LITELLM, "--config", str(config), "--host", "127.0.0.1", "--port", str(port)),
        # Without this it would fetch a list of prices.
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": ""},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def test_a_server_of_others_answers_through_the_gateway(
    litellm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text, stream, usage, refusals and unfinished choices of LiteLLM become those of tasks."""
    monkeypatch.setenv("LITELLM_KEY", KEY)
    models = {"mock": "", "absent": "no-such-model"}
    upstream = Upstream(url=litellm, models=models, key_env="LITELLM_KEY", patience=150)
    async with (
        Gateway(upstreams=[upstream], only_upstream=True) as gateway,
        FoxSession("sk-x", base_url=gateway.url) as fox,
    ):
        # The first task waits until the server is up.
        completion = await fox.llm.generate(model="mock", messages="hi")
        assert (completion.text, completion.finish_reason) == ("Hello from LiteLLM", "stop")
        assert completion.usage is not None
        assert completion.usage.total_tokens > completion.usage.completion_tokens > 0
        async with fox.llm.stream(model="mock", messages="hi") as stream:
            pieces = [delta.text async for delta in stream if delta.text]
        assert "".join(pieces) == "Hello from LiteLLM"
        assert len(pieces) > 1
        texts = await asyncio.gather(
            *(fox.llm.generate(model="mock", messages=f"hi {number}") for number in range(20))
        )
        assert {item.text for item in texts} == {"Hello from LiteLLM"}
        with pytest.raises(TaskFailedError, match="Invalid model name passed in model=no-such"):
            await fox.llm.generate(model="absent", messages="hi")
        # It sends a finish reason for the first choice only, so the second is not proved whole.
        with pytest.raises(TaskFailedError, match="without a finish reason"):
            await fox.llm.generate(model="mock", messages="hi", n=2)
    assert gateway.stats.upstreams[0].retries > 0
