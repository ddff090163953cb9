"""Positions of tokens on three axes (time, height, width) and the text's rotary tables. Mirrors src/model/mrope.h."""

import torch

from .config import TextConfig


def positions(input_ids: list[int], image_grid_thw: list[list[int]], image_token_id: int, merge: int) -> torch.Tensor:
    """i64 [3, num_tokens]: a picture's tokens spread over height and width, the text after it goes on past the largest.

    One pass over all turns; pictures are consumed in order. A run of image tokens is one picture (t = 1).
    """
    rows: list[tuple[int, int, int]] = []
    grids = iter(image_grid_thw)
    next_position = 0
    token = 0
    while token < len(input_ids):
        if input_ids[token] != image_token_id:
            rows.append((next_position, next_position, next_position))
            next_position += 1
            token += 1
            continue
        _, height, width = next(grids)
        height, width = height // merge, width // merge
        rows += [(next_position, next_position + r, next_position + c) for r in range(height) for c in range(width)]
        next_position += max(height, width)
        token += height * width
    return torch.tensor(rows, dtype=torch.int64).T.contiguous()


def text_rope_tables(position_ids: torch.Tensor, config: TextConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin, f32 [num_tokens, rotary_dim / 2]; position_ids is [3, num_tokens].

    Frequency i turns by the axis its section belongs to; sections are contiguous and cycle through t, h, w.
    """
    dim = config.rotary_dim
    frequencies = 1.0 / (config.rope_theta ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim))
    axis = torch.tensor([i % 3 for i, count in enumerate(config.mrope_section) for _ in range(count)])
    angles = position_ids[axis].T.float() * frequencies
    return angles.cos(), angles.sin()


def rotate_interleaved(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotates pairs (2i, 2i + 1) of the first rotary_dim dims; x is [num_tokens, heads, head_dim]."""
    rotary_dim = 2 * cos.shape[-1]
    even, odd = x[..., 0:rotary_dim:2], x[..., 1:rotary_dim:2]
    cos, sin = cos[:, None], sin[:, None]
    rotated = torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1).flatten(-2)
    return torch.cat((rotated, x[..., rotary_dim:]), dim=-1)
