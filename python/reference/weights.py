"""A checkpoint's tensors under one spelling of their names, in float32. Mirrors src/weights and src/model's names."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

Weights = dict[str, torch.Tensor]

# Every prefix seen in published files and what it is here.
_PREFIXES = (
    ("language_model.model.", "model.language_model."),
    ("language_model.lm_head.", "lm_head."),
    ("model.language_model.", "model.language_model."),
    ("model.visual.", "model.visual."),
    ("visual.", "model.visual."),
    ("lm_head.", "lm_head."),
    ("model.", "model.language_model."),
)


def load_weights(directory: Path) -> Weights:
    """All tensors of a directory, one file or shards, upcast to float32."""
    index = directory / "model.safetensors.index.json"
    if index.exists():
        files = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    else:
        files = ["model.safetensors"]
    weights: Weights = {}
    for file in files:
        weights |= {canonical_name(name): tensor.float() for name, tensor in load_file(directory / file).items()}
    return weights


def canonical_name(name: str) -> str:
    for prefix, canonical in _PREFIXES:
        if name.startswith(prefix):
            return canonical + name[len(prefix) :]
    raise ValueError(f"unknown tensor {name!r}")
