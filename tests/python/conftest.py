"""Paths that every Python test needs; goldens are made once per run of the tests unless they are there already."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "python"))


@pytest.fixture(scope="session")
def goldens() -> Path:
    """build/golden with every random checkpoint; make_goldens.py is rerun when it is newer than what is there."""
    from reference.make_goldens import SPECS, make_random

    folder = ROOT / "build" / "golden"
    sources = sorted((ROOT / "python" / "reference").glob("*.py"))
    newest = str(max(source.stat().st_mtime_ns for source in sources))
    stamp = folder / "stamp"
    if not stamp.exists() or stamp.read_text() != newest:
        make_random(SPECS, folder)
        stamp.write_text(newest)
    return folder


@pytest.fixture(scope="session")
def mini() -> Path:
    return ROOT / "models" / "glimpse-mini"
