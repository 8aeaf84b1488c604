#!/usr/bin/env bash
# All that only a GPU can show, with one command on a pod: the machine itself and gates 1 to 4 (every
# decoder, model and encoder on every GPU, then whole runs), tests that need a GPU, then the speed of
# each stage and of the whole at 4K and 8K, VRAM under a limit of 6 GB, and RVM's own converter by
# its side. Takes some twenty minutes; leaves its findings in OUT, the decided ones in summary.txt.
#
#   deploy/gpu_check.sh [OUT]        default: gpu-check
#
# Not run yet: no GPU was at hand when it was written.
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
out=${1:-gpu-check}
mkdir -p "$out" || exit 1
out=$(cd "$out" && pwd) || exit 1
exec </dev/null

if ! command -v nvidia-smi >/dev/null || ! nvidia-smi -L >"$out/gpus.txt" 2>&1; then
    echo "error: there is no GPU here (nvidia-smi does not answer)" >&2
    echo "run this on a machine with one" >&2
    exit 3
fi
cat "$out/gpus.txt"
nvidia-smi >"$out/nvidia-smi.txt" 2>&1
{
    echo "NVIDIA_DRIVER_CAPABILITIES=${NVIDIA_DRIVER_CAPABILITIES-(not set)}"
    ldconfig -p | grep -E 'nvcuvid|nvidia-encode' || echo "no libnvcuvid, no libnvidia-encode"
} | tee "$out/video-libraries.txt"
make setup || exit 1
python=.venv/bin/python

status=0
echo "== the machine"
.venv/bin/vrmatte doctor --model rvm --out "$out" --fresh 2>&1 | tee "$out/doctor.txt"
((PIPESTATUS[0] == 0)) || status=1

echo "== gates 1 to 4"
.venv/bin/vrmatte gates --through 4 --model rvm --json >"$out/gates.json" || status=1

echo "== tests that need a GPU"
VRMATTE_REQUIRE_GPU=1 $python -m pytest -m gpu -s 2>&1 | tee "$out/tests.txt" || status=1

# --format greenscreen is made by NVENC where there is one.
for model in rvm chroma; do
    for size in 4k 8k; do
        echo "== $model at $size"
        .venv/bin/vrmatte bench --model "$model" --size "$size" --format webm --format greenscreen \
            --gpus 0 --json "$out/$model-$size.json" 2>&1 | tee "$out/$model-$size.txt" || status=1
    done
done

echo "== green screen alone at 8K: each way to NVENC"
for input in auto pyav ffmpeg; do
    # Frames that never leave the GPU; those that go through a pipe to either library.
    case $input in
    auto) echo 'encoding: {nvenc_input: auto}' ;;
    *) echo "encoding: {nvenc_input: pipe, nvenc_pipe: $input}" ;;
    esac >"$out/$input.yaml"
    .venv/bin/vrmatte bench --model rvm --size 8k --format greenscreen --gpus 0 \
        --config "$out/$input.yaml" --json "$out/green-$input.json" 2>&1 |
        tee "$out/green-$input.txt" || status=1
done

echo "== without CUDA graphs, 4K and 8K"
echo 'processing: {cuda_graphs: "off"}' >"$out/eager.yaml"
for size in 4k 8k; do
    .venv/bin/vrmatte bench --model rvm --size "$size" --format webm --format greenscreen --gpus 0 \
        --config "$out/eager.yaml" --json "$out/eager-$size.json" 2>&1 |
        tee "$out/eager-$size.txt" || status=1
done

echo "== 8K with limits.vram_gb: 6"
echo 'limits: {vram_gb: 6}' >"$out/vram6.yaml"
.venv/bin/vrmatte bench --model rvm --size 8k --format webm --format greenscreen --gpus 0 \
    --config "$out/vram6.yaml" --json "$out/vram6.json" 2>&1 | tee "$out/vram6.txt" || status=1

echo "== RVM's own converter, 4K"
$python - "$out" >"$out/converter-paths.txt" 2>"$out/converter.txt" <<'PYTHON'
import sys
from pathlib import Path
from orchestrator.bench.clip import SIZES, make_clip
from pipeline.contract import MattingSettings
from pipeline.stages.matting.rvm.facts import RvmOptions
from pipeline.stages.matting.rvm.weights import fetch
own_code = MattingSettings(model="rvm", options=(RvmOptions(sources=("hub",)),))
print(*fetch(own_code), make_clip(Path(sys.argv[1]), SIZES["4k"], 240, "room"), sep="\n")
PYTHON
if mapfile -t found <"$out/converter-paths.txt" && ((${#found[@]} == 3)); then
    for format in webm greenscreen; do
        echo "-- against $format"
        $python benchmarks/vs_rvm_converter.py "${found[2]}" --repo "${found[0]}" \
            --weights "${found[1]}" --device cuda --format "$format" --seq-chunk 4 --rounds 2 \
            --json "$out/converter-$format.json" 2>&1 | tee -a "$out/converter.txt" || status=1
    done
else
    cat "$out/converter.txt" >&2
    status=1
fi

$python benchmarks/gpu_summary.py "$out" | tee "$out/summary.txt"
((PIPESTATUS[0] == 0)) || status=1

echo "findings are in $out; status $status"
exit "$status"
