#!/usr/bin/env bash
# From a fresh Debian 12 machine to a chat about pictures: installs what is missing, builds, serves.
#   ./run.sh               build, then serve the built-in model on http://127.0.0.1:8000 (OpenAI API, and a chat page at /)
#   ./run.sh --build-only  stop after the build
#   ./run.sh ARG...        build, then run `glimpse ARG...`
set -euo pipefail
cd "$(dirname "$0")"

packages=(
  g++ cmake ninja-build pkg-config
  libboost1.81-dev libboost-json1.81-dev  # JSON
  libcli11-dev libfmt-dev libyaml-cpp-dev # command line
  libturbojpeg0-dev libspng-dev libwebp-dev  # pictures
  libutf8proc-dev libpcre2-dev            # text
  libssl-dev                              # SHA-256, TLS
  libspdlog-dev prometheus-cpp-dev libcurl4-openssl-dev  # log, metrics, pictures behind URLs
)
command -v npm >/dev/null || packages+=(nodejs npm)  # builds the chat page
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

cmake --preset product >/dev/null
cmake --build --preset product >&2
glimpse=build/product/src/cli/glimpse

case "${1-}" in
  --build-only) echo "built $glimpse" ;;
  "") exec "$glimpse" serve --port 8000 ;;
  *) exec "$glimpse" "$@" ;;
esac
