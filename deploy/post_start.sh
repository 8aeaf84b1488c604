#!/usr/bin/env bash
# Called by the base image when a pod has started: goes on with the noted run, in tmux, where one can
# look at it (`tmux attach -t vrmatte`).
set -euo pipefail

start=$(dirname "$(realpath "${BASH_SOURCE[0]}")")/start.sh
if [[ -f ${VRMATTE_VOLUME:-/workspace}/.vrmatte-start/command ]]; then
    tmux new-session -d -s vrmatte "'$start'; exec bash"
fi
