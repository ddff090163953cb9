"""Paired differences of two variants on the same prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


def paired_loss(
    base: Mapping[str, Sequence[float]], other: Mapping[str, Sequence[float]], samples: int = 10_000
) -> Interval:
    """Mean over tasks of the mean over prompts of base - other, in points (100 = every answer lost).

    Both map a task to its prompts' scores in the same order. The interval is a bootstrap over prompts within each task:
    tasks are fixed, prompts are a sample. Pairing removes the prompts' own difficulty, which is most of the variance.
    """
    rng = np.random.default_rng(0)
    total, draws = 0.0, np.zeros(samples)
    for task, scores in base.items():
        difference = 100.0 * (np.asarray(scores) - np.asarray(other[task]))
        values, counts = np.unique(difference, return_counts=True)
        # A resample of n prompts holds each distinct difference a multinomial number of times.
        resampled = rng.multinomial(len(difference), counts / len(difference), size=samples) @ values
        total += difference.mean() / len(base)
        draws += resampled / len(difference) / len(base)
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(float(total), float(low), float(high))
