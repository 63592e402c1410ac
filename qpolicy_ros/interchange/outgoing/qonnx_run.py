"""A QONNX file run by the ``qonnx`` package itself, to be compared with our engines."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.interchange.outgoing.onnx_graph import REMEDY
from qpolicy_ros.policy import IntegerNetwork, PolicyError
from qpolicy_ros.policy.model import Float32
from qpolicy_ros.policy.numpy_engine import NumpyEngine

Tensors = dict[str, npt.NDArray[Any]]


_CELLS = 1 << 24  # comparisons of a layer at a time: memory stays below 100 MB


class QonnxModel:
    """An ONNX file in qonnx's executor.

    Args:
        content: of the file.

    Raises:
        PolicyError: qonnx is not installed.
    """

    def __init__(self, content: bytes) -> None:
        try:
            import onnx  # noqa: PLC0415  for this export only
            from qonnx.core.modelwrapper import ModelWrapper  # noqa: PLC0415
        except ImportError as error:
            raise PolicyError.at("", "qonnx", "qonnx is not installed", REMEDY) from error
        self._model: Any = ModelWrapper(onnx.load_model_from_string(content))
        self._sized: Any = None
        self.input: str = self._model.graph.input[0].name

    def run(self, rows: npt.NDArray[Any]) -> Tensors:
        """Every tensor of the graph by name, for ``(N, n)`` inputs."""
        from qonnx.core.onnx_exec import execute_onnx  # noqa: PLC0415

        with warnings.catch_warnings():
            # A value outside its declared type is an error here, not something to be rounded.
            warnings.simplefilter("error", UserWarning)
            inputs = {self.input: rows.astype(np.float32)}
            tensors: Tensors = execute_onnx(
                self._of_batch(len(rows)), inputs, return_full_exec_context=True
            )
        return tensors

    def _of_batch(self, size: int) -> Any:
        from qonnx.transformation.change_batchsize import ChangeBatchSize  # noqa: PLC0415
        from qonnx.transformation.infer_shapes import InferShapes  # noqa: PLC0415

        if self._sized is None or self._sized[0] != size:
            model = self._model.transform(ChangeBatchSize(size)).transform(InferShapes())
            self._sized = size, model
        return self._sized[1]


def compare(content: bytes, network: IntegerNetwork, observations: Float32) -> dict[str, int]:
    """How many codes and actions of each tensor differ from the integer engine's.

    Args:
        content: of a file that ``threshold_model`` or ``quant_model`` made.
        network: what it was made from.
        observations: float32 ``(N, n)``, finite.

    Raises:
        PolicyError: qonnx is not installed.
    """
    model, engine = QonnxModel(content), NumpyEngine(network)
    levels = 1 << max(network.input_bits, network.core_bits, network.output_bits)
    size = max(_CELLS // (levels * max(network.mean.size, *network.hidden, len(network.table))), 1)
    found: Counter[str] = Counter()
    for start in range(0, len(observations), size):
        rows = observations[start : start + size]
        codes = engine.codes_batch(rows)
        expected: Tensors = {f"codes_{layer}": values for layer, values in enumerate(codes)}
        if model.input == "observation":
            expected["action"] = engine.act_batch(rows)
        tensors = model.run(rows if model.input == "observation" else codes[0])
        for name, values in expected.items():
            found[name] += int((tensors[name] != values).sum())
    return dict(found)
