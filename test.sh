#!/usr/bin/env bash
# Installs what the tests need and runs all of them: formatting; C++ in release, with address and undefined-behaviour
# sanitizers, and the parts with threads under the thread sanitizer; the chat page's logic, and its flows in Chromium; the
# CUDA back end's compilation, where there is nvcc; the comparison with transformers, tokenizers and jinja2 in Python; and
# the API's clients.
#   ./test.sh          everything
#   ./test.sh --quick  C++ tests of the release build only
set -euo pipefail
cd "$(dirname "$0")"

packages=(ccache curl libgtest-dev libgmock-dev libbenchmark-dev libdnnl-dev clang-19 clang-format-19 libclang-rt-19-dev python3-venv
  chromium fonts-noto-cjk)  # the chat page in a browser
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if ((${#missing[@]})); then
  echo "Installing: ${missing[*]}" >&2
  sudo=""
  ((EUID == 0)) || sudo=sudo
  $sudo apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
fi

# The product's objects are the release build's too, and a second run compiles only what changed.
export CMAKE_{C,CXX,CUDA}_COMPILER_LAUNCHER=ccache CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1

section() { printf '\n== %s (%d s)\n' "$1" "$SECONDS"; }

section "the product"
./run.sh --build-only

section "formatting"
git ls-files '*.h' '*.cc' | xargs clang-format-19 --dry-run -Werror

section "release build and tests"
cmake --preset release >/dev/null
cmake --build --preset release
ctest --test-dir build/release --output-on-failure -j"$(nproc)"
[[ "${1-}" == --quick ]] && exit 0

section "the chat page"
(cd web && npm run --silent check && npm test && npm run --silent e2e)  # the build has installed what they need

section "address and undefined-behaviour sanitizers"
cmake --preset dev >/dev/null
cmake --build --preset dev
ctest --test-dir build/dev --output-on-failure -j"$(nproc)"

section "thread sanitizer: kernels, engine and server"
cmake --preset tsan >/dev/null
tests=(kernels/ops_test kernels/attention_test engine/engine_test engine/engine_loop_test
  engine/batching_engine_test server/server_test)
cmake --build --preset tsan --target "${tests[@]##*/}"
for test in "${tests[@]}"; do
  "build/tsan/tests/$test" --gtest_brief=1
done

section "the CUDA back end compiles"
if command -v nvcc >/dev/null; then
  ls /usr/local/cuda*/include/cublasLt.h >/dev/null 2>&1 || scripts/cuda_deps.sh
  cmake --preset cuda >/dev/null
  cmake --build --preset cuda --target glimpse_cuda
else
  echo "skipped: nvcc is not installed"
fi

section "against transformers, tokenizers and jinja2"
venv=${GLIMPSE_TEST_VENV:-$HOME/.cache/glimpse/test-venv}
if ! cmp -s python/requirements-test.txt "$venv/requirements-test.txt"; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check -r python/requirements-test.txt
  cp python/requirements-test.txt "$venv/"
fi
GLIMPSE_BIN=build/release/src/cli/glimpse PYTHONPATH=python "$venv/bin/python" -m pytest -q tests/python --ignore tests/python/clients

section "clients of the API"
clients=${GLIMPSE_CLIENTS_VENV:-$HOME/.cache/glimpse/clients-venv}
if ! cmp -s python/requirements-clients.txt "$clients/requirements-clients.txt"; then
  python3 -m venv "$clients"
  "$clients/bin/pip" install -q --disable-pip-version-check -r python/requirements-clients.txt
  cp python/requirements-clients.txt "$clients/"
fi
(cd tests/node && npm ci --silent --no-audit --no-fund)
"$clients/bin/python" -m pytest -q --timeout 300 tests/python/clients

section "the engine on the random checkpoints that the Python tests made"
GLIMPSE_GOLDEN_DIR=$PWD/build/golden build/release/tests/engine/engine_test --gtest_brief=1 >build/golden_test.log ||
  { cat build/golden_test.log; exit 1; }
tail -n 2 build/golden_test.log
section "done"
