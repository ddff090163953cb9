"""Hugging Face transformers as the judge: loads a checkpoint into its classes and records what it computes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn
from transformers import Glm4vConfig, Glm4vForConditionalGeneration, Glm4vImageProcessor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .model import Prompt
from .vision_tower import Trace
from .weights import load_weights


@dataclass
class Answer:
    """A greedy continuation: ids, the logits [steps, vocab_size] they came from, and every stage of the prefill."""

    ids: list[int]
    logits: torch.Tensor
    stages: Trace

    @property
    def margins(self) -> torch.Tensor:
        """Top-1 minus top-2 logit of every step: a difference of ids at a tiny margin is a tie, not an error."""
        top = self.logits.topk(2, dim=-1).values
        return top[:, 0] - top[:, 1]


def load_published(directory: Path, dtype: torch.dtype) -> nn.Module:
    """A directory in a layout that transformers reads itself."""
    return Glm4vForConditionalGeneration.from_pretrained(directory, dtype=dtype).eval()


def load_random(directory: Path, canonical: dict[str, Any], dtype: torch.dtype) -> nn.Module:
    """A checkpoint of make_checkpoints.py, given what its config means; this judges config parsing as well.

    transformers' Glm4vTextAttention derives head_dim from hidden_size and always has q/k/v biases, while the configs of
    this family may say otherwise: its projections are resized to the config, missing biases are zero.
    """
    config = Glm4vConfig(**canonical)
    model = Glm4vForConditionalGeneration(config).float()
    text = canonical["text_config"]
    for layer in model.model.language_model.layers:
        attention, head_dim, hidden = layer.self_attn, text["head_dim"], text["hidden_size"]
        attention.head_dim, attention.scaling = head_dim, head_dim**-0.5
        heads, kv_heads = text["num_attention_heads"], text["num_key_value_heads"]
        attention.q_proj = nn.Linear(hidden, heads * head_dim)
        attention.k_proj = nn.Linear(hidden, kv_heads * head_dim)
        attention.v_proj = nn.Linear(hidden, kv_heads * head_dim)
        attention.o_proj = nn.Linear(heads * head_dim, hidden, bias=False)
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
            nn.init.zeros_(projection.bias)
    result = model.load_state_dict(load_weights(directory), strict=False)
    allowed = ("_proj.bias",) if not text["attention_bias"] else ()
    allowed += ("lm_head.weight",) if text["tie_word_embeddings"] else ()
    missing = [name for name in result.missing_keys if not name.endswith(allowed or ("\0",))]
    if missing or result.unexpected_keys:
        raise ValueError(f"{directory}: missing {missing}, unexpected {result.unexpected_keys}")
    model.tie_weights()
    return model.to(dtype).eval()


def process_images(directory: Path, files: list[Path]) -> tuple[torch.Tensor | None, list[list[int]]]:
    """pixel_values and image_grid_thw of picture files by the checkpoint's own image processor."""
    if not files:
        return None, []
    processor = Glm4vImageProcessor.from_pretrained(directory)
    out = processor([Image.open(file).convert("RGB") for file in files], return_tensors="pt")
    return out["pixel_values"], out["image_grid_thw"].tolist()


@torch.no_grad()
def answer(
    model: nn.Module, prompt: Prompt, max_tokens: int, ignore_eos: bool = False, forced: list[int] | None = None
) -> Answer:
    """Greedy ids from a plain loop over the model's own cache; an id that ends the answer is kept.

    With `forced`, these ids are fed instead of the model's own, so that logits of every step can be compared.
    """
    config = model.config
    eos = config.text_config.eos_token_id or ()
    stages: Trace = {}
    handles = _record(model, stages)
    ids = torch.tensor([prompt.input_ids])
    inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if prompt.pixel_values is not None:
        inputs["pixel_values"] = prompt.pixel_values
        inputs["image_grid_thw"] = torch.tensor(prompt.image_grid_thw)
        inputs["mm_token_type_ids"] = (ids == config.image_token_id).int()
    model.model.rope_deltas = None
    out = model(**inputs, use_cache=True, logits_to_keep=1)
    for handle in handles:
        handle.remove()
    rows = [out.logits[0, -1].float()]
    position = int(stages["position_ids"].max()) + 1
    output = [int(rows[0].argmax())]
    limit = len(forced) if forced is not None else max_tokens
    while len(rows) < limit and (forced is not None or ignore_eos or output[-1] not in eos):
        token = forced[len(rows) - 1] if forced is not None else output[-1]
        out = model(
            input_ids=torch.tensor([[token]]),
            position_ids=torch.full((3, 1, 1), position),
            past_key_values=out.past_key_values,
            use_cache=True,
        )
        rows.append(out.logits[0, -1].float())
        output.append(int(rows[-1].argmax()))
        position += 1
    return Answer(output, torch.stack(rows), stages)


def _record(model: nn.Module, stages: Trace) -> list[Any]:
    """Hooks that copy every stage's output under the names the reference uses."""
    visual, text = model.model.visual, model.model.language_model
    modules = {
        "vision.patch_embed": visual.patch_embed,
        "vision.embeddings": visual.embeddings,
        **{f"vision.block.{i}": block for i, block in enumerate(visual.blocks)},
        "vision.merger": visual.merger,
        **{f"text.layer.{i}": layer for i, layer in enumerate(text.layers)},
        "text.norm": text.norm,
    }

    def keep(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            output = output[0] if isinstance(output, tuple) else output
            stages[name] = output.detach().float().reshape(-1, output.shape[-1])

        return hook

    def keep_downsample(_module: nn.Module, _inputs: Any, output: BaseModelOutputWithPooling) -> None:
        stages["vision.downsample"] = output.last_hidden_state.detach().float()

    def keep_inputs(_module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        embeds = kwargs["inputs_embeds"].detach().float()
        stages["text.embeddings"] = embeds[0]
        given = kwargs["position_ids"]
        flat = torch.arange(embeds.shape[1]).expand(3, -1)  # text only: the model numbers the tokens itself
        stages["position_ids"] = flat.contiguous() if given is None else given[-3:, 0].clone()

    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    handles.append(visual.register_forward_hook(keep_downsample))
    handles.append(text.register_forward_pre_hook(keep_inputs, with_kwargs=True))
    return handles
