#!/usr/bin/env bash
# Install the system packages that rdistill uses, where that is possible; say plainly what is missing where it is not.
# Never fails: what needs a missing package says so itself when it is used.
set -euo pipefail

python=${PYTHON:-python3}
missing=() reasons=()
need() { # need PACKAGE WHY TEST...
    local package=$1 why=$2
    shift 2
    "$@" >/dev/null 2>&1 || { missing+=("$package"); reasons+=("    $package: $why"); }
}
survey() {
    missing=() reasons=()
    need bubblewrap "the sandbox that runs model-written code" command -v bwrap
    need numactl "binds training ranks to cores" command -v numactl
    need libtcmalloc-minimal4 "an allocator that nearly doubles training speed on CPU" \
        bash -c "{ PATH=\$PATH:/sbin:/usr/sbin ldconfig -p; ls /usr/lib/*/; } | grep -q 'libtcmalloc_minimal\.so'"
    need g++ "compiles an op of DeepSpeed, once" command -v g++
    need python3-dev "Python's headers, for the same op" "$python" -c \
        'import os, sysconfig as s; os.stat(s.get_path("include") + "/Python.h")'
    need python3-venv "makes .venv" "$python" -c 'import ensurepip'
}

survey
[ ${#missing[@]} -eq 0 ] && exit 0
asked=("${missing[@]}")

as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
if command -v apt-get >/dev/null && "${as_root[@]}" true 2>/dev/null; then
    echo "Installing system packages: ${missing[*]}"
    install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${missing[@]}")
    "${install[@]}" >/dev/null 2>&1 || { "${as_root[@]}" apt-get -qq update && "${install[@]}" >/dev/null; } || true
    survey
fi

if [ ${#missing[@]} -gt 0 ]; then
    echo "System packages still missing:"
    printf '%s\n' "${reasons[@]}"
    echo "Install them with your package manager; on Debian or Ubuntu type:"
    echo "    sudo apt-get install ${missing[*]}"
else
    echo "Installed: ${asked[*]}"
fi
