"""Runs a built `glimpse ask` over the goldens and explains every difference from transformers.

    PYTHONPATH=python python -m reference.compare build/golden --binary build/release/glimpse [--dtype bfloat16]

The limits: float32 logits within 1e-4, bfloat16 within twice transformers' own bfloat16 error on the same prompt; ids
equal, except where the first difference is a near tie: the two best logits lie closer than the logits' own tolerance.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

FLOAT32_LIMIT = 1e-4
# Two bfloat16 programs round differently; each may be off by transformers' own error, hence the factor.
BFLOAT16_FACTOR = 2.0


@dataclass
class Golden:
    """One prompt and what transformers makes of it."""

    name: str
    model: Path
    images: list[Path]
    prompt_ids: list[int]
    output_ids: list[int]  # in the dtype under test
    margins: list[float]
    logits: torch.Tensor  # float32, last prompt position
    bf16_error: float
    ignore_eos: bool


@dataclass
class Verdict:
    name: str
    error: float
    limit: float
    ids_equal: bool
    near_tie: str | None  # the explanation when ids differ at one

    @property
    def ok(self) -> bool:
        return self.error <= self.limit and (self.ids_equal or self.near_tie is not None)

    def __str__(self) -> str:
        ids = "ids equal" if self.ids_equal else f"ids differ: {self.near_tie or 'NOT a near tie'}"
        mark = "ok  " if self.ok else "FAIL"
        return f"{mark} {self.name}: logits {self.error:.2e} ({self.error / self.limit:.2f} of the limit), {ids}"


def random_goldens(directory: Path, dtype: str) -> Iterator[Golden]:
    """Every case under a folder that make_goldens.make_random wrote."""
    for file in sorted(directory.glob("*/*.json")):
        case = json.loads(file.read_text())
        prefix = "" if dtype == "float32" else "bf16_"
        yield Golden(
            name=f"{file.parent.name}/{file.stem}",
            model=file.parent / "checkpoint",
            images=[file.parent / name for name in case["images"]],
            prompt_ids=case["prompt_ids"],
            output_ids=case[prefix + "output_ids"],
            margins=case[prefix + "margins"],
            logits=load_file(file.with_suffix(".safetensors"))["logits"][0],
            bf16_error=case["bf16_error"],
            ignore_eos=True,
        )


def mini_goldens(model: Path, directory: Path, dtype: str) -> Iterator[Golden]:
    """The samples stored with glimpse-mini, joined with the committed mini.jsonl and mini.safetensors."""
    logits = load_file(directory / "mini.safetensors")
    rows = {row["id"]: row for row in map(json.loads, (directory / "mini.jsonl").read_text().splitlines())}
    prefix = "" if dtype == "float32" else "bf16_"
    for sample in map(json.loads, (model / "samples" / "samples.jsonl").read_text().splitlines()):
        row = rows[sample["id"]]
        yield Golden(
            name=f"mini/{sample['id']}_{sample['task']}",
            model=model,
            images=[model / "samples" / name for name in sample["images"]],
            prompt_ids=sample["prompt_ids"],
            output_ids=row[prefix + "output_ids"],
            margins=row[prefix + "margins"],
            logits=logits[f"sample_{sample['id']}"],
            bf16_error=row["bf16_error"],
            ignore_eos=False,
        )


def run_engine(binary: Path, golden: Golden, dtype: str) -> tuple[list[int], torch.Tensor]:
    """Ids and last-position logits of `glimpse ask` on the golden's prompt ids and pictures."""
    with tempfile.TemporaryDirectory() as folder:
        prompt, dump = Path(folder) / "prompt.json", Path(folder) / "logits.safetensors"
        prompt.write_text(json.dumps(golden.prompt_ids))
        command = [binary, "ask", "--model", golden.model, "--dtype", dtype, "--prompt-ids", prompt, "--json"]
        command += ["--max-tokens", str(len(golden.output_ids)), "--temperature", "0", "--dump-logits", dump]
        command += ["--ignore-eos"] if golden.ignore_eos else []
        for image in golden.images:
            command += ["--image", image]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{golden.name}: exit {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)["output_ids"], load_file(dump)["logits"][0].float()


def judge(golden: Golden, ids: list[int], logits: torch.Tensor, dtype: str) -> Verdict:
    difference = (logits - golden.logits).double()
    error = float(difference.norm() / golden.logits.double().norm())
    limit = FLOAT32_LIMIT if dtype == "float32" else BFLOAT16_FACTOR * golden.bf16_error
    equal = ids == golden.output_ids
    return Verdict(golden.name, error, limit, equal, None if equal else explain(golden, ids, limit))


def explain(golden: Golden, ids: list[int], limit: float) -> str | None:
    """Where ids first differ and why that is a tie; None when it is not.

    Logits may be off by `limit` of their norm, spread over the vocabulary: per logit that is limit * rms. Two logits
    whose gap is below four such deviations may swap. After the first difference there is nothing to compare.
    """
    pairs = zip(ids, golden.output_ids, strict=False)
    step = next((i for i, (ours, theirs) in enumerate(pairs) if ours != theirs), None)
    if step is None:
        return None
    margin = golden.margins[step]
    deviation = limit * float(golden.logits.double().pow(2).mean().sqrt())
    if margin > 4 * deviation:
        return None
    return f"near tie at step {step}, margin {margin:.2e}, logits may deviate by {deviation:.2e}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("goldens", type=Path, help="a folder that make_goldens wrote")
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--mini", type=Path, help="the glimpse-mini directory, when the folder has its goldens")
    args = parser.parse_args()
    goldens = list(random_goldens(args.goldens, args.dtype))
    if args.mini:
        goldens += mini_goldens(args.mini, args.goldens, args.dtype)
    verdicts = [judge(golden, *run_engine(args.binary, golden, args.dtype), args.dtype) for golden in goldens]
    for verdict in verdicts:
        print(verdict)
    failed = sum(not verdict.ok for verdict in verdicts)
    worst = max(verdict.error / verdict.limit for verdict in verdicts)
    print(f"{len(verdicts) - failed} of {len(verdicts)} ok; worst error {worst:.2f} of its limit")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
