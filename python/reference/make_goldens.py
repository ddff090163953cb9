"""Writes what transformers computes, for C++ tests and compare.py to check against.

    PYTHONPATH=python python -m reference.make_goldens build/golden              # all random checkpoints, live
    PYTHONPATH=python python -m reference.make_goldens --committed tests/golden/model --mini models/glimpse-mini

Each case is NAME.json (prompt, pictures, ids, margins, errors) and NAME.safetensors:
    input_ids i32 [tokens], position_ids i32 [3, tokens], image_grid_thw i32 [images, 3],
    pixel_values f32 [patches, 1176], output_ids i32 [steps], margins f32 [steps],
    logits f32 [steps, vocab] (row 0: the last prompt position),
    stage.* f32 [rows, width] of the prefill: vision.{patch_embed, embeddings, block.N, downsample, merger},
    text.{embeddings, layer.N, norm}.
All computed in float32; "bf16_*" fields say what transformers itself does in bfloat16 on the same prompt.
"""

import argparse
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from .make_checkpoints import canonical_config, make_checkpoint
from .model import Prompt
from .oracle import Answer, answer, load_published, load_random, process_images
from .specs import SPECS, TINY, Case, Spec


def make_random(specs: tuple[Spec, ...], directory: Path) -> None:
    """DIRECTORY/NAME/checkpoint and DIRECTORY/NAME/CASE.{json,safetensors,N.png} for every spec."""
    for spec in specs:
        folder = directory / spec.name
        checkpoint = folder / "checkpoint"
        make_checkpoint(spec, checkpoint)
        float32 = load_random(checkpoint, canonical_config(spec), torch.float32)
        bfloat16 = load_random(checkpoint, canonical_config(spec), torch.bfloat16)
        for case in spec.cases:
            prompt, pictures = make_prompt(spec, case, folder)
            ours = answer(float32, prompt, case.steps, ignore_eos=True)
            theirs = answer(bfloat16, prompt, case.steps, ignore_eos=True)
            forced = answer(bfloat16, prompt, case.steps, forced=ours.ids)
            write_case(
                folder / case.name, prompt, pictures, ours, {"ignore_eos": True} | bf16_facts(ours, theirs, forced)
            )
            error = relative(forced.logits[0], ours.logits[0])
            print(f"{spec.name}/{case.name}: {len(prompt.input_ids)} tokens, bf16 error {error:.2e}")


