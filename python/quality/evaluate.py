"""Runs variants of an engine over the prompts and says what each one loses against the first.

    PYTHONPATH=python python -m quality.evaluate build/quality --command 'build/release/glimpse ask --temperature 0' \\
        --variant bf16='--dtype bfloat16' --variant int8='--quantization int8' --variant int4='--quantization int4' \\
        --limit int8=0.8 --limit int4=1.5 --teacher-forced 5

An engine is any command that takes `--batch FILE`: FILE has one {"id", "images", "question", "think"} a line, the
output one {"id", "answer", "prompt_ids", "output_ids"} a line, in any order. --teacher-forced runs it again for each
token of the first variant's answers to the first prompts of each task, as `--prompt-ids FILE --image F --max-tokens 1
--dump-logits FILE`: the prompt and the answer so far in, the logits of the next token out (a safetensors file with
"logits" [1, vocab] f32).
"""

import argparse
import json
import math
import shlex
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from .prompts import Prompt, read_prompts
from .score import score
from .statistics import paired_loss


@dataclass
class Agreement:
    """Teacher-forced: how far the next-token distributions are from the first variant's."""

    tokens: int
    kl: float  # mean over tokens of KL(base || variant), nats
    top1: float  # share of tokens where both like the same token best


def run_engine(command: str, flags: str, batch: Path, output: Path) -> list[dict]:
    """Runs the engine once; its output stays in `output`, for a later look."""
    line = [*shlex.split(command), *shlex.split(flags), "--batch", str(batch)]
    with output.open("w") as out:
        subprocess.run(line, stdout=out, check=True)
    return read_rows(output)


def read_rows(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def scores_by_task(prompts: list[Prompt], answers: list[dict]) -> dict[str, list[float]]:
    by_id = {row["id"]: row for row in answers}
    missing = [prompt.id for prompt in prompts if prompt.id not in by_id]
    if missing or len(answers) != len(prompts):
        raise ValueError(f"{len(answers)} answers to {len(prompts)} prompts, missing {missing[:3]}")
    scores: dict[str, list[float]] = defaultdict(list)
    for prompt in prompts:
        scores[prompt.task].append(score(prompt, by_id[prompt.id]["answer"]))
    return dict(scores)


def first_of_each_task(prompts: list[Prompt], count: int) -> list[Prompt]:
    seen: dict[str, int] = defaultdict(int)
    chosen = []
    for prompt in prompts:
        seen[prompt.task] += 1
        if seen[prompt.task] <= count:
            chosen.append(prompt)
    return chosen


def teacher_forced(command: str, flags: str, row: dict, images: list[Path]) -> np.ndarray:
    """Logits [steps, vocab] of an answer's tokens, each given the prompt and the answer's earlier tokens."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        ids, dump = Path(folder) / "ids.json", Path(folder) / "logits.safetensors"
        line = [*shlex.split(command), *shlex.split(flags), "--prompt-ids", str(ids), "--max-tokens", "1", "--ignore-eos"]
        line += ["--json", "--dump-logits", str(dump)]
        for image in images:
            line += ["--image", str(image)]
        for step in range(len(row["output_ids"])):
            ids.write_text(json.dumps(row["prompt_ids"] + row["output_ids"][:step]))
            subprocess.run(line, stdout=subprocess.DEVNULL, check=True)
            rows.append(load_file(dump)["logits"][0])
    return np.stack(rows)


def agreement(base: list[np.ndarray], other: list[np.ndarray]) -> Agreement:
    theirs, ours = np.concatenate(base), np.concatenate(other)
    p, q = log_softmax(theirs), log_softmax(ours)
    kl = (np.exp(p) * (p - q)).sum(-1)
    return Agreement(len(kl), float(kl.mean()), float((theirs.argmax(-1) == ours.argmax(-1)).mean()))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    x = logits.astype(np.float64)
    x -= x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def named(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def table(scores: dict[str, dict[str, list[float]]]) -> str:
    """Per task, the share of right answers of every variant."""
    base = next(iter(scores.values()))
    lines = ["| task | n | " + " | ".join(scores) + " |", "| --- | ---: |" + " ---: |" * len(scores)]
    for task, values in base.items():
        shares = " | ".join(f"{100 * np.mean(variant[task]):.1f}" for variant in scores.values())
        lines.append(f"| {task} | {len(values)} | {shares} |")
    means = " | ".join(f"{100 * np.mean([np.mean(v) for v in variant.values()]):.2f}" for variant in scores.values())
    lines.append(f"| mean of tasks | {sum(map(len, base.values()))} | {means} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what quality.prompts wrote")
    parser.add_argument("--command", required=True, help="the engine, without the variants' flags")
    parser.add_argument("--variant", action="append", required=True, type=named, metavar="NAME=FLAGS")
    parser.add_argument("--limit", action="append", default=[], type=named, metavar="NAME=POINTS")
    parser.add_argument("--teacher-forced", type=int, default=0, metavar="N", help="prompts a task for KL and top-1")
    parser.add_argument("--reuse", action="store_true", help="score answers that an earlier run left")
    args = parser.parse_args()
    prompts = read_prompts(args.folder)
    batch = args.folder / "batch.jsonl"
    variants, limits = dict(args.variant), {name: float(value) for name, value in args.limit}
    base = next(iter(variants))

    scores: dict[str, dict[str, list[float]]] = {}
    forced: dict[str, list[np.ndarray]] = {}
    answers: dict[str, list[dict]] = {}
    for name, flags in variants.items():
        output = args.folder / f"answers.{name}.jsonl"
        reuse = args.reuse and output.exists()
        answers[name] = read_rows(output) if reuse else run_engine(args.command, flags, batch, output)
        scores[name] = scores_by_task(prompts, answers[name])
        by_id = {row["id"]: row for row in answers[base]}
        forced[name] = [
            teacher_forced(args.command, flags, by_id[prompt.id], [args.folder / file for file in prompt.images])
            for prompt in first_of_each_task(prompts, args.teacher_forced)
        ]

    print(table(scores))
    failed = False
    for name in list(variants)[1:]:
        loss = paired_loss(scores[base], scores[name])
        limit = limits.get(name, math.inf)
        failed |= loss.high > limit
        verdict = "" if name not in limits else f", upper end {'within' if loss.high <= limit else 'ABOVE'} {limit}"
        print(f"{name}: loses {loss} points against {base} (paired 95 %, mean of {len(scores[base])} tasks){verdict}")
        if args.teacher_forced:
            seen = agreement(forced[base], forced[name])
            print(f"{name}: KL {seen.kl:.2e} nats, top-1 agreement {100 * seen.top1:.2f} %, {seen.tokens} tokens")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
