#!/usr/bin/env bash
# Installs the system packages that are missing, and none else: a C++ compiler, Python's
# headers and venv, tclsh, and the OpenGL that films without a screen. Debian and Ubuntu; needs root
# or sudo without a password, else it names what is missing and what will not work.
# `setup_system.sh cortex` installs the toolchain and the emulator of `qpolicy bench cortex` too, which
# nothing else needs.
set -u

PYTHON=${PYTHON:-python3}
missing=()
losses=()

need() { # package, what does not work without it
    missing+=("$1")
    losses+=("$2")
}

command -v g++ >/dev/null || need g++ "the C kernel (the NumPy engine serves instead, slower)"
"$PYTHON" -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null ||
    need python3-dev "the C kernel (the NumPy engine serves instead, slower)"
"$PYTHON" -c 'import ensurepip' 2>/dev/null || need python3-venv "everything, as .venv cannot be made"
command -v iverilog >/dev/null || need iverilog "the generated test bench under Icarus Verilog"
command -v tclsh >/dev/null || need tcl "the tests of the Vivado scripts"
ldconfig=$(PATH="$PATH:/sbin:/usr/sbin" command -v ldconfig || true)
if [ -n "$ldconfig" ]; then
    libraries=$("$ldconfig" -p)
    grep -q 'libEGL\.so\.1 ' <<<"$libraries" || need libegl1 "the film of the demo"
    grep -q 'libEGL_[a-z]*\.so\.0 ' <<<"$libraries" || need libgl1-mesa-dri "the film of the demo"
fi

if [ "${1:-}" = cortex ]; then
    command -v arm-none-eabi-gcc >/dev/null || need gcc-arm-none-eabi "qpolicy bench cortex"
    echo '#include <math.h>' | arm-none-eabi-gcc -E - >/dev/null 2>&1 ||
        need libnewlib-arm-none-eabi "qpolicy bench cortex"
    command -v qemu-system-arm >/dev/null || need qemu-system-arm "qpolicy bench cortex"
fi

[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        as_root=(sudo -n)
    else
        as_root=(false)
    fi
fi
if [ "${as_root[0]:-}" != false ] && command -v apt-get >/dev/null; then
    echo "installing system packages: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt=("${as_root[@]}" apt-get -qq -o=Dpkg::Use-Pty=0)
    if { "${apt[@]}" install -y --no-install-recommends "${missing[@]}" ||
        { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; }; } >/dev/null 2>&1; then
        exit 0
    fi
fi
for i in "${!missing[@]}"; do
    echo "notice: ${missing[$i]} is missing; will not work: ${losses[$i]}; install it with \`apt-get install ${missing[$i]}\`" >&2
done
exit 0
