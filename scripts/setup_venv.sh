#!/usr/bin/env bash
# Makes .venv ready for `demo` or `dev` (the requirements-*.txt of that name) and installs this
# package into it, editable. Does nothing, in milliseconds, where nothing has changed: a stamp
# holds the hash of all that went in.
#
#   scripts/setup_venv.sh demo|dev
set -euo pipefail

KIND=${1:?usage: scripts/setup_venv.sh demo|dev}
PYTHON=${PYTHON:-python3}
VENV=.venv
TORCH_INDEX=https://download.pytorch.org/whl/cpu
cd "$(dirname "$0")/.."

fingerprint() { # of the files named, the interpreter and this folder, as a venv cannot move
    { cat "$@"; "$PYTHON" -V; pwd; } 2>/dev/null | sha256sum | cut -d' ' -f1
}

# pip warns of every index that is not its own, one line a package; errors stay.
pip() {
    "$VENV/bin/python" -m pip --disable-pip-version-check --no-input "$@" \
        2> >(grep -v -e '^WARNING: Location .* is ignored' -e '^WARNING: Running pip as' >&2)
}

requirements=(constraints.txt requirements-demo.txt)
[ "$KIND" = dev ] && requirements+=(requirements-dev.txt)
wanted=$(fingerprint "${requirements[@]}")
stamp=$VENV/.stamp-requirements-$KIND
# What is fit for development is fit for the demo.
if [ "$KIND" = demo ] && [ -f "$VENV/.stamp-requirements-dev" ] &&
    [ "$(cat "$VENV/.stamp-requirements-dev")" = "$(fingerprint constraints.txt requirements-demo.txt requirements-dev.txt)" ]; then
    stamp=$VENV/.stamp-requirements-dev
    wanted=$(cat "$stamp")
fi

if [ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted" ]; then
    scripts/setup_system.sh
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "error: $PYTHON is $("$PYTHON" -V 2>&1); .venv needs Python 3.11 or newer; set PYTHON=python3.11" >&2
        exit 1
    }
    [ -x "$VENV/bin/python" ] && "$VENV/bin/python" -c 'import pip' 2>/dev/null || "$PYTHON" -m venv "$VENV"
    echo "installing the packages of requirements-$KIND.txt into $VENV (downloads; minutes the first time)"
    if [ "$KIND" = dev ] && ! "$VENV/bin/python" -c 'import torch' 2>/dev/null &&
        "$VENV/bin/python" -c "import urllib.request as u; u.urlopen('$TORCH_INDEX/torch/', timeout=10)" 2>/dev/null; then
        # Without this PyPI's torch brings gigabytes of CUDA.
        pip install -q -c constraints.txt --extra-index-url "$TORCH_INDEX" torch
    fi
    pip install -q --progress-bar on -r "requirements-$KIND.txt"
    echo "$wanted" >"$stamp"
fi

# The package itself: again when its build description or its C source changes.
shopt -s nullglob
wanted=$(fingerprint setup.py setup.cfg pyproject.toml qpolicy_ros/policy/*.c qpolicy_ros/policy/*.h)
stamp=$VENV/.stamp-package
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted" ]; then
    echo "installing qpolicy_ros into $VENV (editable)"
    log=$VENV/install.log
    pip install --no-deps --no-build-isolation -e . >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
    "$VENV/bin/python" -c 'import qpolicy_ros.policy._kernel' 2>/dev/null ||
        echo "notice: the C kernel was not built ($log says why); the NumPy engine computes the same bits, slower" >&2
    echo "$wanted" >"$stamp"
fi
