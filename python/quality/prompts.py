"""Held-out pictures and questions with exact answers.

    PYTHONPATH=python python -m quality.prompts build/quality --per-task 400 --seed 1

writes build/quality/images/*.png, prompts.jsonl (what the scorer needs) and batch.jsonl (what an engine needs). The
same arguments give the same bytes. Training drew from integer seeds, these come from strings: other streams.
"""

import argparse
import io
import json
import multiprocessing
import random
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from PIL import Image
from train.renderer import Renderer
from train.scenes import sample


@dataclass(frozen=True)
class Task:
    scene: str
    question: str  # the kind of question to force
    hint: str | None = None  # makes the scene one where that question has an answer


TASKS = {
    "name": Task("objects", "name", "name"),
    "describe": Task("objects", "describe"),
    "count": Task("objects", "count", "count"),
    "where": Task("objects", "where"),
    "ocr": Task("ocr", "ocr"),
    "chart_value": Task("chart", "chart_value"),
    "chart_max": Task("chart", "chart_max"),
    "chart_predict": Task("chart", "chart_predict", "predict"),
    "compare": Task("pair", "compare"),
    "diet": Task("plate", "diet"),
    "tap": Task("phone", "tap"),
}


@dataclass
class Prompt:
    id: str
    task: str
    lang: str
    images: list[str]  # relative to the folder of the file this stands in
    question: str
    think: bool
    expected: str
    tolerance: list[float] | None = None  # of a tap, in thousandths of the picture's width and height
    resized: bool = field(default=False)


def read_prompts(folder: Path) -> list[Prompt]:
    return [Prompt(**json.loads(line)) for line in (folder / "prompts.jsonl").read_text().splitlines()]


_renderer: Renderer | None = None  # one per worker process


def make_prompt(folder: Path, seed: int, job: tuple[str, int]) -> Prompt:
    global _renderer
    _renderer = _renderer or Renderer(folder / "cache")
    name, number = job
    task = TASKS[name]
    rng = random.Random(f"held-out-{seed}-{name}-{number}")
    scene = sample(rng, task.scene, task.question, None, False, task.hint)
    _, question, expected, _ = scene["turns"][0]
    resize = rng.random() < 0.3
    files = []
    for i, canvas in enumerate(scene["images"]):
        picture = Image.fromarray(_renderer.render(canvas))
        if resize:
            picture = disturb(picture, rng, task.scene)
        files.append(f"images/{name}_{number:04d}_{i}.png")
        picture.save(folder / files[-1])
    tolerance = getattr(scene["images"][0], "tol", None) if scene["images"] else None
    tolerance = list(tolerance) if tolerance else None
    return Prompt(f"{name}_{number:04d}", name, scene["lang"], files, question, False, expected, tolerance, resize)


def disturb(picture: Image.Image, rng: random.Random, scene: str) -> Image.Image:
    """Another size than the model's grid, sometimes through JPEG: what happens to pictures on their way to a model."""
    low = 1.0 if scene in ("ocr", "chart", "phone") else 0.85
    factor = rng.uniform(low, 1.7)
    size = (round(picture.width * factor), round(picture.height * factor))
    picture = picture.resize(size, rng.choice((Image.Resampling.BICUBIC, Image.Resampling.BILINEAR)))
    if rng.random() < 0.4:
        data = io.BytesIO()
        picture.save(data, "JPEG", quality=85)
        picture = Image.open(data).convert("RGB")
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--per-task", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    (args.folder / "images").mkdir(parents=True, exist_ok=True)
    Renderer(args.folder / "cache")  # compile once, before the workers start
    jobs = [(task, number) for task in args.tasks for number in range(args.per_task)]
    with multiprocessing.Pool(args.workers) as pool:
        prompts = pool.map(partial(make_prompt, args.folder, args.seed), jobs, chunksize=16)
    with (args.folder / "prompts.jsonl").open("w") as every, (args.folder / "batch.jsonl").open("w") as batch:
        for prompt in prompts:
            every.write(json.dumps(asdict(prompt), ensure_ascii=False) + "\n")
            request = {"id": prompt.id, "images": [str((args.folder / f).resolve()) for f in prompt.images]}
            request |= {"question": prompt.question, "think": prompt.think}
            batch.write(json.dumps(request, ensure_ascii=False) + "\n")
    print(f"{len(prompts)} prompts, {len(args.tasks)} tasks, seed {args.seed}: {args.folder}")


if __name__ == "__main__":
    main()
