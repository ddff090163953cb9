#!/usr/bin/env bash
# Fetches cuBLASLt's header and library from PyPI into .cache/cuda, for machines whose toolkit lacks them.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p .cache/cuda
python3 -m pip install --quiet --no-deps --target .cache/cuda "nvidia-cublas>=13,<14"
ls .cache/cuda/nvidia/cu13/include/cublasLt.h
