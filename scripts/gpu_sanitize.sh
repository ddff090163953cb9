#!/usr/bin/env bash
# The tests of the CUDA back end under compute-sanitizer, in one go: memcheck over every kernel, racecheck over ours
# (cuBLASLt's split-K kernels have hazards of their own). All at once, a process each; prints a table (docs/cuda.md).
#   scripts/gpu_sanitize.sh [folder with the built programs] [output folder] [seconds for each process]
# By default build/cuda. libcublasLt.so has to be found by the dynamic linker, as for the tests themselves.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=${1:-build/cuda}
out=${2:-build/gpu_sanitize}
seconds=${3:-300}
mkdir -p "$out"
program() { find "$bin" -name "$1" -type f -perm -u+x 2>/dev/null | head -1; }
export GLIMPSE_CUDA_LIBRARY=${GLIMPSE_CUDA_LIBRARY:-$(program libglimpse_cuda.so)}
nvidia-smi -L 2>/dev/null || { echo "SKIPPED: no GPU"; exit 0; }
sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
[ -x "$sanitizer" ] || { echo "SKIPPED: no compute-sanitizer"; exit 0; }

# A process each: program, tests. Where the CPU's back ends run in the same tests they cost little here.
parts=(
  "products_test Products.*"
  "products_test QuantizedProducts.Int4*"
  "products_test QuantizedProducts.F*"
  "products_test F8RowsTest.AddNorm:F8RowsTest.Few*"
  "products_test F8RowsTest.GateUp*"
  "ops_test -Pool.*:Stream.*"
  "attention_test AttentionPaged.*-*LongContext*:*DoesNotDependOnTheBatch"
  "attention_test AttentionPaged.LongContext*:AttentionPaged.DoesNotDependOnTheBatch"
  "attention_test AttentionVarlen.*"
  "cut_picture_test *"
  "engine_test SampleOnDevice.*"
  "engine_test *cuda_bf16*:*cuda_f32_tiny*"
  "engine_test QuantizedOnCuda.Fp8OfTheCheckpoint"
  "engine_test QuantizedOnCuda.Int4OfTheCheckpoint"
)
jobs=()
for tool in memcheck racecheck; do
  only=()
  [ $tool = racecheck ] && only=(--kernel-regex kns=glimpse)
  for part in "${parts[@]}"; do
    read -r test filter <<<"$part"
    path=$(program "$test")
    [ -n "$path" ] || { echo "SKIPPED: $test is not in $bin"; continue; }
    log=$out/$tool-${#jobs[@]}.log
    jobs+=("$tool|$part|$log")
    (
      begin=$SECONDS
      timeout "$seconds" "$sanitizer" --tool $tool "${only[@]}" --print-limit 20 --error-exitcode 9 "$path" \
        --gtest_brief=1 --gtest_filter="$filter" >"$log" 2>&1
      echo "exit $? after $((SECONDS - begin)) s" >>"$log"
    ) &
  done
done
wait

failed=0
echo "| tool | tests | found | tests' result | s |"
echo "| --- | --- | --- | --- | --- |"
for job in "${jobs[@]}"; do
  IFS='|' read -r tool part log <<<"$job"
  found=$(sed -n 's/^=* *\(ERROR\|RACECHECK\) SUMMARY: //p' "$log" | tail -1)
  result=$(grep -o '\[  PASSED  \] .*\|\[  FAILED  \] [0-9]* test.*' "$log" | tail -1)
  end=$(tail -1 "$log")
  [[ $end == "exit 0 "* ]] || failed=1
  [[ $end == "exit 124 "* ]] && found="not done in $seconds s"
  echo "| $tool | ${part//\*/\\*} | ${found:-nothing printed: $end} | ${result:-} | $(sed 's/.*after \(.*\) s/\1/' <<<"$end") |"
done
exit $failed
