"""Options that several commands share, and the request that they describe."""

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from foxapi_async.cli.errors import UsageError
from foxapi_async.types import ContentBlock, GenerationRequest

AsJSON = Annotated[
    bool | None,
    typer.Option(
        "--json/--text",
        help="Write lines of JSON, or text; the default is JSON unless stdout is a terminal.",
        show_default=False,
    ),
]
Prompt = Annotated[
    str | None,
    typer.Argument(
        metavar="PROMPT",
        help="The prompt; `-` or nothing reads stdin.",
        show_default=False,
    ),
]
MaxTokens = Annotated[
    int | None,
    typer.Option("--max-tokens", metavar="N", min=1, help="The most tokens to generate."),
]
Temperature = Annotated[
    float | None, typer.Option("--temperature", metavar="X", help="Sampling temperature.")
]
System = Annotated[str | None, typer.Option("--system", metavar="TEXT", help="The system message.")]
_SOURCE: Final = "URL|PATH"
Images = Annotated[
    list[str] | None, typer.Option("--image", metavar=_SOURCE, help="An image; repeatable.")
]
Videos = Annotated[
    list[str] | None, typer.Option("--video", metavar=_SOURCE, help="A video; repeatable.")
]
Audios = Annotated[
    list[str] | None,
    typer.Option("--audio", metavar=_SOURCE, help="An audio recording; repeatable."),
]
Files = Annotated[
    list[str] | None, typer.Option("--file", metavar=_SOURCE, help="A document; repeatable.")
]
Params = Annotated[
    list[str] | None,
    typer.Option("--param", metavar="NAME=JSON", help="Any other parameter; repeatable."),
]
Journal = Annotated[
    str | None,
    typer.Option(
        "--journal",
        metavar="FILE",
        help="Record the submission there, so that --key is billed once; see `foxapi journal`.",
    ),
]
WaitTimeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", min=0, help="The most seconds to wait."),
]
RetryFailed = Annotated[
    bool,
    typer.Option(
        "--retry-failed", help="Submit again if the task of --key failed or was cancelled."
    ),
]
Key = Annotated[
    str | None, typer.Option("--key", metavar="TEXT", help="An idempotency key of your own.")
]
OutputFolder = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="DIR", help="Save the files of the result there."),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace files of the same name; else they are numbered."),
]
OpenFiles = Annotated[
    bool, typer.Option("--open", help="Open the files, or else their links, on the desktop.")
]

_MEMBERS: Final = frozenset(GenerationRequest.__struct_fields__) - {"_extra", "sync"}
_OPTION_OF: Final = {
    "model": "the argument MODEL",
    "messages": "PROMPT, --system, --image and the other media options",
    "prompt": "PROMPT",
    "image_urls": "--image",
    "video_urls": "--video",
    "audio_url": "--audio",
    "stream": "--stream, or `foxapi stream`",
    "key": "--key",
    "retry_failed": "--retry-failed",
}


def read_prompt(prompt: str | None) -> str:
    """Return the prompt: the argument, or stdin for ``-`` or if there is no argument."""
    if prompt is None and sys.stdin is not None and sys.stdin.isatty():
        raise UsageError("PROMPT is missing: give it as an argument, or pipe it in")
    text = _stdin() if prompt is None or prompt == "-" else prompt
    if not text.strip():
        raise UsageError("PROMPT is empty: write a prompt")
    return text


def _stdin() -> str:
    if sys.stdin is None:
        raise UsageError("PROMPT is missing and stdin is closed: give it as an argument")
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise UsageError("PROMPT is not UTF-8 on stdin: convert it first") from None
    except OSError as error:
        raise UsageError(f"PROMPT cannot be read from stdin: {error.strerror or error}") from None


def request_params(
    *,
    model: str,
    prompt: str,
    max_tokens: int | None = None,
    temperature: float | None = None,
    system: str | None = None,
    images: Sequence[str] | None = None,
    videos: Sequence[str] | None = None,
    audios: Sequence[str] | None = None,
    files: Sequence[str] | None = None,
    params: Sequence[str] | None = None,
    key: str | None = None,
    retry_failed: bool = False,
) -> dict[str, Any]:
    """Return the keyword arguments for ``fox.llm.submit`` that the options describe.

    It reads files, so call it outside an event loop.

    Raises:
        UsageError: an option is wrong; the message names it.
    """
    media = [
        *_blocks("image", images),
        *_blocks("video", videos),
        *_blocks("audio", audios),
        *_blocks("file", files),
    ]
    text = ContentBlock(type="text", text=prompt)
    messages: list[dict[str, object]] = [{"role": "user", "content": (text, *media)}]
    if not media:
        messages[0]["content"] = prompt
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    named = {"max_tokens": max_tokens, "temperature": temperature, "key": key}
    keywords: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    for name, value in named_values(params or ()):
        if name in keywords:
            raise UsageError(f"--param {name}: given twice")
        if name in _OPTION_OF:
            raise UsageError(f"--param {name}: use {_OPTION_OF[name]}")
        if name in _MEMBERS:
            keywords[name] = value
        else:
            keywords.setdefault("extra", {})[name] = value
    if retry_failed:
        if key is None:
            raise UsageError("--retry-failed needs --key: without a key each submission is new")
        keywords["retry_failed"] = True
    return {"model": model, "messages": messages, **keywords}


def named_values(params: Iterable[str]) -> Iterable[tuple[str, Any]]:
    """Yield the name and the value of each ``NAME=JSON``; ``UsageError`` if one is not."""
    for param in params:
        name, equals, value = param.partition("=")
        if not name or not equals:
            raise UsageError(f"--param {param[:40]!r}: write NAME=JSON, as in top_p=0.9")
        try:
            yield name, msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeError):
            raise UsageError(
                f"--param {name}: the value is not JSON; a string needs quotes, "
                f"as in '{name}=\"…\"'"
            ) from None


def _blocks(kind: str, sources: Sequence[str] | None) -> Iterable[ContentBlock]:
    """Build a content block from each URL, data URI or path."""
    if not sources:
        return
    from foxapi_async import content

    build: Callable[[str | Path], ContentBlock] = getattr(content, kind)
    for source in sources:
        is_url = source.startswith(("http://", "https://", "data:"))
        try:
            yield build(source if is_url else Path(source))
        except OSError as error:
            raise UsageError(f"--{kind} {source}: {error.strerror or 'cannot be read'}") from None
        except ValueError as error:
            raise UsageError(f"--{kind} {source}: {error}") from None
