"""compare.py itself: what it must accept, and what it must not."""

from pathlib import Path

import pytest
import torch
from reference.compare import Golden, judge


@pytest.fixture
def golden() -> Golden:
    logits = torch.randn(512, generator=torch.Generator().manual_seed(0))
    margins = [1.0, 1e-5, 1.0]
    return Golden("case", Path(), [], [1, 2], [5, 6, 7], margins, logits, bf16_error=1e-2, ignore_eos=True)


def off_by(golden: Golden, error: float) -> torch.Tensor:
    noise = torch.randn(512, generator=torch.Generator().manual_seed(1))
    return golden.logits + noise / noise.norm() * golden.logits.norm() * error


def test_equal_is_ok(golden: Golden) -> None:
    assert judge(golden, [5, 6, 7], golden.logits, "float32").ok


@pytest.mark.parametrize(("dtype", "limit"), [("float32", 1e-4), ("bfloat16", 2e-2)])
def test_logits_limit(golden: Golden, dtype: str, limit: float) -> None:
    assert judge(golden, [5, 6, 7], off_by(golden, 0.99 * limit), dtype).ok
    assert not judge(golden, [5, 6, 7], off_by(golden, 1.01 * limit), dtype).ok


def test_nan_is_never_ok(golden: Golden) -> None:
    assert not judge(golden, [5, 6, 7], torch.full((512,), float("nan")), "float32").ok


def test_other_ids_need_a_near_tie(golden: Golden) -> None:
    assert judge(golden, [5, 9, 9], golden.logits, "float32").near_tie
    assert not judge(golden, [9, 6, 7], golden.logits, "float32").ok
    assert not judge(golden, [5, 6, 9], golden.logits, "float32").ok


def test_fewer_ids_are_not_a_tie(golden: Golden) -> None:
    assert not judge(golden, [5, 6], golden.logits, "float32").ok
