"""Our own float32 reference against transformers, stage by stage."""

import json
from pathlib import Path

import pytest
import torch
from reference.model import Model, Prompt
from reference.oracle import answer, load_published, process_images
from reference.specs import SPECS, TINY
from reference.text_decoder import KvCache
from reference.vision_tower import Trace
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]

# Both sides sum in float32 in different orders: 6 layers of width <= 256 stay below this, a wrong formula is at 1e-2.
TOLERANCE = 2e-5


def relative(x: torch.Tensor, reference: torch.Tensor) -> float:
    return float((x - reference).norm() / reference.norm())


@pytest.mark.parametrize("name", [f"{spec.name}/{case.name}" for spec in SPECS for case in spec.cases])
def test_every_stage_equals_transformers(goldens: Path, name: str) -> None:
    golden = load_file(goldens / f"{name}.safetensors")
    case = json.loads((goldens / f"{name}.json").read_text())
    model = Model.open((goldens / name).parent / "checkpoint")
    prompt = Prompt(case["prompt_ids"], case["image_grid_thw"], golden.get("pixel_values"))
    trace = Trace()
    logits = model.prefill(prompt, KvCache(), trace)
    assert torch.equal(trace.pop("position_ids").int(), golden["position_ids"])
    stages = {key.removeprefix("stage."): value for key, value in golden.items() if key.startswith("stage.")}
    assert trace.keys() == stages.keys()
    for stage, value in trace.items():
        assert relative(value, stages[stage]) < TOLERANCE, stage
    assert relative(logits, golden["logits"][0]) < TOLERANCE
    ids, rows = model.generate(prompt, len(case["output_ids"]), ignore_eos=True)
    assert ids == case["output_ids"]
    assert relative(rows, golden["logits"]) < TOLERANCE


def test_committed_goldens_are_current(goldens: Path) -> None:
    """What the C++ tests read is what transformers computes today; weights and pixels exactly."""
    for spec in TINY:
        for case in spec.cases:
            fresh = load_file(goldens / spec.name / f"{case.name}.safetensors")
            committed = load_file(ROOT / "tests" / "golden" / "model" / spec.name / f"{case.name}.safetensors")
            assert fresh.keys() == committed.keys()
            for key, value in fresh.items():
                if value.is_floating_point():
                    assert relative(value, committed[key]) < TOLERANCE, key
                else:
                    assert torch.equal(value, committed[key]), key


def test_mini_samples_equal_transformers(mini: Path) -> None:
    """The stored ids, and the logits stored for four of the samples (those were computed on another device)."""
    model = Model.open(mini)
    judge = load_published(mini, torch.float32)
    stored = load_file(mini / "samples" / "logits.safetensors")
    for line in (mini / "samples" / "samples.jsonl").read_text().splitlines():
        sample = json.loads(line)
        pixel_values, grids = process_images(mini, [mini / "samples" / name for name in sample["images"]])
        assert grids == sample["image_grid_thw"]
        prompt = Prompt(sample["prompt_ids"], grids, pixel_values)
        theirs = answer(judge, prompt, 200)
        ids, rows = model.generate(prompt, 200)
        assert ids == theirs.ids == sample["generated_ids"], sample["id"]
        assert relative(rows, theirs.logits) < TOLERANCE, sample["id"]
        if sample["logits"]:
            assert relative(rows[0], stored[sample["logits"]]) < 1e-4, sample["id"]
