"""Writes small quantised checkpoints with what their weights mean: `python -m reference.make_quantized DIR`.

Each is a directory with config.json (quantization_config only), model.safetensors in the published bit layout, and the
dequantised weight as the tensor "expected". The packing here is written from the formats' descriptions, one bit field
at a time, and shares nothing with the reader.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

LAYER = "model.language_model.layers.0.mlp.down_proj"
ROWS, COLS = 48, 256


def words(fields: torch.Tensor, bits: int) -> torch.Tensor:
    """int32 words of unsigned fields along the last dimension, least significant first."""
    per_word = 32 // bits
    groups = fields.reshape(*fields.shape[:-1], -1, per_word).to(torch.int64)
    total = sum(groups[..., i] << (bits * i) for i in range(per_word))
    return torch.where(total >= 2**31, total - 2**32, total).to(torch.int32).contiguous()


def dequantize(q: torch.Tensor, zero: torch.Tensor, scale: torch.Tensor, group_of: torch.Tensor) -> torch.Tensor:
    """[rows, cols] from integers, and zero points and scales [rows, groups]."""
    return (q.float() - zero.float()[:, group_of]) * scale.float()[:, group_of]


def draw(generator: torch.Generator, bits: int, group: int, symmetric: bool) -> tuple[torch.Tensor, ...]:
    groups = COLS // group
    q = torch.randint(0, 2**bits, (ROWS, COLS), generator=generator)
    zero = torch.full((ROWS, groups), 2 ** (bits - 1))
    if not symmetric:
        zero = torch.randint(0, 2**bits, (ROWS, groups), generator=generator)
    scale = torch.rand((ROWS, groups), generator=generator) * 0.02 + 0.001
    return q, zero, scale, torch.arange(COLS) // group


def gptq(
    generator: torch.Generator, bits: int, group: int, symmetric: bool, v2: bool, order: bool
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    q, zero, scale, group_of = draw(generator, bits, group, symmetric)
    if order:
        group_of = group_of[torch.randperm(COLS, generator=generator)]
    scale = scale.half()
    stored_zero = zero if v2 else (zero - 1) % 2**bits
    config = {
        "quant_method": "gptq",
        "bits": bits,
        "group_size": group,
        "sym": symmetric,
        "desc_act": order,
        "checkpoint_format": "gptq_v2" if v2 else "gptq",
    }
    return config, {
        f"{LAYER}.qweight": words(q, bits).T.contiguous(),
        f"{LAYER}.qzeros": words(stored_zero.T, bits),
        f"{LAYER}.scales": scale.T.contiguous(),
        f"{LAYER}.g_idx": group_of.to(torch.int32),
        "expected": dequantize(q, zero, scale, group_of),
    }


def awq(generator: torch.Generator, group: int) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    q, zero, scale, group_of = draw(generator, 4, group, False)
    scale = scale.half()
    order = torch.tensor([0, 2, 4, 6, 1, 3, 5, 7])

    def columns(x: torch.Tensor) -> torch.Tensor:  # [*, rows] -> words of eight interleaved rows
        return words(x.reshape(x.shape[0], -1, 8)[:, :, order].reshape(x.shape[0], -1), 4)

    config = {"quant_method": "awq", "bits": 4, "group_size": group, "zero_point": True, "version": "gemm"}
    return config, {
        f"{LAYER}.qweight": columns(q.T),
        f"{LAYER}.qzeros": columns(zero.T),
        f"{LAYER}.scales": scale.T.contiguous(),
        "expected": dequantize(q, zero, scale, group_of),
    }


def packed(
    generator: torch.Generator, bits: int, group: int, symmetric: bool
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    q, zero, scale, group_of = draw(generator, bits, group, symmetric)
    scale = scale.bfloat16()
    tensors = {
        f"{LAYER}.weight_packed": words(q, bits),
        f"{LAYER}.weight_scale": scale,
        f"{LAYER}.weight_shape": torch.tensor([ROWS, COLS]),
        "expected": dequantize(q, zero, scale, group_of),
    }
    if not symmetric:
        tensors[f"{LAYER}.weight_zero_point"] = words(zero.T, bits).T.contiguous()
    weights = {"num_bits": bits, "type": "int", "strategy": "group", "group_size": group, "symmetric": symmetric}
    config = {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
        "ignore": ["lm_head"],
    }
    return config, tensors


def float8(generator: torch.Generator, strategy: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    weight = (torch.randn((ROWS, COLS), generator=generator) * 100).to(torch.float8_e4m3fn)
    shape = {"tensor": (1,), "channel": (ROWS, 1), "block": (1, COLS // 128)}[strategy]
    scale = torch.rand(shape, generator=generator) * 0.001 + 0.0001
    across = scale.expand(ROWS, 1) if strategy != "block" else scale.repeat_interleave(128, 1).expand(ROWS, COLS)
    name = "weight_scale_inv" if strategy == "block" else "weight_scale"
    weights = {"num_bits": 8, "type": "float", "strategy": strategy}
    config = {
        "quant_method": "fp8" if strategy == "block" else "compressed-tensors",
        "format": "float-quantized",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
    }
    return config, {
        f"{LAYER}.weight": weight,
        f"{LAYER}.{name}": scale,
        "expected": (weight.float() * across).contiguous(),
    }


def int8(generator: torch.Generator) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    weight = torch.randint(-127, 128, (ROWS, COLS), generator=generator, dtype=torch.int8)
    scale = torch.rand((ROWS, 1), generator=generator) * 0.001 + 0.0001
    config = {"quant_method": "compressed-tensors", "format": "int-quantized"}
    return config, {
        f"{LAYER}.weight": weight,
        f"{LAYER}.weight_scale": scale,
        "expected": weight.float() * scale,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    directory = parser.parse_args().directory
    generator = torch.Generator().manual_seed(20)
    cases = {
        "gptq": gptq(generator, 4, 128, symmetric=True, v2=False, order=False),
        "gptq-zeros": gptq(generator, 4, 128, symmetric=False, v2=False, order=False),
        "gptq-v2-order": gptq(generator, 4, 64, symmetric=False, v2=True, order=True),
        "gptq-int8": gptq(generator, 8, 128, symmetric=True, v2=False, order=False),
        "awq": awq(generator, 128),
        "packed-int4": packed(generator, 4, 128, symmetric=True),
        "packed-int4-zeros": packed(generator, 4, 32, symmetric=False),
        "packed-int8": packed(generator, 8, 128, symmetric=True),
        "fp8-channel": float8(generator, "channel"),
        "fp8-tensor": float8(generator, "tensor"),
        "fp8-block": float8(generator, "block"),
        "int8": int8(generator),
    }
    for name, (config, tensors) in cases.items():
        tensors["model.language_model.norm.weight"] = torch.ones(8, dtype=torch.bfloat16)
        (directory / name).mkdir(parents=True, exist_ok=True)
        (directory / name / "config.json").write_text(json.dumps({"quantization_config": config}, indent=2) + "\n")
        save_file(tensors, directory / name / "model.safetensors")


if __name__ == "__main__":
    main()
