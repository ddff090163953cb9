"""Draw lists to pixels, on the CPU: compiles render.cc once and keeps it with the sprites' levels in a cache folder."""

import ctypes
import os
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

from .draw import Canvas

_HERE = Path(__file__).parent


class Renderer:
    """render(canvas) -> uint8 [height, width, 3]. The cache folder may be shared by processes and deleted at any time."""

    def __init__(self, cache: Path) -> None:
        cache.mkdir(parents=True, exist_ok=True)
        library = cache / "render.so"
        source = _HERE / "render.cc"
        if not library.exists() or library.stat().st_mtime < source.stat().st_mtime:
            fresh = cache / f"render.{os.getpid()}.so"
            subprocess.run(["g++", "-O2", "-shared", "-fPIC", source, "-o", fresh], check=True)
            fresh.replace(library)
        self._library = ctypes.CDLL(str(library))
        self._emoji, self._emoji_size = _levels("emoji.png", "RGBA", 4)
        self._glyphs, self._glyphs_size = _levels("glyphs.png", "L", 3)

    def render(self, canvas: Canvas) -> np.ndarray:
        primitives = np.array(canvas.p, np.float32).reshape(-1, 24)
        record = np.array(canvas.record(0, 0), np.float32)
        out = np.zeros((canvas.H, canvas.W, 3), np.uint8)
        self._library.render_cpu(
            _address(record),
            _address(primitives),
            _address(self._emoji),
            *self._emoji_size,
            _address(self._glyphs),
            *self._glyphs_size,
            _address(out),
            None,
        )
        return out


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _levels(name: str, mode: str, count: int) -> tuple[np.ndarray, tuple[int, int]]:
    """A picture and its halved copies, one after another; colours are premultiplied by alpha first."""
    picture = Image.open(_HERE / "assets" / name).convert(mode)
    x = np.asarray(picture).astype(np.float32)
    if x.ndim == 3:
        x[..., :3] *= x[..., 3:] / 255.0
    levels = []
    for _ in range(count):
        levels.append(np.clip(np.rint(x), 0, 255).astype(np.uint8).reshape(-1))
        height, width = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
        y = x[:height, :width]
        x = (y[0::2, 0::2] + y[1::2, 0::2] + y[0::2, 1::2] + y[1::2, 1::2]) / 4
    return np.concatenate(levels), picture.size
