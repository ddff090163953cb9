#!/usr/bin/env bash
# Compiles every CUDA source for each architecture that Glimpse names. No GPU needed; prints spills, if there are any.
#   scripts/cuda_archs.sh [arch...]    (default: 80 89 90a)
set -euo pipefail
cd "$(dirname "$0")/.."
nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
[ -x "$nvcc" ] || { echo "SKIPPED: no nvcc"; exit 0; }
archs=${*:-80 89 90a}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for arch in $archs; do
  for source in src/kernels/cuda/*.cu; do
    "$nvcc" -std=c++20 -O3 -c --expt-relaxed-constexpr -Isrc ${CUBLAS_INCLUDE:+-I$CUBLAS_INCLUDE} \
      -gencode="arch=compute_$arch,code=sm_$arch" -Xptxas -v "$source" -o "$out/x.o" 2>"$out/log" ||
      { cat "$out/log"; echo "FAILED: $source for sm_$arch"; exit 1; }
    awk -v source="$source" -v arch="$arch" '/Compiling entry function/ {name = $6}
      /spill stores/ && !/ 0 bytes spill stores/ {print "spills: " source " sm_" arch " " name ": " $0}' "$out/log"
  done
  echo "sm_$arch: ok"
done
