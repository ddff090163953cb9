"""What config.json says, in any of the four layouts it was published in. Mirrors src/model/config.h."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class TextConfig:
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float
    rope_theta: float
    partial_rotary_factor: float
    mrope_section: tuple[int, ...]
    attention_bias: bool
    tie_word_embeddings: bool

    @property
    def rotary_dim(self) -> int:
        """How many leading dims of a head rotate."""
        return int(self.head_dim * self.partial_rotary_factor)


@dataclass(frozen=True)
class VisionConfig:
    depth: int
    hidden_size: int
    num_heads: int
    out_hidden_size: int  # also the width of every block's MLP
    intermediate_size: int  # the merger's inner width only
    image_size: int
    patch_size: int
    temporal_patch_size: int
    spatial_merge_size: int
    in_channels: int
    rms_norm_eps: float
    rope_theta: float
    attention_bias: bool

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def table_side(self) -> int:
        """Side of the square table of learned positions."""
        return self.image_size // self.patch_size


@dataclass(frozen=True)
class Config:
    text: TextConfig
    vision: VisionConfig
    image_token_id: int
    eos_token_ids: tuple[int, ...]


def load_config(directory: Path) -> Config:
    return parse_config(json.loads((directory / "config.json").read_text()))


def parse_config(raw: dict[str, Any]) -> Config:
    """Flat, nested v4 and nested v5 layouts; keys equal to the class default may be missing."""
    text = raw.get("text_config") or raw
    vision = raw.get("vision_config") or {}
    return Config(
        text=_parse_text(text, raw),
        vision=_parse_vision(vision),
        image_token_id=raw.get("image_token_id", 151343),
        eos_token_ids=_as_tuple(text.get("eos_token_id", raw.get("eos_token_id"))),
    )


def _parse_text(text: dict[str, Any], raw: dict[str, Any]) -> TextConfig:
    hidden_size = text.get("hidden_size", 4096)
    num_heads = text.get("num_attention_heads", 32)
    return TextConfig(
        vocab_size=text.get("vocab_size", 151552),
        hidden_size=hidden_size,
        intermediate_size=text.get("intermediate_size", 13696),
        num_hidden_layers=text.get("num_hidden_layers", 40),
        num_attention_heads=num_heads,
        num_key_value_heads=text.get("num_key_value_heads", 2) or num_heads,
        head_dim=text.get("head_dim") or hidden_size // num_heads,
        rms_norm_eps=text.get("rms_norm_eps", 1e-5),
        rope_theta=float(_rope(text, "rope_theta", 10000.0)),
        partial_rotary_factor=float(_rope(text, "partial_rotary_factor", 0.5)),
        mrope_section=tuple(_rope(text, "mrope_section", [8, 12, 12])),
        attention_bias=text.get("attention_bias", True),
        tie_word_embeddings=raw.get("tie_word_embeddings", False) or text.get("tie_word_embeddings", False),
    )


def _parse_vision(vision: dict[str, Any]) -> VisionConfig:
    return VisionConfig(
        depth=vision.get("depth", 24),
        hidden_size=vision.get("hidden_size", 1536),
        num_heads=vision.get("num_heads", vision.get("num_attention_heads", 12)),
        out_hidden_size=vision.get("out_hidden_size", 4096),
        intermediate_size=vision.get("intermediate_size", 13696),
        image_size=vision.get("image_size", 336),
        patch_size=vision.get("patch_size", 14),
        temporal_patch_size=vision.get("temporal_patch_size", 2),
        spatial_merge_size=vision.get("spatial_merge_size", 2),
        in_channels=vision.get("in_channels", 3),
        rms_norm_eps=vision.get("rms_norm_eps", 1e-5),
        rope_theta=float(_rope(vision, "rope_theta", 10000.0)),
        attention_bias=vision.get("attention_bias", False),
    )


def _rope(part: dict[str, Any], key: str, default: Any) -> Any:
    """rope_parameters.X, then rope_scaling.X, then X: newest layout first."""
    for place in (part.get("rope_parameters"), part.get("rope_scaling"), part):
        if place and place.get(key) is not None:
            return place[key]
    return default


def _as_tuple(ids: int | list[int] | None) -> tuple[int, ...]:
    if ids is None:
        return ()
    return (ids,) if isinstance(ids, int) else tuple(ids)
