#!/usr/bin/env bash
# Checks all that only a GPU can show, in fifteen minutes of GPU time: driver, NVENC, NVDEC, lanes,
# kernels, memory, speed. Each result is one line; all are in gpu-check/check.json.
#
#   deploy/gpu_check.sh [--out OUT] [STEP...]     all steps, or those that are named
#   deploy/gpu_check.sh --list                    names them
#   deploy/gpu_check.sh --rehearse [STEP...]      runs them on a machine without a GPU, with doubles
#
# VRMATTE_CLIPS names a folder with clips of an earlier OUT/work/clips, which then are not made again.
# Needs what phase 2 of DEPLOYMENT_GUIDE.md leaves: `make setup`, and RVM's weights. It installs and
# fetches nothing by itself.
#
# Exit status: 0 nothing failed, 1 something did, 2 usage, 3 there is no GPU.
#
# It has never run on a GPU: none was at hand. What has been run is the rehearsal.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) || exit 1
exec </dev/null

if [[ ! -x $root/.venv/bin/python ]]; then
    echo "error: $root/.venv is not there" >&2
    echo "run: make setup" >&2
    exit 3
fi
# From where it was typed, which --out is meant from; by the modules of this checkout.
exec env PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" "$root/.venv/bin/python" -P \
    -m orchestrator.gpu_check "$@"
