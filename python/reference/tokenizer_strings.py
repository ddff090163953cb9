"""Strings to tokenise, the same ones as tests/tokenizer/string_generator.h: change both or neither."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FRAGMENTS = ROOT / "tests/tokenizer/fragments.json"
MASK = (1 << 64) - 1
RANGES = [
    (0x20, 0x7E), (0x00, 0x1F), (0x7F, 0x24F), (0x2B0, 0x36F), (0x370, 0x52F), (0x590, 0x97F),
    (0xE00, 0xEFF), (0x1680, 0x180F), (0x2000, 0x206F), (0x2070, 0x218F), (0x3000, 0x30FF), (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A3), (0xFE00, 0xFEFF), (0xFF00, 0xFFEF), (0x1F300, 0x1FAFF), (0xE000, 0xFFFF), (0x10000, 0x10FFFF),
]  # fmt: skip


class StringGenerator:
    def __init__(self, fragments: list[str] | None = None) -> None:
        self.fragments = fragments or json.loads(FRAGMENTS.read_text(encoding="utf-8"))
        self.state = 0

    def draw(self, below: int) -> int:
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & MASK
        return (self.state >> 33) % below

    def fragment(self) -> str:
        return self.fragments[self.draw(len(self.fragments))]

    def code_point(self) -> str:
        first, last = RANGES[self.draw(len(RANGES))]
        return chr(first + self.draw(last - first + 1))

    def make(self, seed: int, index: int) -> str:
        self.state = (seed * 0x9E3779B97F4A7C15 + index) & MASK
        self.draw(1)
        self.draw(1)
        text = ""
        for _ in range(1 + self.draw(12)):
            kind = self.draw(100)
            if kind < 70:
                text += self.fragment()
            elif kind < 92:
                text += self.code_point()
            else:
                repeated = self.fragment()
                text += repeated * (1 + self.draw(8))
            if self.draw(3) == 0:
                text += " "
        return text


FNV_BASIS = 0xCBF29CE484222325


def hash_ids(ids: list[int], value: int = FNV_BASIS) -> int:
    """FNV-1a over the ids as little-endian 32-bit integers."""
    for i in ids:
        for byte in i.to_bytes(4, "little"):
            value = ((value ^ byte) * 0x100000001B3) & MASK
    return value
