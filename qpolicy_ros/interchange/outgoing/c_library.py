"""The C header compiled into this process, to be compared with the other engines."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt

from qpolicy_ros.common.files import scratch_folder
from qpolicy_ros.interchange.outgoing.c_header import c_header
from qpolicy_ros.policy import ObservationError, PolicyArtifact, PolicyError
from qpolicy_ros.policy.model import Float32, Int32
from qpolicy_ros.policy.observation import as_observation, as_observations, refuse_non_finite

FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O2")
_SHIM = """\
#define QPOLICY_FLOAT
#define QPOLICY_ASSEMBLE
#include "policy.h"
void infer_batch(const int8_t *input, int8_t *output, long count) {
    for (long i = 0; i < count; i++) under_test_infer(input + i * N, output + i * M);
}
long act_batch(const float *input, int8_t *codes, float *actions, long count) {
    for (long i = 0; i < count; i++) {
        if (under_test_quantise(input + i * N, codes + i * N) >= 0) return i;
        if (under_test_act(input + i * N, actions + i * M) >= 0) return i;
    }
    return -1;
}
"""
_ASSEMBLE_SHIM = """\
/* Ticks of one episode; `acted` tells of each but the last what was sent and what was answered. */
long assemble(const double *raw, const float *sent, const float *answered, float *out, long count) {
    static under_test_memory memory;
    under_test_reset(&memory);
    for (long i = 0; i < count; i++) {
        if (under_test_assemble(&memory, raw + i * UNDER_TEST_RAW, out + i * N) >= 0) return i;
        under_test_acted(&memory, sent + i * M, answered + i * M);
    }
    return -1;
}
"""


class CompiledHeader:
    """A policy's C header, compiled as strict C99 with every warning an error.

    Args:
        artifact: a policy with an integer network.
        packed: as of ``c_header``.

    Raises:
        PolicyError: there is no C compiler, or it refuses the header.
    """

    def __init__(self, artifact: PolicyArtifact, *, packed: bool = False) -> None:
        assert artifact.network is not None
        self._inputs = artifact.network.weights[0].shape[1]
        self._outputs = artifact.network.weights[-1].shape[0]
        self._robot = artifact.contract.robot
        self._library = self._compile(c_header(artifact, "under_test", packed=packed))
        self._library.act_batch.restype = ctypes.c_long
        if self._robot:
            self._library.assemble.restype = ctypes.c_long

    def infer_batch(self, codes: Int32) -> Int32:
        """Input codes ``(N, n)`` to output codes int32 ``(N, m)``."""
        narrow = np.ascontiguousarray(codes, np.int8)
        output = np.empty((len(narrow), self._outputs), np.int8)
        self._library.infer_batch(_pointer(narrow), _pointer(output), ctypes.c_long(len(narrow)))
        return output.astype(np.int32)

    def act_batch(self, observations: npt.ArrayLike) -> tuple[Int32, Float32]:
        """Observations ``(N, n)`` to input codes int32 ``(N, n)`` and actions ``(N, m)``.

        Raises:
            ObservationError: wrong shape or a value that is not finite.
        """
        matrix = as_observations(observations, self._inputs)
        codes = np.empty(matrix.shape, np.int8)
        actions = np.empty((len(matrix), self._outputs), np.float32)
        bad = self._library.act_batch(
            _pointer(matrix), _pointer(codes), _pointer(actions), ctypes.c_long(len(matrix))
        )
        if bad >= 0:
            refuse_non_finite(matrix)
            raise ObservationError("non_finite", f"observation {bad}: the C header refuses it")
        return codes.astype(np.int32), actions

    def act(self, observation: npt.ArrayLike) -> Float32:
        """Action for one observation, as an engine's."""
        actions: Float32 = self.act_batch(as_observation(observation, self._inputs)[None])[1][0]
        return actions

    def assemble(self, raw: npt.ArrayLike, sent: npt.ArrayLike, answered: npt.ArrayLike) -> Float32:
        """Observations ``(k, n)`` of an episode's ticks, as ``Assembler`` puts them together.

        Args:
            raw: raw values float64 ``(k, sources)``, in the order of ``Assembler.sources``.
            sent: actions float32 ``(k, m)`` that were published after each tick.
            answered: the same before limits cut them.

        Raises:
            ObservationError: a raw value is not finite.
        """
        rows = np.ascontiguousarray(raw, np.float64)
        actions = [np.ascontiguousarray(given, np.float32) for given in (sent, answered)]
        result = np.empty((len(rows), self._inputs), np.float32)
        pointers = (_pointer(rows), *(_pointer(each) for each in actions), _pointer(result))
        bad = self._library.assemble(*pointers, ctypes.c_long(len(rows)))
        if bad >= 0:
            raise ObservationError("non_finite", f"tick {bad}: the C header refuses it")
        return result

    def _compile(self, header: str) -> ctypes.CDLL:
        compiler = os.environ.get("CC", "gcc")
        sizes = f"#define N {self._inputs}\n#define M {self._outputs}\n"
        with scratch_folder() as folder:
            Path(folder, "policy.h").write_text(header, encoding="ascii")
            source, library = Path(folder, "shim.c"), Path(folder, "policy.so")
            shim = _SHIM + _ASSEMBLE_SHIM if self._robot else _SHIM
            source.write_text(sizes + shim, encoding="ascii")
            command = [compiler, *FLAGS, "-shared", "-fPIC", str(source), "-o", str(library), "-lm"]
            remedy = "install gcc, or name a C99 compiler in $CC"
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=False)
            except OSError as error:
                raise PolicyError.at("", "compiler", f"{compiler!r}: {error}", remedy) from error
            if done.returncode:
                first = " ".join(done.stderr.split())[:300]
                raise PolicyError.at("", "compiler", f"{compiler!r} refuses: {first}", remedy)
            return ctypes.CDLL(str(library))


def _pointer(array: npt.NDArray[np.generic]) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)
