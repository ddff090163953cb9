"""Writes tests/sampling/goldens/distributions.json: for logits and sampling parameters, the probabilities that
transformers' logits processors leave (penalties of frequency and presence, which it lacks, as in the OpenAI API
reference: logit - count * frequency - (count > 0) * presence).

    python python/reference/make_sampling_goldens.py
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import torch
import transformers
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

ROOT = Path(__file__).resolve().parents[2]
UNIT = 1024
VOCAB = 300  # more than one block of the sampler's passes, and no multiple of one


def probabilities(logits: list[float], p: dict, prompt: list[int], output: list[int]) -> list[float]:
    scores = torch.tensor([logits], dtype=torch.float64)
    for token, bias in p.get("logit_bias", []):
        scores[0, token] += bias
    if len(output) < p.get("min_tokens", 0):
        for token in p.get("stop_token_ids", []):
            scores[0, token] = -torch.inf
    ids = torch.tensor([prompt + output], dtype=torch.long)
    if p.get("repetition_penalty", 1) != 1 and ids.numel() > 0:
        scores = RepetitionPenaltyLogitsProcessor(p["repetition_penalty"])(ids, scores)
    for token in set(output):
        scores[0, token] -= output.count(token) * p.get("frequency_penalty", 0) + p.get("presence_penalty", 0)
    if p.get("temperature", 1) != 1:
        scores = TemperatureLogitsWarper(float(p["temperature"]))(ids, scores)
    if p.get("top_k", 0) > 0:
        scores = TopKLogitsWarper(p["top_k"])(ids, scores)
    if p.get("top_p", 1) < 1:
        scores = TopPLogitsWarper(p["top_p"])(ids, scores)
    if p.get("min_p", 0) > 0:
        scores = MinPLogitsWarper(p["min_p"])(ids, scores)
    return scores.softmax(-1)[0].tolist()


CASES: list[dict] = [
    {},
    {"temperature": 0.5},
    {"temperature": 2.5},
    {"top_k": 1},
    {"top_k": 7},
    {"top_k": 299},
    {"top_k": 1000},
    {"top_p": 0.0001},
    {"top_p": 0.37},
    {"top_p": 0.9},
    {"top_p": 0.9999},
    {"min_p": 0.1},
    {"min_p": 1.0},
    {"temperature": 0.7, "top_k": 40, "top_p": 0.8, "min_p": 0.02},
    {"temperature": 1.6, "top_k": 12, "top_p": 0.55},
    {"temperature": 1.3, "top_p": 0.7, "min_p": 0.3},
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.8, "temperature": 0.9},
    {"frequency_penalty": 0.7},
    {"frequency_penalty": -1.1},
    {"presence_penalty": 1.5},
    {"repetition_penalty": 1.2, "frequency_penalty": 0.4, "presence_penalty": 0.6, "top_p": 0.95, "top_k": 60},
    {"logit_bias": [[3, 5.0], [280, 7.5], [9, -100.0]]},
    {"logit_bias": [[3, 5.0]], "repetition_penalty": 1.5, "temperature": 1.2},
    {"min_tokens": 9, "stop_token_ids": [0, 5, 299]},
    {"min_tokens": 2, "stop_token_ids": [0, 5, 299], "top_k": 20},
]


def main() -> None:
    rng = random.Random(0)
    golden = []
    for i, params in enumerate(CASES):
        # Multiples of 1/1024, exact in every float type; no two alike, because transformers keeps the higher id of
        # equals, or all of them, where we keep the lower.
        spread = 4 if i % 3 else 9
        distinct: dict[int, None] = {}
        while len(distinct) < VOCAB:
            distinct[round(rng.gauss(0, 1) * spread / 3 * UNIT)] = None
        logits = [x / UNIT for x in distinct]
        prompt = [rng.randrange(VOCAB) for _ in range(20)]
        output = [rng.choice([1, 2, 3, 280, rng.randrange(VOCAB)]) for _ in range(6)]
        p = probabilities(logits, params, prompt, output)
        golden.append(
            {
                "params": params,
                "logits": list(distinct),
                "prompt": prompt,
                "output": output,
                "probabilities": {str(t): round(x, 9) for t, x in enumerate(p) if x > 0},
            }
        )
    path = ROOT / "tests/sampling/goldens/distributions.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    made_by = f"python/reference/make_sampling_goldens.py, transformers {transformers.__version__}"
    path.write_text(json.dumps({"made_by": made_by, "logits_unit": UNIT, "cases": golden}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