def make_prompt(spec: Spec, case: Case, folder: Path) -> tuple[Prompt, list[str]]:
    """Random ids and pictures; every turn ends where the assistant starts, earlier turns get a short answer."""
    rng = np.random.default_rng(zlib.crc32(f"{spec.name}/{case.name}".encode()))
    special = spec.special
    ordinary = min(special.values())
    sizes = [size for turn in case.turns for size in turn.images]
    pictures = [f"{case.name}.{i}.png" for i in range(len(sizes))]
    for file, (height, width) in zip(pictures, sizes, strict=True):
        Image.fromarray(random_picture(rng, height, width)).save(folder / file)
    pixel_values, grids = process_images(folder / "checkpoint", [folder / file for file in pictures])
    ids: list[int] = []
    left = iter(grids)
    for number, turn in enumerate(case.turns):
        words = rng.integers(0, ordinary, turn.tokens).tolist()
        ids += [special["user"], *words[: turn.tokens // 3]]
        for _ in turn.images:
            _, height, width = next(left)
            ids += [special["image_start"], *[special["image"]] * (height * width // 4), special["image_end"]]
        ids += [*words[turn.tokens // 3 :], special["assistant"]]
        if number + 1 < len(case.turns):
            ids += rng.integers(0, ordinary, 5).tolist()
    return Prompt(ids, grids, pixel_values), pictures


def random_picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Colour ramps with noise: smooth and rough parts, all grey levels."""
    y, x = np.mgrid[0:height, 0:width]
    ramp = np.stack([(x * a + y * b) % 256 for a, b in rng.uniform(0.5, 4, (3, 2))], axis=-1)
    return np.clip(ramp + rng.normal(0, 20, ramp.shape), 0, 255).astype(np.uint8)


def write_case(path: Path, prompt: Prompt, pictures: list[str], ours: Answer, facts: dict[str, Any]) -> None:
    tensors = {
        "input_ids": torch.tensor(prompt.input_ids, dtype=torch.int32),
        "position_ids": ours.stages["position_ids"].int().contiguous(),
        "output_ids": torch.tensor(ours.ids, dtype=torch.int32),
        "margins": ours.margins,
        "logits": ours.logits,
    }
    if prompt.pixel_values is not None:
        tensors["image_grid_thw"] = torch.tensor(prompt.image_grid_thw, dtype=torch.int32)
        tensors["pixel_values"] = prompt.pixel_values
    stages = {f"stage.{name}": x.contiguous() for name, x in ours.stages.items() if name != "position_ids"}
    save_file(tensors | stages, path.with_name(path.name + ".safetensors"))
    case = {
        "prompt_ids": prompt.input_ids,
        "images": pictures,
        "image_grid_thw": prompt.image_grid_thw,
        "output_ids": ours.ids,
        "margins": rounded(ours.margins),
    }
    path.with_name(path.name + ".json").write_text(json.dumps(case | facts) + "\n")


def bf16_facts(ours: Answer, theirs: Answer, forced: Answer) -> dict[str, Any]:
    """What bfloat16 costs transformers: its own greedy ids, and its logits' error when fed the float32 ids."""
    return {
        "bf16_output_ids": theirs.ids,
        "bf16_margins": rounded(theirs.margins),
        "bf16_error": relative(forced.logits[0], ours.logits[0]),
        "bf16_error_all_steps": relative(forced.logits, ours.logits),
    }


def relative(x: torch.Tensor, reference: torch.Tensor) -> float:
    """‖x − reference‖₂ / ‖reference‖₂."""
    return float((x - reference).double().norm() / reference.double().norm())


def rounded(values: torch.Tensor) -> list[float]:
    return [round(value, 6) for value in values.tolist()]


def make_mini(model: Path, out: Path) -> None:
    """The samples stored with glimpse-mini: float32 and bfloat16 ids, margins, the last prompt position's logits."""
    samples = [json.loads(line) for line in (model / "samples" / "samples.jsonl").read_text().splitlines()]
    float32, bfloat16 = load_published(model, torch.float32), load_published(model, torch.bfloat16)
    logits: dict[str, torch.Tensor] = {}
    rows = []
    for sample in samples:
        files = [model / "samples" / name for name in sample["images"]]
        pixel_values, grids = process_images(model, files)
        prompt = Prompt(sample["prompt_ids"], grids, pixel_values)
        ours, theirs = answer(float32, prompt, 200), answer(bfloat16, prompt, 200)
        forced = answer(bfloat16, prompt, 200, forced=ours.ids)
        logits[f"sample_{sample['id']}"] = ours.logits[0].contiguous()
        row = {
            "id": sample["id"],
            "image_grid_thw": grids,
            "output_ids": ours.ids,
            "margins": rounded(ours.margins),
            "stored_grid_equal": grids == sample["image_grid_thw"],
            "stored_ids_equal": ours.ids == sample["generated_ids"],
        }
        rows.append(row | bf16_facts(ours, theirs, forced))
        print(
            f"mini {sample['id']}: ids {'equal' if row['stored_ids_equal'] else 'DIFFER'}, smallest margin "
            f"{min(row['margins']):.3f}, bf16 error {rows[-1]['bf16_error']:.2e}, "
            f"bf16 ids {'equal' if theirs.ids == ours.ids else 'differ'}"
        )
    out.mkdir(parents=True, exist_ok=True)
    save_file(logits, out / "mini.safetensors")
    (out / "mini.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--committed", action="store_true", help="only the tiny checkpoints")
    parser.add_argument("--mini", type=Path, help="also the samples of this glimpse-mini directory")
    args = parser.parse_args()
    torch.manual_seed(0)
    make_random(TINY if args.committed else SPECS, args.directory)
    if args.mini:
        make_mini(args.mini, args.directory)


if __name__ == "__main__":
    main()
