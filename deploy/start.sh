#!/usr/bin/env bash
# A run that a pod goes on with by itself when it comes back.
#
#   deploy/start.sh VIDEOS... -o OUT [options of `vrmatte run`]
#       notes the command on the volume, then runs it
#   deploy/start.sh
#       goes on with the noted command; the image does this when a pod starts
#   deploy/start.sh --forget
#       forgets it
#
# The note goes when the run has ended by itself: all done, some videos failed or are doubtful, or
# wrong usage. It stays when the run was stopped, was killed with its pod, or when this machine
# cannot do it (a pod may come back without its GPU): the next start goes on. There is one note, so
# while its run goes on no other is begun this way.
#
# Paths must be on the volume. As root, where there is a user `vrmatte` (deploy/Dockerfile makes
# one), the work is done by that user.
#
# Environment: VRMATTE_VOLUME, the folder that survives a pod (/workspace).
set -euo pipefail

readonly volume=${VRMATTE_VOLUME:-/workspace}
readonly notes=$volume/.vrmatte-start
readonly note=$notes/command
script=$(realpath "${BASH_SOURCE[0]}")
readonly script

say() { printf 'start: %s\n' "$*" >&2; }

main() {
    if [[ ! -d $volume ]]; then
        say "there is no folder $volume: attach a volume there, or set VRMATTE_VOLUME"
        exit 2
    fi
    become_vrmatte "$@"
    mkdir -p "$notes"
    case ${1:-} in
    --forget) rm -f "$note" ;;
    "") alone && go_on ;;
    *) alone && begin "$@" ;;
    esac
}

# Held until this script ends, however it ends. A volume that knows no locks is taken as it is.
alone() {
    local status=0
    exec {lock}>"$notes/lock"
    flock --nonblock "$lock" 2>/dev/null || status=$?
    if [[ $status == 1 ]]; then
        say "the run noted in $note goes on: wait for it, or call \`vrmatte run\` for another OUT"
        exit 2
    fi
}

# The layout of the volume, and its owner: VIDEOS in videos/, OUT in out/.
become_vrmatte() {
    if [[ $(id -u) != 0 ]] || ! getent passwd vrmatte >/dev/null; then
        return
    fi
    mkdir -p "$volume/videos" "$volume/out" "$notes"
    chown vrmatte "$volume/out" "$notes" 2>/dev/null || true
    if runuser -u vrmatte -- test -w "$volume/out" -a -w "$notes"; then
        exec runuser -u vrmatte -- env "PATH=$PATH" "$script" "$@"
    fi
    say "the user vrmatte may not write $volume/out: this volume knows no owners; going on as root"
}

begin() {
    # A folder is where it is from, also for the next pod; words as they are, by NUL.
    { printf '%s\0' "$PWD" "$@"; } >"$note.new"
    mv "$note.new" "$note"
    go_on
}

go_on() {
    if [[ ! -f $note ]]; then
        say "no run is noted in $note"
        return
    fi
    local words=()
    mapfile -d '' words <"$note"
    cd "${words[0]}" || { say "the folder ${words[0]} is gone"; exit 2; }
    local program status=0
    program=$(vrmatte_here) || exit 3
    say "vrmatte run ${words[*]:1}"
    # Without the lock, which is this script's: what `--on-done` began may live longer.
    "$program" run "${words[@]:1}" {lock}>&- || status=$?
    case $status in
    0 | 1 | 2) rm -f "$note" ;;
    *) say "ended with status $status: $script goes on, $script --forget does not" ;;
    esac
    exit "$status"
}

vrmatte_here() {
    local own=${script%/deploy/*}/.venv/bin/vrmatte
    if [[ -x $own ]]; then
        echo "$own"
    else
        command -v vrmatte || { say "vrmatte is not installed: make setup" && return 3; }
    fi
}

main "$@"
