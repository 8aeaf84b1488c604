#!/usr/bin/env bash
# Prints the path of a chromium that runs here; fetches Debian's where there is none.
#
# Only the tests of the report's page need it. As root it is installed by apt; as an ordinary user
# its packages are unpacked into .venv/chromium, which takes 600 MB. With --found nothing is fetched.
# Exit status 1, and a line that says why, where neither is possible.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly place=$PWD/.venv/chromium

say() { printf 'chromium: %s\n' "$*" >&2; }

fail() {
    say "$@"
    exit 1
}

# Ubuntu's package of that name is a stub that asks for snap.
runs() { "$1" --version >/dev/null 2>&1; }

found() {
    local name path
    for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome "$place/run"; do
        if [[ -n $name ]] && path=$(command -v "$name") && runs "$path"; then
            echo "$path"
            return
        fi
    done
    return 1
}

install_as_root() {
    local apt=(apt-get -qq -o DPkg::Lock::Timeout=120)
    export DEBIAN_FRONTEND=noninteractive
    "${apt[@]}" install -y --no-install-recommends chromium >&2 ||
        { "${apt[@]}" update >&2 && "${apt[@]}" install -y --no-install-recommends chromium >&2; }
}

# apt with folders of our own finds and fetches what chromium needs; dpkg-deb unpacks it.
unpack_as_user() {
    local scratch package
    scratch=$(mktemp -d)
    # shellcheck disable=SC2064 # what it is now
    trap "rm -rf '$scratch'" EXIT
    mkdir -p "$scratch/state/lists/partial" "$scratch/cache/archives/partial"
    local apt=(apt-get -qq -o "Dir::State=$scratch/state"
        -o "Dir::State::status=/var/lib/dpkg/status" -o "Dir::Cache=$scratch/cache"
        -o "Dir::Log=$scratch" -o Debug::NoLocking=1 -o "APT::Sandbox::User=$(id -un)")
    "${apt[@]}" update >&2
    "${apt[@]}" install -y --no-install-recommends --download-only chromium >&2
    rm -rf "$place"
    mkdir -p "$place"
    for package in "$scratch"/cache/archives/*.deb; do
        dpkg-deb -x "$package" "$place"
    done
    cat >"$place/run" <<'END'
#!/usr/bin/env bash
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
for folder in "$here"/usr/lib/*-linux-gnu "$here"/lib/*-linux-gnu; do
    LD_LIBRARY_PATH=$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
done
export LD_LIBRARY_PATH
exec "$here/usr/lib/chromium/chromium" "$@"
END
    chmod +x "$place/run"
}

main() {
    if found; then
        return
    fi
    if [[ ${1:-} == --found ]]; then
        fail "there is none: deploy/chromium.sh fetches one"
    fi
    command -v apt-get >/dev/null || fail "there is none, and no apt to fetch one with"
    say "fetching chromium with apt"
    if [[ $(id -u) == 0 ]]; then
        install_as_root || fail "apt could not install it"
    else
        unpack_as_user || fail "apt could not fetch it"
    fi
    found || fail "what apt fetched does not run"
}

main "$@"
