"""The bytes that every reader of a benchmark gets: the streams of a language model."""

import json

from foxapi_async._protocol.sse import encode_event

# Three of ten chunks are reasoning, the others text.
THOUGHTS = 3
WORDS = ("The", " fox", " runs", " über", " the", " 狐狸", " lazy", " dog", ",", " and")
HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Type: text/event-stream; charset=utf-8\r\n"
    b"Cache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
END = b"0\r\n\r\n"
# Sent by a client that is ready: no request can be equal to it.
GO = b"go\n"


def payload(number: int) -> bytes:
    """Return one chunk's JSON."""
    at = number % len(WORDS)
    member = "reasoning_content" if at < THOUGHTS else "content"
    value = {
        "id": "chatcmpl-0d9f4c1e7a3b4f6d",
        "object": "chat.completion.chunk",
        "created": 1776874566,
        "model": "kimi-k2.6",
        "choices": [{"index": 0, "delta": {member: WORDS[at]}, "finish_reason": None}],
    }
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def frames(count: int) -> list[bytes]:
    """Return the frames of the first ``count`` chunks, as FoxAPI sends them."""
    kinds = [encode_event("chunk", payload(number)) for number in range(len(WORDS))]
    return [kinds[number % len(kinds)] for number in range(count)]


def texts(count: int) -> list[str]:
    """Return the pieces of the text of the first ``count`` chunks."""
    spoken = ["" if at < THOUGHTS else word for at, word in enumerate(WORDS)]
    return [spoken[number % len(WORDS)] for number in range(count)]


def done(count: int) -> bytes:
    """Return the frame that ends a stream of ``count`` chunks."""
    return encode_event("done", b'{"total_chunks":%d}' % count)


def http_chunk(data: bytes) -> bytes:
    """Return ``data`` as one chunk of a chunked HTTP body."""
    return b"%x\r\n%b\r\n" % (len(data), data)
