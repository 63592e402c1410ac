"""The policy's C header, compiled for 64-bit ARM and run under emulation.

Debian: ``apt install gcc-aarch64-linux-gnu qemu-user``. ``$QPOLICY_AARCH64_CC`` and
``$QPOLICY_AARCH64_RUN`` name others; with the latter empty the program runs by itself, on ARM.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import shutil
import subprocess

import numpy as np

from qpolicy_ros.common.errors import PolicyError
from qpolicy_ros.common.files import scratch_folder
from qpolicy_ros.interchange.outgoing.c_header import c_header
from qpolicy_ros.policy import PolicyArtifact
from qpolicy_ros.policy.model import Float32
from qpolicy_ros.policy.observation import refuse_non_finite

COMPILER, RUNNER = "aarch64-linux-gnu-gcc", "qemu-aarch64"

_FLAGS = ("-std=c99", "-Wall", "-Werror", "-O2", "-ffp-contract=off", "-static")
_REMEDY = "install gcc-aarch64-linux-gnu and qemu-user, or name others in $QPOLICY_AARCH64_CC"
_PROGRAM = """\
#include <stdio.h>
#define QPOLICY_FLOAT
#include "policy.h"
int main(void) {
    static float input[N], output[M];
    while (fread(input, sizeof input, 1, stdin) == 1) {
        if (replayed_act(input, output) >= 0) return 1;
        if (fwrite(output, sizeof output, 1, stdout) != 1) return 2;
    }
    return 0;
}
"""


def installed() -> bool:
    """Whether compiler and emulator are there."""
    return all(shutil.which(command[0]) for command in (_compiler(), _runner()) if command)


class EmulatedArm:
    """A policy's C header on 64-bit ARM.

    Args:
        artifact: a policy with an integer network.

    Raises:
        PolicyError: compiler or emulator is missing, or the compiler refuses the header.
    """

    def __init__(self, artifact: PolicyArtifact) -> None:
        assert artifact.network is not None
        inputs, self._outputs = len(artifact.contract.observation), len(artifact.contract.action)
        header = c_header(artifact, "replayed")
        sizes = f"#define N {inputs}\n#define M {self._outputs}\n"
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(scratch_folder())
            (folder / "policy.h").write_text(header, encoding="ascii")
            (folder / "main.c").write_text(sizes + _PROGRAM, encoding="ascii")
            self._program = folder / "policy"
            command = [*_compiler(), *_FLAGS, str(folder / "main.c"), "-o", str(self._program)]
            done = _run(command, b"")
            first = " ".join(done.stderr.decode(errors="replace").split())
            if done.returncode and os.strerror(errno.ENOSPC) in first:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if done.returncode:
                raise PolicyError.at("", "compiler", f"refuses the header: {first}", _REMEDY)
            self._kept = stack.pop_all()  # the folder goes with this object

    def act_batch(self, observations: Float32) -> Float32:
        """Actions for many observations: float32 ``(N, n)`` to ``(N, m)``.

        Raises:
            ObservationError: a value is not finite.
            PolicyError: the emulated program fails.
        """
        refuse_non_finite(observations)
        content = observations.astype("<f4").tobytes()
        done = _run([*_runner(), str(self._program)], content)
        found = np.frombuffer(done.stdout, "<f4")
        if done.returncode or len(found) != len(observations) * self._outputs:
            wrong = f"ends with status {done.returncode} after {len(found)} values"
            raise PolicyError.at("", "emulator", wrong, _REMEDY)
        return found.reshape(-1, self._outputs).astype(np.float32)


def _compiler() -> list[str]:
    return shlex.split(os.environ.get("QPOLICY_AARCH64_CC", COMPILER))


def _runner() -> list[str]:
    return shlex.split(os.environ.get("QPOLICY_AARCH64_RUN", RUNNER))


def _run(command: list[str], content: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(command, input=content, capture_output=True, check=False)
    except OSError as error:
        wrong = f"{command[0]!r} cannot be run: {error.strerror}"
        raise PolicyError.at("", "engine c-aarch64", wrong, _REMEDY) from error
