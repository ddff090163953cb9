"""Prompt ids and pictures to logits and greedy ids."""

from dataclasses import dataclass
from pathlib import Path

import torch

from .config import Config, load_config
from .mrope import positions
from .text_decoder import KvCache, logits, text_decoder
from .vision_tower import Trace, vision_tower
from .weights import Weights, load_weights


@dataclass
class Prompt:
    """Token ids with every picture's placeholder expanded, and the pictures' patch rows."""

    input_ids: list[int]
    image_grid_thw: list[list[int]]
    pixel_values: torch.Tensor | None = None


@dataclass
class Model:
    config: Config
    weights: Weights

    @staticmethod
    def open(directory: Path) -> "Model":
        config = load_config(directory)
        weights = load_weights(directory)
        if config.text.tie_word_embeddings:
            weights.pop("lm_head.weight", None)
        return Model(config, weights)

    @torch.no_grad()
    def prefill(self, prompt: Prompt, cache: KvCache, trace: Trace) -> torch.Tensor:
        """Logits of the last prompt token, [vocab_size]."""
        config = self.config
        ids = torch.tensor(prompt.input_ids)
        x = self.weights["model.language_model.embed_tokens.weight"][ids]
        if prompt.pixel_values is not None:
            x = x.clone()
            x[ids == config.image_token_id] = vision_tower(
                prompt.pixel_values, prompt.image_grid_thw, self.weights, config.vision, trace
            )
        merge = config.vision.spatial_merge_size
        trace["position_ids"] = positions(prompt.input_ids, prompt.image_grid_thw, config.image_token_id, merge)
        x = text_decoder(x, trace["position_ids"], cache, self.weights, config.text, trace)
        return logits(x[-1], self.weights)

    @torch.no_grad()
    def generate(self, prompt: Prompt, max_tokens: int, ignore_eos: bool = False) -> tuple[list[int], torch.Tensor]:
        """Greedy ids and the logits each came from, [steps, vocab_size]; an id that ends the answer is kept."""
        cache, trace = KvCache(), Trace()
        rows = [self.prefill(prompt, cache, trace)]
        position = int(trace["position_ids"].max()) + 1
        ids = [int(rows[0].argmax())]
        while len(ids) < max_tokens and (ignore_eos or ids[-1] not in self.config.eos_token_ids):
            x = self.weights["model.language_model.embed_tokens.weight"][ids[-1:]]
            x = text_decoder(x, torch.full((3, 1), position), cache, self.weights, self.config.text, Trace())
            rows.append(logits(x[-1], self.weights))
            ids.append(int(rows[-1].argmax()))
            position += 1
        return ids, torch.stack(rows)
