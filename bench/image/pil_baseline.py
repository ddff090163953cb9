"""Times PIL, torchvision and transformers on the pictures that image_bench wrote: medians in ms, one thread.

    GLIMPSE_BENCH_DIR=DIR build/release/bench/image/image_bench; python bench/image/pil_baseline.py DIR
"""

import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as tvF
from transformers.models.glm4v.image_processing_glm4v import Glm4vImageProcessor

torch.set_num_threads(1)


def timed(name, function, repeats=15):
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append((time.perf_counter() - start) * 1e3)
    print(f"{name:45s} {statistics.median(times):7.2f} ms", flush=True)


def main() -> None:
    folder = Path(sys.argv[1])
    jpeg, png = folder / "photo.jpg", folder / "photo.png"
    print("bytes:", jpeg.stat().st_size, png.stat().st_size)
    timed("PIL decode JPEG", lambda: Image.open(jpeg).load())
    timed("PIL decode PNG", lambda: Image.open(png).load())
    image = Image.open(jpeg).convert("RGB")
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()[None]
    bicubic = tvF.InterpolationMode.BICUBIC
    for size in ((1932, 1092), (1904, 1064), (1344, 756), (1120, 1120), (1120, 616), (1008, 560), (672, 364), (336, 336),
                 (448, 252)):  # fmt: skip
        timed(f"PIL resize {size[0]}x{size[1]}", lambda s=size: image.resize(s, Image.Resampling.BICUBIC))
        timed(f"torchvision resize {size[0]}x{size[1]}",
              lambda s=size: tvF.resize(tensor, [s[1], s[0]], interpolation=bicubic, antialias=True))  # fmt: skip
    processor = Glm4vImageProcessor(size={"shortest_edge": 25088, "longest_edge": 250880})
    small = image.resize((1120, 1120))
    mean, std = np.array(processor.image_mean, np.float32) * 255, np.array(processor.image_std, np.float32) * 255
    timed("numpy normalise + HWC to CHW 1120x1120",
          lambda: np.ascontiguousarray(((np.asarray(small).astype(np.float32) - mean) / std).transpose(2, 0, 1)))
    timed("PIL decode + transformers processor, mini",
          lambda: processor(images=Image.open(jpeg).convert("RGB"), return_tensors="pt"))  # fmt: skip
    timed("PIL decode PNG + transformers processor, mini",
          lambda: processor(images=Image.open(png).convert("RGB"), return_tensors="pt"))  # fmt: skip


if __name__ == "__main__":
    main()
