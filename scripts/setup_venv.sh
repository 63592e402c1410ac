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

# pip, cut down to the large downloads; its warnings about indexes that are not its own go, its
# errors stay.
pip_install() {
    "$VENV/bin/python" -m pip --disable-pip-version-check --no-input install --progress-bar off "$@" \
        2> >(grep -v -e '^WARNING: Location .* is ignored' -e '^WARNING: Running pip as' >&2) |
        { grep --line-buffered -oE 'Downloading .*\([0-9.]+ [MG]B\)|^Installing collected' || true; } |
        sed -uE 's/^Downloading ([^ ]*\/)?([A-Za-z0-9_.]+-[0-9.]+)[^ ]*(.*)$/  \2\3/; s/^Installing.*/  unpacking/'
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
    # A venv knows its own path: one that was copied from elsewhere is made anew.
    if ! grep -qsF "$PWD/$VENV" "$VENV/bin/activate" || ! "$VENV/bin/python" -c 'import pip' 2>/dev/null; then
        "$PYTHON" -m venv --clear "$VENV"
    fi
    echo "installing the packages of requirements-$KIND.txt into $VENV (downloads; minutes the first time)"
    if [ "$KIND" = dev ] && ! "$VENV/bin/python" -c 'import torch' 2>/dev/null &&
        "$VENV/bin/python" -c "import urllib.request as u; u.urlopen('$TORCH_INDEX/torch/', timeout=10)" 2>/dev/null; then
        # Without this PyPI's torch brings gigabytes of CUDA.
        pip_install -c constraints.txt --extra-index-url "$TORCH_INDEX" torch
    fi
    pip_install -r "requirements-$KIND.txt"
    echo "$wanted" >"$stamp"
fi

scripts/robot_models.sh "$VENV"

# The package itself: again when its build description or a C source of it changes.
shopt -s nullglob
wanted=$(fingerprint setup.py setup.cfg pyproject.toml qpolicy_ros/policy/*.[ch] training/*/*.[ch])
stamp=$VENV/.stamp-package
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted" ]; then
    echo "installing qpolicy_ros into $VENV (editable)"
    log=$VENV/install.log
    "$VENV/bin/python" -m pip install --no-deps --no-build-isolation -e . >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
    "$VENV/bin/python" -c 'import qpolicy_ros.policy._kernel' 2>/dev/null ||
        echo "notice: the C kernel was not built ($log says why); the NumPy engine computes the same bits, slower" >&2
    echo "$wanted" >"$stamp"
fi
