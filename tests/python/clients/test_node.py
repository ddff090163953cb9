"""openai-node: tests/node, run by node's own test runner."""

import os
import shutil
import subprocess

import pytest
from conftest import ROOT, Server


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_openai_node(scripted: Server):
    folder = ROOT / "tests" / "node"
    assert (folder / "node_modules" / "openai").is_dir(), "run `npm ci` in tests/node"
    done = subprocess.run(
        ["node", "--test"], cwd=folder, env={**os.environ, "GLIMPSE_URL": scripted.url}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
