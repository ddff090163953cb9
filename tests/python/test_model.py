"""The built engine against transformers: every random checkpoint and every sample of glimpse-mini, in both dtypes.

GLIMPSE_BIN names the binary; without it these tests are skipped.
"""

import os
from pathlib import Path

import pytest
from reference.compare import judge, mini_goldens, random_goldens, run_engine
from reference.specs import SPECS

ROOT = Path(__file__).parents[2]
BINARY = os.environ.get("GLIMPSE_BIN")

pytestmark = pytest.mark.skipif(not BINARY, reason="GLIMPSE_BIN is not set")
DTYPES = ("float32", "bfloat16")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spec", [spec.name for spec in SPECS])
def test_random_checkpoint(goldens: Path, spec: str, dtype: str) -> None:
    cases = [golden for golden in random_goldens(goldens, dtype) if golden.name.startswith(spec + "/")]
    assert cases
    check(cases, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_mini_samples(mini: Path, dtype: str) -> None:
    cases = list(mini_goldens(mini, ROOT / "tests" / "golden" / "model", dtype))
    assert len(cases) == 20
    check(cases, dtype)


def check(cases: list, dtype: str) -> None:
    assert BINARY
    verdicts = [judge(golden, *run_engine(Path(BINARY), golden, dtype), dtype) for golden in cases]
    for verdict in verdicts:
        print(verdict)
    failed = [str(verdict) for verdict in verdicts if not verdict.ok]
    assert not failed, "\n".join(failed)
