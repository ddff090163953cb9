"""The generator, the scorer and the statistics behind the accuracy figures."""

import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from quality.evaluate import agreement, first_of_each_task, run_engine, scores_by_task, teacher_forced
from quality.prompts import TASKS, Prompt, make_prompt
from quality.score import score
from quality.statistics import paired_loss
from train.renderer import Renderer
from train.scenes import sample


def test_the_same_seed_gives_the_same_world(tmp_path: Path) -> None:
    renderer = Renderer(tmp_path)
    for seed in range(5):
        first, second = (sample(random.Random(seed)) for _ in range(2))
        assert first["turns"] == second["turns"]
        for one, other in zip(first["images"], second["images"], strict=True):
            assert np.array_equal(renderer.render(one), renderer.render(other))


@pytest.mark.parametrize("task", list(TASKS))
def test_every_task_makes_prompts_that_its_own_answer_solves(tmp_path: Path, task: str) -> None:
    (tmp_path / "images").mkdir()
    for number in range(3):
        prompt = make_prompt(tmp_path, 7, (task, number))
        assert prompt.task == task
        assert prompt.question
        assert prompt.images
        assert all((tmp_path / file).stat().st_size > 100 for file in prompt.images)
        assert score(prompt, "\n" + prompt.expected) == 1.0
        assert score(prompt, "nonsense") == 0.0
        assert score(prompt, "") == 0.0


def test_a_tap_may_be_off_by_half_an_icon() -> None:
    expected = 'do(action="Tap", element=[500,300])'
    prompt = Prompt("tap_0", "tap", "en", [], "Open it", False, expected, tolerance=[40.0, 20.0])
    assert score(prompt, 'do(action="Tap", element=[540,280])') == 1.0
    assert score(prompt, 'do(action="Tap", element=[541,300])') == 0.0
    assert score(prompt, 'do(action="Tap", element=[500])') == 0.0


def test_thinking_is_not_the_answer() -> None:
    prompt = Prompt("name_0", "name", "en", [], "What is this?", True, "This is a cat.")
    assert score(prompt, "<think>It is a dog.</think>\nThis is a cat.") == 1.0


def test_paired_loss_of_a_known_difference() -> None:
    base = {"a": [1.0] * 400, "b": [1.0] * 100}
    other = {"a": [1.0] * 392 + [0.0] * 8, "b": [1.0] * 100}
    loss = paired_loss(base, other)
    assert loss.mean == pytest.approx(1.0)  # 2 points of one of two tasks
    # The standard error of 8 losses in 400 is 0.70 points, halved by the second task.
    assert loss.low == pytest.approx(1.0 - 1.96 * 0.35, abs=0.1)
    assert loss.high == pytest.approx(1.0 + 1.96 * 0.35, abs=0.1)
    same = paired_loss(base, base)
    assert (same.mean, same.low, same.high) == (0.0, 0.0, 0.0)


def test_interval_covers_the_truth() -> None:
    """Of 200 experiments with a true loss of 1 point, about 95 % should cover it."""
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(200):
        base = {task: np.ones(400) for task in "abcd"}
        other = {task: (rng.random(400) > 0.01).astype(float) for task in "abcd"}
        loss = paired_loss(base, other, samples=1000)
        covered += loss.low <= 1.0 <= loss.high
    assert covered >= 180


def test_agreement() -> None:
    logits = np.array([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]], np.float32)
    same = agreement([logits], [logits + 5.0])  # the same distribution
    assert same.tokens == 2
    assert same.kl == pytest.approx(0.0, abs=1e-6)
    assert same.top1 == 1.0
    other = agreement([logits], [logits[:, ::-1]])
    assert other.kl > 0.5
    assert other.top1 == 0.0


# An engine that answers every question with its id; its logits say how many ids it was given.
ENGINE = """
import argparse, json, numpy, safetensors.numpy
parser = argparse.ArgumentParser()
parser.add_argument("--ignore-eos", action="store_true")
for name in ("--batch", "--prompt-ids", "--dump-logits", "--max-tokens", "--image"):
    parser.add_argument(name)
parser.add_argument("--json", action="store_true")
args = parser.parse_args()
if args.batch:
    for line in open(args.batch):
        id = json.loads(line)["id"]
        print(json.dumps({"id": id, "answer": id, "prompt_ids": [7, 8], "output_ids": [1, 2]}))
else:
    logits = numpy.full((1, 4), len(json.load(open(args.prompt_ids))), numpy.float32)
    safetensors.numpy.save_file({"logits": logits}, args.dump_logits)
"""


def test_batch_protocol(tmp_path: Path) -> None:
    prompts = [Prompt(f"name_{i}", "name", "en", [], "What?", False, f"name_{i}") for i in range(3)]
    batch = tmp_path / "batch.jsonl"
    requests = [{"id": p.id, "images": [], "question": p.question, "think": False} for p in prompts]
    batch.write_text("".join(json.dumps(request) + "\n" for request in requests))
    (tmp_path / "engine.py").write_text(ENGINE)
    command = f"{sys.executable} {tmp_path}/engine.py"
    answers = run_engine(command, "", batch, tmp_path / "out.jsonl")
    assert scores_by_task(prompts, answers) == {"name": [1.0, 1.0, 1.0]}
    with pytest.raises(ValueError, match="missing"):
        scores_by_task(prompts, answers[1:])
    assert [prompt.id for prompt in first_of_each_task(prompts, 2)] == ["name_0", "name_1"]
    assert teacher_forced(command, "", answers[0], []).tolist() == [[2.0] * 4, [3.0] * 4]
