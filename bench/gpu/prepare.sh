#!/usr/bin/env bash
# Packs what bench/gpu/run.sh needs on a machine without a network into .gpu-pack: the Deno that is
# installed here, and the locked modules that the tests and benchmarks of GPUs import.
set -euo pipefail
cd "$(dirname "$0")/../.."
export NO_COLOR=1 DENO_NO_UPDATE_CHECK=1

pack=.gpu-pack
mkdir -p "$pack"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The path in /proc is that of the program itself, whatever wrapper started it.
deno=$(deno eval 'console.log(Deno.execPath())')
if [[ ! "$pack/deno.xz" -nt "$deno" ]]; then xz -9 -T0 -kc "$deno" >"$pack/deno.xz"; fi

shopt -s globstar
DENO_DIR="$work/modules" deno cache --frozen --no-check mod.ts tests/gpu/**/*.ts \
  tests/golden/cuda_layouts_test.ts bench/gpu/*.ts
# Compiled forms are made again where they are used.
find "$work/modules" -maxdepth 1 -type f -delete
rm -rf "$work/modules/gen"
tar -cJf "$pack/modules.tar.xz" -C "$work" modules
du -sh "$pack"/*
