"""Writes the random checkpoints of specs.py: `python -m reference.make_checkpoints DIR` (with PYTHONPATH=python).

Deterministic: the same bytes every time. The largest is under 5 MB; nothing here is committed but the two tiny ones.
"""

import argparse
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from .specs import SPECS, Spec

_PROCESSOR = {
    "image_processor_type": "Glm4vImageProcessor",
    "processor_class": "Glm4vProcessor",
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "do_convert_rgb": True,
    "rescale_factor": 1 / 255,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "size": {"shortest_edge": 1568, "longest_edge": 250880},
}


def make_checkpoint(spec: Spec, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(layout_config(spec), indent=2) + "\n")
    (directory / "preprocessor_config.json").write_text(json.dumps(_PROCESSOR, indent=2) + "\n")
    (directory / "generation_config.json").write_text(
        json.dumps({"do_sample": False, "eos_token_id": eos_ids(spec), "pad_token_id": spec.special["pad"]}, indent=2)
        + "\n"
    )
    dtype = getattr(torch, spec.dtype)
    tensors = {rename(name, spec): tensor.to(dtype) for name, tensor in random_weights(spec).items()}
    if spec.shards == 1:
        save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(tensors)
    weight_map: dict[str, str] = {}
    for shard in range(spec.shards):
        file = f"model-{shard + 1:05d}-of-{spec.shards:05d}.safetensors"
        part = {name: tensors[name] for name in names[shard :: spec.shards]}
        save_file(part, directory / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def eos_ids(spec: Spec) -> list[int]:
    return [spec.special["pad"], spec.special["user"]]


def canonical_config(spec: Spec) -> dict[str, Any]:
    """The v5 nested layout with nothing left out: what every layout means."""
    special = spec.special
    text = spec.text | {"model_type": "glm4v_text", "pad_token_id": special["pad"], "eos_token_id": eos_ids(spec)}
    vision = spec.vision | {
        "model_type": "glm4v_vision",
        "rope_parameters": {"rope_type": "axial", "rope_theta": 10000.0},
    }
    return {
        "architectures": ["Glm4vForConditionalGeneration"],
        "model_type": "glm4v",
        "dtype": spec.dtype,
        "tie_word_embeddings": spec.text["tie_word_embeddings"],
        "image_start_token_id": special["image_start"],
        "image_end_token_id": special["image_end"],
        "video_start_token_id": special["video_start"],
        "video_end_token_id": special["video_end"],
        "image_token_id": special["image"],
        "video_token_id": special["video"],
        "text_config": text,
        "vision_config": vision,
    }


def layout_config(spec: Spec) -> dict[str, Any]:
    """The same facts as the four generations of published files spell them."""
    config = canonical_config(spec)
    text, vision = config["text_config"], config["vision_config"]
    if spec.layout == "newest":
        vision["num_attention_heads"] = vision.pop("num_heads")
        return config
    vision.pop("rope_parameters")
    if spec.layout == "nested_v5":
        return config
    rope = text.pop("rope_parameters")
    text["rope_theta"] = rope["rope_theta"]
    text["partial_rotary_factor"] = rope["partial_rotary_factor"]
    kind = "type" if spec.layout == "flat" else "rope_type"
    text["rope_scaling"] = {kind: "default", "mrope_section": rope["mrope_section"]}
    config["torch_dtype"] = config.pop("dtype")
    if spec.layout == "flat":
        text.pop("model_type")
        vision["model_type"] = "glm4v"
        config |= config.pop("text_config")
    return config


def rename(name: str, spec: Spec) -> str:
    ours = ("model.language_model.", "model.visual.", "lm_head.")
    for prefix, published in zip(ours, spec.prefixes, strict=True):
        if name.startswith(prefix):
            return published + name[len(prefix) :]
    raise ValueError(name)


def random_weights(spec: Spec) -> dict[str, torch.Tensor]:
    """Float32 tensors under canonical names. Products keep a variance near one, so that logits have clear winners."""
    rng = np.random.default_rng(zlib.crc32(spec.name.encode()))
    weights: dict[str, torch.Tensor] = {}

    def draw(name: str, *shape: int, std: float = 1.0, mean: float = 0.0) -> None:
        values = mean + std * rng.standard_normal(shape, dtype=np.float32)
        weights[name] = torch.from_numpy(values.astype(np.float32))

    def product(name: str, out: int, *fan_in: int, bias: bool = False) -> None:
        draw(name + ".weight", out, *fan_in, std=float(np.prod(fan_in)) ** -0.5)
        if bias:
            draw(name + ".bias", out, std=0.3)

    def norm(name: str, width: int) -> None:
        draw(name + ".weight", width, mean=1.0, std=0.2)

    _draw_text(spec, draw, product, norm)
    _draw_vision(spec, draw, product, norm)
    return weights


def _draw_text(spec: Spec, draw: Any, product: Any, norm: Any) -> None:
    text = spec.text
    hidden, ffn, head_dim = text["hidden_size"], text["intermediate_size"], text["head_dim"]
    heads, kv_heads, bias = text["num_attention_heads"], text["num_key_value_heads"], text["attention_bias"]
    # A tied head multiplies by the embedding: unit variance would give logits as wide as the hidden size.
    draw(
        "model.language_model.embed_tokens.weight",
        spec.vocab_size,
        hidden,
        std=0.3 if text["tie_word_embeddings"] else 1.0,
    )
    for layer in range(text["num_hidden_layers"]):
        name = f"model.language_model.layers.{layer}."
        product(name + "self_attn.q_proj", heads * head_dim, hidden, bias=bias)
        product(name + "self_attn.k_proj", kv_heads * head_dim, hidden, bias=bias)
        product(name + "self_attn.v_proj", kv_heads * head_dim, hidden, bias=bias)
        product(name + "self_attn.o_proj", hidden, heads * head_dim)
        product(name + "mlp.gate_up_proj", 2 * ffn, hidden)
        product(name + "mlp.down_proj", hidden, ffn)
        for which in ("input_layernorm", "post_self_attn_layernorm", "post_attention_layernorm", "post_mlp_layernorm"):
            norm(name + which, hidden)
    norm("model.language_model.norm", hidden)
    if not text["tie_word_embeddings"]:
        draw("lm_head.weight", spec.vocab_size, hidden, std=3 * hidden**-0.5)


def _draw_vision(spec: Spec, draw: Any, product: Any, norm: Any) -> None:
    vision = spec.vision
    hidden, out, inner = vision["hidden_size"], vision["out_hidden_size"], vision["intermediate_size"]
    name = "model.visual."
    product(
        name + "patch_embed.proj",
        hidden,
        vision["in_channels"],
        vision["temporal_patch_size"],
        vision["patch_size"],
        vision["patch_size"],
        bias=True,
    )
    norm(name + "post_conv_layernorm", hidden)
    draw(name + "embeddings.position_embedding.weight", (vision["image_size"] // vision["patch_size"]) ** 2, hidden)
    for block in range(vision["depth"]):
        part = f"{name}blocks.{block}."
        norm(part + "norm1", hidden)
        norm(part + "norm2", hidden)
        product(part + "attn.qkv", 3 * hidden, hidden)
        product(part + "attn.proj", hidden, hidden)
        product(part + "mlp.gate_proj", out, hidden)
        product(part + "mlp.up_proj", out, hidden)
        product(part + "mlp.down_proj", hidden, out)
    norm(name + "post_layernorm", hidden)
    merge = vision["spatial_merge_size"]
    product(name + "downsample", out, hidden, merge, merge, bias=True)
    product(name + "merger.proj", out, out)
    norm(name + "merger.post_projection_norm", out)
    draw(name + "merger.post_projection_norm.bias", out, std=0.3)
    product(name + "merger.gate_proj", inner, out)
    product(name + "merger.up_proj", inner, out)
    # Pictures should weigh as much as words: the gated product shrinks the variance by about four.
    draw(name + "merger.down_proj.weight", out, inner, std=4 * inner**-0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    args = parser.parse_args()
    for spec in SPECS:
        make_checkpoint(spec, args.directory / spec.name)
        size = sum(file.stat().st_size for file in (args.directory / spec.name).iterdir())
        print(f"{spec.name}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
