#!/usr/bin/env bash
# All that only a GPU can show, with one command on a pod: tests that need one, then the speed of
# each stage and of the whole at 4K and 8K. Takes some ten minutes; leaves its findings in OUT.
#
#   deploy/gpu_check.sh [OUT]        default: gpu-check
#
# Not run yet: no GPU was at hand when it was written.
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
out=${1:-gpu-check}
mkdir -p "$out" || exit 1
exec </dev/null

if ! command -v nvidia-smi >/dev/null || ! nvidia-smi -L >"$out/gpus.txt" 2>&1; then
    echo "error: there is no GPU here (nvidia-smi does not answer)" >&2
    echo "run this on a machine with one" >&2
    exit 3
fi
cat "$out/gpus.txt"
nvidia-smi >"$out/nvidia-smi.txt" 2>&1
make setup || exit 1

status=0
echo "== tests that need a GPU"
VRMATTE_REQUIRE_GPU=1 .venv/bin/python -m pytest -m gpu -s 2>&1 | tee "$out/tests.txt" || status=1

for model in rvm chroma; do
    for size in 4k 8k; do
        echo "== $model at $size"
        .venv/bin/vrmatte bench --model "$model" --size "$size" --format webm --format greenscreen \
            --gpus 0 --json "$out/$model-$size.json" 2>&1 | tee "$out/$model-$size.txt" || status=1
    done
done

echo "findings are in $out; status $status"
exit "$status"
