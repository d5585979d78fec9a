"""Writes a llama of half a megabyte with random weights. It answers in random words."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

# Its types differ between versions.
gguf: Any = import_module("gguf")

WIDTH = 64
LAYERS = 2
HEADS = 4
INNER = 128
CONTEXT = 4096
PRINTABLE = [chr(number) for number in range(33, 127)]
WORDS = [first + second for first in "bdfklmnprst" for second in ("ar", "en", "iso", "or", "umi")]
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"


def write_random_llama(path: Path) -> None:
    """Write the model."""
    words = [f"▁{word}" for word in WORDS]
    control = ["<unk>", "<s>", "</s>", *(f"<0x{number:02X}>" for number in range(256))]
    tokens = [*control, "▁", *PRINTABLE, *words]
    kinds = [gguf.TokenType.UNKNOWN, *[gguf.TokenType.CONTROL] * 2, *[gguf.TokenType.BYTE] * 256]
    kinds += [gguf.TokenType.NORMAL] * (len(tokens) - len(kinds))
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(number) for number in range(len(tokens))])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)
    _add_tensors(writer, len(tokens), unwanted=len(control), rare=len(tokens) - len(words))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tensors(writer: Any, tokens: int, *, unwanted: int, rare: int) -> None:
    """Add random weights. The first tokens are never chosen, those before ``rare`` seldom."""
    generator = np.random.default_rng(7)

    def random(
        rows: int, columns: int, scale: float
    ) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
        return (generator.standard_normal((rows, columns)) * scale).astype(np.float32)

    def add_ones(name: str) -> None:
        writer.add_tensor(name, np.ones(WIDTH, dtype=np.float32))

    # The first dimension is the same large number everywhere, so its output weight is a bias.
    embedding, output = random(tokens, WIDTH, 0.5), random(tokens, WIDTH, 0.1)
    embedding[:, 0] = 8
    output[:unwanted, 0] = -10
    output[unwanted:rare, 0] = -1
    output[rare:, 0] = 0
    writer.add_tensor("token_embd.weight", embedding)
    for layer in range(LAYERS):
        prefix = f"blk.{layer}."
        add_ones(f"{prefix}attn_norm.weight")
        add_ones(f"{prefix}ffn_norm.weight")
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"{prefix}{name}.weight", random(WIDTH, WIDTH, 0.1))
        for name in ("ffn_gate", "ffn_up"):
            writer.add_tensor(f"{prefix}{name}.weight", random(INNER, WIDTH, 0.1))
        writer.add_tensor(f"{prefix}ffn_down.weight", random(WIDTH, INNER, 0.1))
    add_ones("output_norm.weight")
    writer.add_tensor("output.weight", output)


if __name__ == "__main__":
    write_random_llama(Path(sys.argv[1]))
