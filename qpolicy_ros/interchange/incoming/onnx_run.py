"""ONNX models run by ONNX Runtime, one thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.policy.model import Float32

INSTALL = "pip install 'qpolicy_ros[import]'"
EXPORT = "export the policy again"


def open_session(path: Path, model: Any) -> tuple[Any, str]:
    """Return ONNX Runtime's session of a file, whose operators it knows, and its version.

    Args:
        path: of the file.
        model: it, loaded.

    Raises:
        InputError: ONNX Runtime is not installed, or cannot run it.
    """
    try:
        import onnxruntime  # noqa: PLC0415  for this format only
    except ImportError as error:
        raise InputError.at(path, "onnx", "onnxruntime is not installed", INSTALL) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its errors have no common base
        raise _cannot_run(path, error) from error
    return session, f"onnxruntime {onnxruntime.__version__}"


def _cannot_run(path: Path, error: Exception) -> InputError:
    wrong = f"ONNX Runtime cannot run it: {str(error).splitlines()[0]}"
    return InputError.at(path, "graph", wrong, EXPORT)


def onnx_runner(
    path: Path, model: Any, inputs: list[Any], sizes: list[tuple[int, int]], output: str
) -> tuple[Callable[[Float32], Float32], str]:
    """Return what runs a model on observations ``(N, n)``, and the runtime's version.

    Args:
        path: of the file.
        model: it, loaded.
        inputs: that make the observation, side by side.
        sizes: of each input: how many values, how many axes.
        output: that is the action.

    Raises:
        InputError: ONNX Runtime cannot run it.
    """
    session, runtime = open_session(path, model)
    kinds = {1: np.float32, 10: np.float16, 11: np.float64}
    feeds = [
        (value.name, size, (1,) * (rank - 1) + (size,), kinds[value.type.tensor_type.elem_type])
        for value, (size, rank) in zip(inputs, sizes, strict=True)
    ]

    def run(observations: Float32) -> Float32:
        answers = []
        for row in observations:
            given, start = {}, 0
            for name, size, shape, kind in feeds:
                given[name] = row[start : start + size].reshape(shape).astype(kind)
                start += size
            answers.append(np.ravel(session.run([output], given)[0]))
        return np.array(answers, np.float32)

    try:
        run(np.zeros((1, sum(size for size, _ in sizes)), np.float32))
    except Exception as error:
        raise _cannot_run(path, error) from error
    return run, runtime
