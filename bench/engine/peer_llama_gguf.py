"""Writes a GGUF file of a config's text shapes with random weights, for llama.cpp's llama-bench to time.

python3 bench/engine/peer_llama_gguf.py --config configs/GLM-4.6V-Flash --out glm.gguf [--type bf16|q4_0]

Needs the package gguf. q4_0 is what llama-quantize makes of it: the head in q6_K, norms and biases in float32. Weights
repeat after 16 Mi values: no kernel's time depends on that.
"""

import argparse
import json
import sys

import numpy as np
from gguf import GGUFWriter, LlamaFileType
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, RopeScalingType

PERIOD = 16 << 20  # values


def random_rows(kind, rows, cols, random):
    """[rows, bytes of a row], as the format stores them: scales small and valid, everything else random."""
    block, size = GGML_QUANT_SIZES[kind]
    if cols % block != 0:
        raise ValueError(f"rows of {cols} are no whole blocks of {block} ({kind.name})")
    count = min(rows * cols, PERIOD) // block
    if kind == GGMLQuantizationType.BF16:
        values = random.normal(0, 0.02, count).astype(np.float32)
        blocks = (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8).reshape(count, size)
    else:
        blocks = random.integers(0, 256, (count, size), dtype=np.uint8)
        at = {GGMLQuantizationType.Q4_0: 0, GGMLQuantizationType.Q6_K: 208}[kind]
        blocks[:, at : at + 2] = np.full((count, 1), 2e-4, np.float16).view(np.uint8)
    data = blocks.reshape(-1)
    total = rows * cols // block * size
    return np.tile(data, -(-total // data.size))[:total].reshape(rows, cols // block * size)


def write(options):
    with open(f"{options.config}/config.json", encoding="utf-8") as file:
        text = json.load(file)["text_config"]
    hidden, layers, vocab = text["hidden_size"], text["num_hidden_layers"], text["vocab_size"]
    heads, kv_heads, inner = text["num_attention_heads"], text["num_key_value_heads"], text["intermediate_size"]
    head_dim = text.get("head_dim") or hidden // heads
    rope = text["rope_parameters"]
    quantised = options.type == "q4_0"
    layer_kind = GGMLQuantizationType.Q4_0 if quantised else GGMLQuantizationType.BF16
    head_kind = GGMLQuantizationType.Q6_K if quantised else GGMLQuantizationType.BF16

    writer = GGUFWriter(options.out, "glm4")
    writer.add_name("random")
    writer.add_file_type(LlamaFileType.MOSTLY_Q4_0 if quantised else LlamaFileType.MOSTLY_BF16)
    writer.add_vocab_size(vocab)
    writer.add_context_length(text["max_position_embeddings"])
    writer.add_embedding_length(hidden)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(text["rms_norm_eps"])
    writer.add_rope_dimension_count(int(head_dim * rope["partial_rotary_factor"]))
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_scaling_type(RopeScalingType.NONE)
    writer.add_tokenizer_model("none")

    random = np.random.default_rng(1)
    made = {}  # tensors of one shape and format share their bytes

    def weight(name, kind, rows, cols):
        key = (kind, rows, cols)
        if key not in made:
            made[key] = random_rows(kind, rows, cols, random)
        writer.add_tensor(name + ".weight", made[key], raw_dtype=kind)

    def norm(name):
        writer.add_tensor(name + ".weight", np.ones(hidden, np.float32))

    weight("token_embd", layer_kind, vocab, hidden)
    norm("output_norm")
    weight("output", head_kind, vocab, hidden)
    for i in range(layers):
        for name in ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"):
            norm(f"blk.{i}.{name}")
        for name, count in (("attn_q", heads), ("attn_k", kv_heads), ("attn_v", kv_heads)):
            weight(f"blk.{i}.{name}", layer_kind, count * head_dim, hidden)
            if text["attention_bias"]:
                writer.add_tensor(f"blk.{i}.{name}.bias", np.zeros(count * head_dim, np.float32))
        weight(f"blk.{i}.attn_output", layer_kind, hidden, heads * head_dim)
        weight(f"blk.{i}.ffn_up", layer_kind, 2 * inner, hidden)
        weight(f"blk.{i}.ffn_down", layer_kind, hidden, inner)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--type", choices=["bf16", "q4_0"], default="bf16")
    options = parser.parse_args()
    try:
        write(options)
    except KeyError as error:
        sys.exit(f"{options.config}/config.json: no {error}")
    except (OSError, ValueError) as error:
        sys.exit(f"{options.config}/config.json: {error}")


if __name__ == "__main__":
    main()
