"""Pictures to rows of the text model's width. Mirrors src/model/vision_tower.h."""

import torch
import torch.nn.functional as F

from .config import VisionConfig
from .layers import attention, linear, rms_norm
from .weights import Weights

Trace = dict[str, torch.Tensor]


def vision_tower(
    pixel_values: torch.Tensor, grids: list[list[int]], weights: Weights, config: VisionConfig, trace: Trace
) -> torch.Tensor:
    """pixel_values [num_patches, C * temporal * patch²] in merge-window order, grids [(t, h, w)] -> [tokens, out]."""
    name = "model.visual."
    x = patch_embed(pixel_values, weights)
    trace["vision.patch_embed"] = x
    x = rms_norm(x, weights[name + "post_conv_layernorm.weight"], config.rms_norm_eps)
    rows, cols, heights, widths = patch_coordinates(grids, config.spatial_merge_size)
    x = x + position_embedding(rows, cols, heights, widths, weights, config)
    trace["vision.embeddings"] = x
    cos, sin = vision_rope_tables(rows, cols, config)
    segments = [h * w for t, h, w in grids for _ in range(t)]
    for i in range(config.depth):
        x = vision_block(x, f"{name}blocks.{i}.", segments, cos, sin, weights, config)
        trace[f"vision.block.{i}"] = x
    x = rms_norm(x, weights[name + "post_layernorm.weight"], config.rms_norm_eps)
    x = downsample(x, weights, config)
    trace["vision.downsample"] = x
    x = merger(x, weights)
    trace["vision.merger"] = x
    return x


def patch_embed(pixel_values: torch.Tensor, weights: Weights) -> torch.Tensor:
    """A Conv3d whose kernel is its stride: one matrix product per patch row."""
    weight = weights["model.visual.patch_embed.proj.weight"].flatten(1)
    return F.linear(pixel_values, weight, weights["model.visual.patch_embed.proj.bias"])


def patch_coordinates(grids: list[list[int]], merge: int) -> tuple[torch.Tensor, ...]:
    """Row, column, and the grid's height and width of every patch, in merge-window order."""
    parts = []
    for t, h, w in grids:
        row = torch.arange(h)[:, None].expand(h, w)
        col = torch.arange(w)[None, :].expand(h, w)
        order = (h // merge, merge, w // merge, merge)
        row, col = (x.reshape(order).transpose(1, 2).flatten().repeat(t) for x in (row, col))
        parts.append((row, col, torch.full_like(row, h), torch.full_like(row, w)))
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def position_embedding(
    rows: torch.Tensor,
    cols: torch.Tensor,
    heights: torch.Tensor,
    widths: torch.Tensor,
    weights: Weights,
    config: VisionConfig,
) -> torch.Tensor:
    """The learned square table sampled bicubically (A = -0.75, no antialias), each tap clamped to the border."""
    side = config.table_side
    table = weights["model.visual.embeddings.position_embedding.weight"].view(side, side, -1)
    y_taps, y_weights = cubic_taps(rows, heights, side)
    x_taps, x_weights = cubic_taps(cols, widths, side)
    out = torch.zeros(len(rows), table.shape[-1])
    for i in range(4):
        for j in range(4):
            out += (y_weights[i] * x_weights[j])[:, None] * table[y_taps[i], x_taps[j]]
    return out


def cubic_taps(index: torch.Tensor, count: torch.Tensor, side: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Four clamped source indices and weights for the centre of cell `index` of `count`."""
    normalised = ((index + 0.5) / count.float()) * 2 - 1
    source = ((normalised + 1) * side - 1) / 2
    low = source.floor()
    t = source - low
    a = -0.75

    def near(s: torch.Tensor) -> torch.Tensor:
        return ((a + 2) * s - (a + 3)) * s * s + 1

    def far(s: torch.Tensor) -> torch.Tensor:
        return ((a * s - 5 * a) * s + 8 * a) * s - 4 * a

    taps = [(low.long() + k).clamp(0, side - 1) for k in (-1, 0, 1, 2)]
    return taps, [far(t + 1), near(t), near(1 - t), far(2 - t)]


def vision_rope_tables(
    rows: torch.Tensor, cols: torch.Tensor, config: VisionConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin [num_patches, head_dim / 2]: the row's angles, then the column's, with the same frequencies."""
    half = config.head_dim // 2
    frequencies = 1.0 / (config.rope_theta ** (torch.arange(0, half, 2, dtype=torch.float32) / half))
    angles = torch.cat((rows[:, None] * frequencies, cols[:, None] * frequencies), dim=-1)
    return angles.cos(), angles.sin()


def rotate_half_split(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotates pairs (i, i + head_dim / 2); x is [num_patches, heads, head_dim]."""
    low, high = x.chunk(2, dim=-1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1)


def vision_block(
    x: torch.Tensor,
    name: str,
    segments: list[int],
    cos: torch.Tensor,
    sin: torch.Tensor,
    weights: Weights,
    config: VisionConfig,
) -> torch.Tensor:
    """Attention within each picture only, then the gated MLP; both pre-norm."""
    y = rms_norm(x, weights[name + "norm1.weight"], config.rms_norm_eps)
    q, k, v = linear(y, weights, name + "attn.qkv").view(len(y), 3, config.num_heads, config.head_dim).unbind(1)
    q, k = rotate_half_split(q, cos, sin), rotate_half_split(k, cos, sin)
    parts = zip(q.split(segments), k.split(segments), v.split(segments), strict=True)
    y = torch.cat([attention(*part, causal=False) for part in parts]).flatten(1)
    x = x + linear(y, weights, name + "attn.proj")
    y = rms_norm(x, weights[name + "norm2.weight"], config.rms_norm_eps)
    y = F.silu(linear(y, weights, name + "mlp.gate_proj")) * linear(y, weights, name + "mlp.up_proj")
    return x + linear(y, weights, name + "mlp.down_proj")


def downsample(x: torch.Tensor, weights: Weights, config: VisionConfig) -> torch.Tensor:
    """A Conv2d over each merge window: windows are contiguous rows, so it is one product."""
    window = config.spatial_merge_size**2
    weight = weights["model.visual.downsample.weight"].permute(0, 2, 3, 1).flatten(1)
    return F.linear(x.reshape(len(x) // window, -1), weight, weights["model.visual.downsample.bias"])


def merger(x: torch.Tensor, weights: Weights) -> torch.Tensor:
    name = "model.visual.merger."
    x = linear(x, weights, name + "proj")
    norm = name + "post_projection_norm."
    x = F.gelu(F.layer_norm(x, x.shape[-1:], weights[norm + "weight"], weights[norm + "bias"], 1e-5))
    x = F.silu(linear(x, weights, name + "gate_proj")) * linear(x, weights, name + "up_proj")
    return linear(x, weights, name + "down_proj")
