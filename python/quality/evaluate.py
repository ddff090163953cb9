"""Runs variants of an engine over the prompts and says what each one loses against the first.

    PYTHONPATH=python python -m quality.evaluate build/quality --command 'build/release/glimpse ask --temperature 0' \\
        --variant bf16='--dtype bfloat16' --variant int8='--quantization int8' --variant int4='--quantization int4' \\
        --limit int8=0.8 --limit int4=1.5 --teacher-forced 20

An engine is any command that takes `--batch FILE --json-lines`: FILE has one {"id", "images", "question", "think"} a
line, the output one {"id", "answer", "output_ids"} a line, in any order. With --teacher-forced it is also run on the
first prompts of each task with an added "forced_ids" (the first variant's answer) and `--dump-logits FILE`: it feeds
these ids instead of its own and writes a safetensors file with a tensor [steps, vocab] f32 named by each prompt's id.
"""

import argparse
import json
import math
import shlex
import subprocess
import sys
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


def run_engine(command: str, flags: str, batch: Path, output: Path, extra: tuple[str, ...] = ()) -> list[dict]:
    """Runs the engine once; its output stays in `output`, for a later look."""
    line = [*shlex.split(command), *shlex.split(flags), "--batch", str(batch), "--json-lines", *extra]
    with output.open("w") as out:
        subprocess.run(line, stdout=out, check=True)
    return [json.loads(row) for row in output.read_text().splitlines()]


def scores_by_task(prompts: list[Prompt], answers: list[dict]) -> dict[str, list[float]]:
    by_id = {row["id"]: row for row in answers}
    missing = [prompt.id for prompt in prompts if prompt.id not in by_id]
    if missing or len(answers) != len(prompts):
        raise ValueError(f"{len(answers)} answers to {len(prompts)} prompts, missing {missing[:3]}")
    scores: dict[str, list[float]] = defaultdict(list)
    for prompt in prompts:
        scores[prompt.task].append(score(prompt, by_id[prompt.id]["answer"]))
    return dict(scores)


def write_forced_batch(prompts: list[Prompt], answers: list[dict], batch: Path, per_task: int, out: Path) -> None:
    """The first prompts of each task with the answer that every variant has to follow."""
    wanted: list[str] = []
    taken: dict[str, int] = defaultdict(int)
    for prompt in prompts:
        taken[prompt.task] += 1
        if taken[prompt.task] <= per_task:
            wanted.append(prompt.id)
    ids = {row["id"]: row["output_ids"] for row in answers}
    requests = [json.loads(line) for line in batch.read_text().splitlines()]
    chosen = [request | {"forced_ids": ids[request["id"]]} for request in requests if request["id"] in set(wanted)]
    out.write_text("".join(json.dumps(request, ensure_ascii=False) + "\n" for request in chosen))


def agreement(base: Path, other: Path) -> Agreement:
    theirs, ours = load_file(base), load_file(other)
    divergences, same = [], []
    for name, logits in theirs.items():
        p, q = log_softmax(logits), log_softmax(ours[name])
        divergences.append((np.exp(p) * (p - q)).sum(-1))
        same.append(logits.argmax(-1) == ours[name].argmax(-1))
    kl = np.concatenate(divergences)
    return Agreement(len(kl), float(kl.mean()), float(np.concatenate(same).mean()))


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
    agreements: dict[str, Agreement] = {}
    for name, flags in variants.items():
        output = args.folder / f"answers.{name}.jsonl"
        if args.reuse and output.exists():
            answers = [json.loads(line) for line in output.read_text().splitlines()]
        else:
            answers = run_engine(args.command, flags, batch, output)
        scores[name] = scores_by_task(prompts, answers)
        if args.teacher_forced:
            forced, dump = args.folder / "forced.jsonl", args.folder / f"logits.{name}.safetensors"
            if name == base:
                write_forced_batch(prompts, answers, batch, args.teacher_forced, forced)
            extra = ("--dump-logits", str(dump))
            run_engine(args.command, flags, forced, args.folder / f"forced.{name}.jsonl", extra)
            agreements[name] = agreement(args.folder / f"logits.{base}.safetensors", dump)

    print(table(scores))
    failed = False
    for name in list(variants)[1:]:
        loss = paired_loss(scores[base], scores[name])
        limit = limits.get(name, math.inf)
        failed |= loss.high > limit
        verdict = "" if name not in limits else f", upper end {'within' if loss.high <= limit else 'ABOVE'} {limit}"
        print(f"{name}: loses {loss} points against {base} (paired 95 %, mean of {len(scores[base])} tasks){verdict}")
        if args.teacher_forced:
            seen = agreements[name]
            print(f"{name}: KL {seen.kl:.2e} nats, top-1 agreement {100 * seen.top1:.2f} %, {seen.tokens} tokens")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
