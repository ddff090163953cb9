#!/usr/bin/env bash
# The tests of the CUDA back end under compute-sanitizer, in one go: memcheck over every kernel, racecheck over ours
# (cuBLASLt's split-K kernels have hazards of their own). All at once, a process each; prints a table (docs/cuda.md).
#   scripts/gpu_sanitize.sh [folder with the built programs] [output folder] [seconds for each process] [memcheck or racecheck]
# By default build/cuda. libcublasLt.so has to be found by the dynamic linker, as for the tests themselves.
# racecheck needs registers that Hopper's copying warps have given away: it gets the library named by
# $GLIMPSE_RACECHECK_LIBRARY, built with
#   cmake --preset cuda -B build/cuda-racecheck -DGLIMPSE_CUDA_RACECHECK=ON && ninja -C build/cuda-racecheck glimpse_cuda
set -uo pipefail
cd "$(dirname "$0")/.."
bin=${1:-build/cuda}
out=${2:-build/gpu_sanitize}
seconds=${3:-300}
only_tool=${4:-}
case $only_tool in "" | memcheck | racecheck) ;; *) echo "gpu_sanitize.sh: no tool $only_tool: memcheck or racecheck" >&2; exit 2 ;; esac
mkdir -p "$out"
program() { find "$bin" -name "$1" -type f -perm -u+x 2>/dev/null | head -1; }
export GLIMPSE_CUDA_LIBRARY=${GLIMPSE_CUDA_LIBRARY:-$(program libglimpse_cuda.so)}
racecheck_library=${GLIMPSE_RACECHECK_LIBRARY:-build/cuda-racecheck/lib/libglimpse_cuda.so}
nvidia-smi -L 2>/dev/null || { echo "SKIPPED: no GPU"; exit 0; }
sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
[ -x "$sanitizer" ] || { echo "SKIPPED: no compute-sanitizer"; exit 0; }

# A process each: tool, program, tests. racecheck ends the process where cuBLASLt's kernels are timed, so it gets the
# tests that run none. Where the CPU's back ends run in the same tests they cost little here.
parts=(
  "memcheck products_test Products.*"
  "memcheck products_test QuantizedProducts.Int4*"
  "memcheck products_test QuantizedProducts.*F*"
  "memcheck products_test F8RowsTest.AddNorm:F8RowsTest.Few*"
  "memcheck products_test F8RowsTest.GateUp*"
  "racecheck products_test Products.FewRows"
  "racecheck products_test Products.FewRowsOfLargeWeights"
  "racecheck products_test Products.Gated*:Products.Odd*"
  "racecheck products_test QuantizedProducts.Int4"
  "racecheck products_test QuantizedProducts.Int4WithZeroPoints"
  "racecheck products_test QuantizedProducts.Int4InLongerGroups:QuantizedProducts.Int4GateUp"
  "racecheck products_test QuantizedProducts.Int4GateUpOfOneTileEach"
  "racecheck products_test QuantizedProducts.Int4OfMoreTilesThanMultiprocessors"
  "racecheck products_test QuantizedProducts.FewRowsOfF8:F8RowsTest.AddNorm"
  "racecheck products_test QuantizedProducts.FewRowsOfLargeF8"
)
for tool in memcheck racecheck; do
  parts+=(
    "$tool ops_test -Pool.*:Stream.*"
    "$tool attention_test AttentionPaged.*-*LongContext*:*DoesNotDependOnTheBatch"
    "$tool attention_test AttentionPaged.LongContext*:AttentionPaged.DoesNotDependOnTheBatch"
    "$tool attention_test AttentionVarlen.*"
    "$tool cut_picture_test *"
  )
done
parts+=(
  "memcheck engine_test SampleOnDevice.*"
  "racecheck engine_test SampleOnDevice.Few*"
  "memcheck engine_test *cuda_bf16*:*cuda_f32_tiny*"
  "memcheck engine_test QuantizedOnCuda.Fp8OfTheCheckpoint"
  "memcheck engine_test QuantizedOnCuda.Int4OfTheCheckpoint"
)
jobs=()
for part in "${parts[@]}"; do
  read -r tool test filter <<<"$part"
  only=() library=$GLIMPSE_CUDA_LIBRARY
  [ "$tool" = racecheck ] && only=(--kernel-name kns=glimpse) library=$racecheck_library
  [ -z "$only_tool" ] || [ "$only_tool" = "$tool" ] || continue
  [ -f "$library" ] || { echo "SKIPPED: $tool of $test, no $library"; continue; }
  path=$(program "$test")
  [ -n "$path" ] || { echo "SKIPPED: $test is not in $bin"; continue; }
  log=$out/$tool-${#jobs[@]}.log
  jobs+=("$tool|$test $filter|$log")
  (
    begin=$SECONDS
    GLIMPSE_CUDA_LIBRARY=$library timeout "$seconds" "$sanitizer" --tool "$tool" "${only[@]}" --print-limit 20 \
      --error-exitcode 9 "$path" --gtest_brief=1 --gtest_filter="$filter" >"$log" 2>&1
    echo "exit $? after $((SECONDS - begin)) s" >>"$log"
  ) &
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
