#!/usr/bin/env bash
# Everything that is measured on a GPU, in one go: ceilings, kernels, whole models, and others on the same card in the
# same run. Prints tables (docs/performance.md).
#   scripts/bench_gpu.sh [folder with the built programs] [output folder]
# The folder holds gpu_bench, libglimpse_cuda.so and, optionally, the benches of bench/cuda and the kernel tests; by default
# build/cuda with its subfolders. libcublasLt.so has to be found by the dynamic linker. transformers is measured where
# python3 has it, llama.cpp where $GLIMPSE_LLAMA_BENCH is its llama-bench built for CUDA: on $GLIMPSE_LLAMA_GGUF, a file of
# the same shapes in bf16, and $GLIMPSE_LLAMA_GGUF_Q4, one in q4_0, or where they are not set and python3 has gguf on files of
# random weights made in $TMPDIR (23 GB, removed at the end).
set -uo pipefail
cd "$(dirname "$0")/.."
bin=${1:-build/cuda}
out=${2:-build/bench_gpu}
mkdir -p "$out"
program() { find "$bin" -name "$1" -type f -perm -u+x 2>/dev/null | head -1; }
export GLIMPSE_CUDA_LIBRARY=${GLIMPSE_CUDA_LIBRARY:-$(program libglimpse_cuda.so)}
model=${GLIMPSE_BENCH_CONFIG:-configs/GLM-4.6V-Flash}
tests="products_test ops_test attention_test"
nvidia-smi --query-gpu=name,memory.total,driver_version,clocks.sm,temperature.gpu --format=csv,noheader 2>/dev/null || {
  echo "SKIPPED: no GPU; neither measured nor tested:"
  for test in $tests engine_test; do
    path=$(program $test)
    [ -n "$path" ] && "$path" --gtest_filter='*Cuda*:*Device*:Quantized*:F8Rows*' 2>/dev/null |
      sed -n "s/^\[  SKIPPED \] \(.*\) (.*/  $test: \1/p" | sort -u
  done
  exit 0
}

# The two ceilings of this very card: bytes read and written by a copy, and a large bf16 product.
ceilings=$(python3 - <<'PY' || echo "2.99e12 785e12"
import statistics, torch
def timed(f, runs=9):
    times = []
    for i in range(runs + 2):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record(); f(); end.record(); torch.cuda.synchronize()
        if i > 1: times.append(begin.elapsed_time(end) / 1e3)
    return statistics.median(times)
a = torch.empty(2 << 30, dtype=torch.uint8, device="cuda"); b = torch.empty_like(a)
copy = 2 * a.numel() / timed(lambda: b.copy_(a))
del a, b
n = 8192
x, w = (torch.randn(n, n, dtype=torch.bfloat16, device="cuda") for _ in range(2))
print(f"{copy:.4g} {2 * n**3 / timed(lambda: x @ w):.4g}")
PY
)
read -r bandwidth rate <<<"$ceilings"
echo "copy $bandwidth B/s, bf16 product $rate FLOP/s"

gpu_bench=$(program gpu_bench)
[ -n "$gpu_bench" ] || { echo "SKIPPED: no gpu_bench in $bin"; exit 0; }
common="--config $model --bandwidth $bandwidth --rate $rate"
echo; echo "## bf16"
"$gpu_bench" $common --batch 1 --batch 8 --batch 16 --batch 64 --prompt 512 --prompt 2755 --vision 1932x1092 \
  --vision 1120x1120 --beside 1932x1092 --request 1920x1080 --upload-gb 8 | tee "$out/bf16.md"
echo; echo "## transformers"
if why=$(python3 -c 'import transformers, torch; assert torch.cuda.is_available(), "torch sees no GPU"' 2>&1); then
  python3 bench/engine/peer_transformers.py --config "$model" | tee "$out/transformers.md"
  timeout 240 python3 bench/engine/peer_transformers.py --config "$model" --compile --batch 1 |
    tee "$out/transformers_compiled.md"
else
  echo "SKIPPED: ${why##*$'\n'}"
fi
echo; echo "## llama.cpp"
bf16_gguf="" q4_gguf=""
if [ -x "${GLIMPSE_LLAMA_BENCH:-}" ]; then
  bf16_gguf=${GLIMPSE_LLAMA_GGUF:-} q4_gguf=${GLIMPSE_LLAMA_GGUF_Q4:-}
  if [ -z "$bf16_gguf$q4_gguf" ] && python3 -c 'import gguf' 2>/dev/null; then
    made=$(mktemp -d)
    trap 'rm -rf "$made"' EXIT
    python3 bench/engine/peer_llama_gguf.py --config "$model" --type bf16 --out "$made/bf16.gguf" && bf16_gguf=$made/bf16.gguf
    python3 bench/engine/peer_llama_gguf.py --config "$model" --type q4_0 --out "$made/q4_0.gguf" && q4_gguf=$made/q4_0.gguf
  fi
  echo "in the tables: ${bf16_gguf:-no bf16 file}, ${q4_gguf:-no q4_0 file}"
else
  echo "SKIPPED: GLIMPSE_LLAMA_BENCH names no program"
fi
echo; echo "## Against peers: bf16"
python3 bench/engine/peers.py --ours "$out/bf16.md" --transformers "$out/transformers.md" \
  --compiled "$out/transformers_compiled.md" --llama-gguf "$bf16_gguf" | tee "$out/against_peers.md"

echo; echo "## bf16, without graphs"
"$gpu_bench" $common --enforce-eager --batch 1 --batch 64 --prompt 512 | tee "$out/eager.md"
for quantization in fp8 int4; do
  for head in "" --quantize-head; do
    echo; echo "## $quantization $head"
    "$gpu_bench" $common --quantization $quantization $head --batch 1 --batch 8 --batch 16 --batch 64 --prompt 512 \
      --prompt 2755 | tee "$out/$quantization$head.md"
  done
done
# Prefill moves with the card's power: what is compared runs in turns.
echo; echo "## Prefill of 512 tokens, in turns"
for turn in 1 2 3; do
  for quantization in none fp8 int4; do
    "$gpu_bench" $common --quantization $quantization --batch 1 --steps 8 --prompt 512 |
      sed -n "s/^| prefill, 512 tokens | \([0-9.]*\) ms |.*/$quantization \1/p"
  done
done | python3 -c '
import statistics, sys
times = {}
for line in sys.stdin:
    times.setdefault(line.split()[0], []).append(float(line.split()[1]))
medians = {name: statistics.median(values) for name, values in times.items()}
print("| | median of %d | of bf16 |\n| --- | --- | --- |" % max(map(len, times.values()), default=0))
base = medians.get("none")
for name, median in medians.items():
    label, share = "bf16" if name == "none" else name, median / (base or median)
    print(f"| {label} | {median:.2f} ms | {share:.2f} |")
' | tee "$out/turns.md"
echo; echo "## Against peers: int4 and q4_0"
python3 bench/engine/peers.py --ours "$out/int4--quantize-head.md" --llama-gguf "$q4_gguf" | tee -a "$out/against_peers.md"

for bench in cuda_attention_bench cuda_matmul_bench; do
  path=$(program $bench)
  [ -n "$path" ] && { echo; echo "## $bench"; "$path" | tee "$out/$bench.md"; }
done
for test in $tests; do
  path=$(program $test)
  [ -n "$path" ] && { echo; echo "## $test"; "$path" --gtest_brief=1 2>&1 | grep -v "of the limit\|rows:" | tee "$out/$test.txt"; }
done
exit 0
