"""Texts of ``0`` and ``1`` as bytes."""


def to_bytes(bits: str, fill: str = "0") -> bytes:
    """Return bits as bytes, the first bit the highest of its byte."""
    bits += fill * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big") if bits else b""


def to_bytes_reversed(bits: str) -> bytes:
    """Return bits as bytes, the first bit the lowest of its byte."""
    bits += "0" * (-len(bits) % 8)
    return int(bits[::-1], 2).to_bytes(len(bits) // 8, "little") if bits else b""


def number(value: int, width: int) -> str:
    """Return a number as bits, the highest first."""
    return f"{value:0{width}b}"


def number_reversed(value: int, width: int) -> str:
    """Return a number as bits, the lowest first."""
    return number(value, width)[::-1]
