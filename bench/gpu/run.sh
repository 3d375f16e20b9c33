#!/usr/bin/env bash
# Tests and measures weft on the GPU of this machine: all parts, or those that are named, such as
#   bench/gpu/run.sh decode-1b kernels
# Works without a network where bench/gpu/prepare.sh has packed Deno and the modules into .gpu-pack;
# without the pack it uses the installed Deno. Figures go to the folder that WEFT_BENCH_OUT names.
set -euo pipefail
cd "$(dirname "$0")/../.."
export NO_COLOR=1 DENO_NO_UPDATE_CHECK=1

# Not every machine has xz; Python unpacks the same.
unpack() {
  if command -v xz >/dev/null; then
    xz -dc "$1"
  else
    python3 -c 'import lzma, shutil, sys; shutil.copyfileobj(lzma.open(sys.argv[1]), sys.stdout.buffer)' "$1"
  fi
}

deno=deno
if [[ -e .gpu-pack/deno.xz ]]; then
  unpacked=$(mktemp -d)
  trap 'rm -rf "$unpacked"' EXIT
  unpack .gpu-pack/deno.xz >"$unpacked/deno"
  chmod +x "$unpacked/deno"
  unpack .gpu-pack/modules.tar.xz | tar -xf - -C "$unpacked"
  deno="$unpacked/deno"
  export DENO_DIR="$unpacked/modules"
fi
"$deno" run -A --no-check bench/gpu/main.ts "$@"
