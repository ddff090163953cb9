#!/usr/bin/env bash
# Installs what the tests need and runs all of them: C++ (release, and address+undefined sanitizers), thread sanitizer
# on the parts with threads, clang-tidy and clang-format, and the comparison with transformers in Python.
#   ./test.sh          everything
#   ./test.sh --quick  C++ tests of the release build only
set -euo pipefail
cd "$(dirname "$0")"

./run.sh --build-only
packages=(libgtest-dev libgmock-dev libbenchmark-dev libdnnl-dev clang-19 clang-tidy-19 clang-format-19 libclang-rt-19-dev python3-venv)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if ((${#missing[@]})); then
  sudo=""
  ((EUID == 0)) || sudo=sudo
  $sudo apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
fi

echo "== release build and tests"
cmake --preset release >/dev/null
cmake --build --preset release
ctest --test-dir build/release --output-on-failure -j"$(nproc)"
[[ "${1-}" == --quick ]] && exit 0

echo "== address and undefined-behaviour sanitizers"
cmake --preset dev >/dev/null
cmake --build --preset dev
ctest --test-dir build/dev --output-on-failure -j"$(nproc)"
