"""Embeddings to logits, with a growing KV cache. Mirrors src/model/text_decoder.h."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from .config import TextConfig
from .layers import attention, linear, rms_norm
from .mrope import rotate_interleaved, text_rope_tables
from .vision_tower import Trace
from .weights import Weights


@dataclass
class KvCache:
    """Per layer, keys (rotated) and values of every token so far: [num_tokens, kv_heads, head_dim]."""

    keys: dict[int, torch.Tensor] = field(default_factory=dict)
    values: dict[int, torch.Tensor] = field(default_factory=dict)

    def append(self, layer: int, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if layer in self.keys:
            k, v = torch.cat((self.keys[layer], k)), torch.cat((self.values[layer], v))
        self.keys[layer], self.values[layer] = k, v
        return k, v


def text_decoder(
    x: torch.Tensor, position_ids: torch.Tensor, cache: KvCache, weights: Weights, config: TextConfig, trace: Trace
) -> torch.Tensor:
    """x [num_tokens, hidden] of new tokens at position_ids [3, num_tokens] -> hidden states after the last norm."""
    cos, sin = text_rope_tables(position_ids, config)
    trace["text.embeddings"] = x
    for i in range(config.num_hidden_layers):
        x = decoder_layer(x, i, cos, sin, cache, weights, config)
        trace[f"text.layer.{i}"] = x
    x = rms_norm(x, weights["model.language_model.norm.weight"], config.rms_norm_eps)
    trace["text.norm"] = x
    return x


def decoder_layer(
    x: torch.Tensor,
    layer: int,
    cos: torch.Tensor,
    sin: torch.Tensor,
    cache: KvCache,
    weights: Weights,
    config: TextConfig,
) -> torch.Tensor:
    """Sandwich norms: each branch is normalised before it starts and again before it is added."""
    name = f"model.language_model.layers.{layer}."

    def norm(y: torch.Tensor, which: str) -> torch.Tensor:
        return rms_norm(y, weights[f"{name}{which}.weight"], config.rms_norm_eps)

    y = norm(x, "input_layernorm")
    q = linear(y, weights, name + "self_attn.q_proj").unflatten(-1, (config.num_attention_heads, config.head_dim))
    k = linear(y, weights, name + "self_attn.k_proj").unflatten(-1, (config.num_key_value_heads, config.head_dim))
    v = linear(y, weights, name + "self_attn.v_proj").unflatten(-1, (config.num_key_value_heads, config.head_dim))
    k, v = cache.append(layer, rotate_interleaved(k, cos, sin), v)
    y = attention(rotate_interleaved(q, cos, sin), k, v, causal=True).flatten(1)
    x = x + norm(linear(y, weights, name + "self_attn.o_proj"), "post_self_attn_layernorm")

    y = norm(x, "post_attention_layernorm")  # despite its name, the norm before the MLP
    gate, up = linear(y, weights, name + "mlp.gate_up_proj").chunk(2, dim=-1)
    return x + norm(linear(F.silu(gate) * up, weights, name + "mlp.down_proj"), "post_mlp_layernorm")


def logits(x: torch.Tensor, weights: Weights) -> torch.Tensor:
    """Tied checkpoints store no lm_head."""
    head = weights.get("lm_head.weight", weights["model.language_model.embed_tokens.weight"])
    return F.linear(x, head)
