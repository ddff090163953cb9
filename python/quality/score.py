"""Right or wrong, per task: the whole answer must match, but a tap may land anywhere on its icon."""

import re

from .prompts import Prompt


def score(prompt: Prompt, answer: str) -> float:
    answer = answer.split("</think>")[-1].strip()
    if prompt.task == "tap":
        return float(tap_hits(prompt, answer))
    return float(answer == prompt.expected.strip())


def tap_hits(prompt: Prompt, answer: str) -> bool:
    if not answer.startswith('do(action="Tap"') or prompt.tolerance is None:
        return False
    point, target = numbers(answer), numbers(prompt.expected)
    if len(point) != 2:
        return False
    return all(abs(p - t) <= limit for p, t, limit in zip(point, target, prompt.tolerance, strict=True))


def numbers(text: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", text)]
