"""The random checkpoints: small, and different in every way published ones may differ. Names say what is special."""

from dataclasses import dataclass, field
from typing import Any, Literal

Layout = Literal["flat", "nested_v4", "nested_v5", "newest"]
Size = tuple[int, int]  # height, width of a picture in pixels


@dataclass(frozen=True)
class Turn:
    """`tokens` ordinary tokens around pictures: a third of them before, the rest after."""

    tokens: int
    images: tuple[Size, ...] = ()


@dataclass(frozen=True)
class Case:
    """One prompt: turns of a conversation, and how many tokens to generate."""

    name: str
    turns: tuple[Turn, ...]
    steps: int = 16


@dataclass(frozen=True)
class Spec:
    name: str
    text: dict[str, Any]  # the v5 spelling of every key that matters
    vision: dict[str, Any]
    layout: Layout
    dtype: Literal["bfloat16", "float16", "float32"]
    shards: int
    prefixes: tuple[str, str, str] = ("model.language_model.", "model.visual.", "lm_head.")
    cases: tuple[Case, ...] = field(default_factory=tuple)

    @property
    def vocab_size(self) -> int:
        return self.text["vocab_size"]

    @property
    def special(self) -> dict[str, int]:
        """Special token ids sit at the top of the vocabulary, in the published order."""
        names = ("pad", "user", "assistant", "image_start", "image_end", "video_start", "video_end", "image", "video")
        return {name: self.vocab_size - len(names) + i for i, name in enumerate(names)}


def _text(
    hidden: int,
    layers: int,
    heads: tuple[int, int, int],
    ffn: int,
    rope: tuple[float, float, list[int]],
    vocab: int = 512,
    bias: bool = True,
    tied: bool = False,
    eps: float = 1e-5,
) -> dict[str, Any]:
    theta, factor, sections = rope
    return {
        "vocab_size": vocab,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1],
        "head_dim": heads[2],
        "intermediate_size": ffn,
        "rms_norm_eps": eps,
        "attention_bias": bias,
        "tie_word_embeddings": tied,
        "max_position_embeddings": 4096,
        "hidden_act": "silu",
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": theta,
            "partial_rotary_factor": factor,
            "mrope_section": sections,
        },
    }


def _vision(hidden: int, depth: int, heads: int, out: int, inner: int, image_size: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "depth": depth,
        "num_heads": heads,
        "out_hidden_size": out,
        "intermediate_size": inner,
        "image_size": image_size,
        "patch_size": 14,
        "temporal_patch_size": 2,
        "spatial_merge_size": 2,
        "in_channels": 3,
        "rms_norm_eps": 1e-5,
        "attention_bias": False,
        "hidden_act": "silu",
    }


_TEXT_ONLY = Case("text", (Turn(23),))
_ONE_IMAGE = Case("image", (Turn(12, ((112, 84),)),))

# Committed with their goldens in tests/golden/model, so that the C++ tests need no Python.
TINY = (
    Spec(
        name="tiny_gqa2_v5",
        text=_text(32, 2, (4, 2, 32), 40, (5e5, 0.5, [2, 3, 3]), vocab=160),
        vision=_vision(16, 2, 1, 32, 24, 112),
        layout="nested_v5",
        dtype="bfloat16",
        shards=1,
        cases=(Case("image", (Turn(9, ((56, 28),)), Turn(5, ((28, 56),))), steps=8),),
    ),
    Spec(
        name="tiny_gqa1_flat",
        text=_text(32, 1, (3, 3, 16), 40, (1e4, 1.0, [2, 2, 4]), vocab=160, tied=True),
        vision=_vision(16, 1, 2, 32, 40, 70),
        layout="flat",
        dtype="float32",
        shards=2,
        prefixes=("model.", "visual.", "lm_head."),
        cases=(Case("image", (Turn(7, ((28, 84),)),), steps=8),),
    ),
)

SPECS = (
    *TINY,
    Spec(
        name="gqa1_tied",
        text=_text(64, 2, (2, 2, 32), 112, (1e4, 1.0, [4, 6, 6]), tied=True),
        vision=_vision(64, 2, 2, 64, 96, 224),
        layout="nested_v5",
        dtype="bfloat16",
        shards=1,
        cases=(_TEXT_ONLY, _ONE_IMAGE, Case("long_text", (Turn(300),), steps=8)),
    ),
    Spec(
        name="gqa2_nobias_odd",
        text=_text(96, 3, (6, 3, 24), 200, (5e5, 0.5, [2, 2, 2]), bias=False),
        vision=_vision(48, 2, 2, 96, 136, 336),
        layout="flat",
        dtype="float16",
        shards=3,
        prefixes=("model.", "visual.", "lm_head."),
        cases=(
            _TEXT_ONLY,
            Case("odd_image", (Turn(10, ((61, 199),)),)),
            Case("two_images", (Turn(9, ((84, 84), (56, 112))),)),
        ),
    ),
    Spec(
        name="gqa4_v4",
        text=_text(160, 3, (8, 2, 64), 416, (5e5, 1.0, [8, 12, 12])),
        vision=_vision(128, 3, 2, 160, 288, 252),
        layout="nested_v4",
        dtype="bfloat16",
        shards=2,
        cases=(
            _TEXT_ONLY,
            _ONE_IMAGE,
            Case("turns", (Turn(8, ((84, 56),)), Turn(11), Turn(6, ((140, 140),)))),
        ),
    ),
    Spec(
        name="gqa16_newest",
        text=_text(128, 2, (16, 1, 128), 344, (1e4, 0.5, [8, 12, 12])),
        vision=_vision(128, 2, 1, 128, 200, 336),
        layout="newest",
        dtype="bfloat16",
        shards=1,
        cases=(
            _TEXT_ONLY,
            Case("four_images", (Turn(13, ((56, 56), (84, 28), (28, 140), (112, 56))),)),
            Case("wide", (Turn(7, ((56, 420),)),)),
        ),
    ),
    Spec(
        name="gqa4_hidden72",
        text=_text(72, 2, (4, 1, 32), 100, (1e4, 0.25, [1, 1, 2]), tied=True, eps=1e-6),
        vision=_vision(40, 2, 5, 72, 52, 98),
        layout="flat",
        dtype="float32",
        shards=1,
        cases=(
            _TEXT_ONLY,
            Case("small_image", (Turn(6, ((20, 33),)),)),
            Case("three_turns", (Turn(5, ((56, 56),)), Turn(7, ((84, 56),)), Turn(4, ((28, 28),)))),
        ),
    ),
    Spec(
        name="deep_v4_prefixed",
        text=_text(64, 6, (4, 2, 64), 136, (1e4, 0.5, [4, 4, 8]), vocab=777),
        vision=_vision(64, 5, 2, 64, 120, 182),
        layout="nested_v4",
        dtype="bfloat16",
        shards=1,
        prefixes=("language_model.model.", "visual.", "language_model.lm_head."),
        cases=(_TEXT_ONLY, _ONE_IMAGE, Case("photo", (Turn(30, ((301, 220),)),))),
    ),
)
