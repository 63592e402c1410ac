"""Putting an ONNX graph together: constants, nodes, and the integer types that QONNX adds."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.policy import IntegerNetwork, PolicyArtifact, PolicyError
from qpolicy_ros.policy.bounds import partial_sum_bound

OPSET = 11
"""What QONNX prefers; nothing newer is needed."""
IR_VERSION = 8
"""Of the file format: read by every ONNX Runtime since 1.10."""
DOMAIN = "qonnx.custom_op.general"
REMEDY = "pip install 'qpolicy_ros[qonnx]'"
_EXACT = 1 << 24  # integers up to here are float32, which carries them in QONNX


class Graph:
    """A graph that grows node by node; tensors go by name.

    Raises:
        PolicyError: onnx is not installed.
    """

    def __init__(self) -> None:
        try:
            import onnx  # noqa: PLC0415  for this export only
        except ImportError as error:
            raise PolicyError.at("", "qonnx", "onnx is not installed", REMEDY) from error
        self._onnx = onnx
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._values: dict[str, Any] = {}
        self._types: dict[str, str] = {}

    def input(self, name: str, shape: tuple[int, ...], datatype: str = "") -> str:
        """Declare an input; returns its name."""
        return self._value(name, shape, datatype)

    def constant(self, name: str, values: npt.ArrayLike, datatype: str = "") -> str:
        """Add an initializer in float32; returns its name."""
        array = np.asarray(values, np.float32, order="C")
        self._constants.append(self._onnx.numpy_helper.from_array(array, name))
        self._annotate(name, datatype)
        return name

    def node(
        self,
        operator: str,
        inputs: list[str],
        output: str,
        shape: tuple[int, ...],
        datatype: str = "",
        *,
        element: str = "FLOAT",
        **attributes: Any,
    ) -> str:
        """Add a node with one output of ``shape``; returns the output's name.

        ``datatype``: QONNX's type of the output, such as ``UINT2``; empty for plain float32.
        ``element``: ONNX's type of its elements.
        """
        domain = DOMAIN if operator in {"MultiThreshold", "Quant"} else ""
        name = f"{operator}_{output}"
        made = self._onnx.helper.make_node(
            operator, inputs, [output], name=name, domain=domain, **attributes
        )
        self._nodes.append(made)
        return self._value(output, shape, datatype, element)

    def finish(self, artifact: PolicyArtifact, source: str, result: str) -> bytes:
        """The file's content: from tensor ``source`` to tensor ``result``."""
        helper = self._onnx.helper
        ends = [self._values.pop(source)], [self._values.pop(result)]
        graph = helper.make_graph(
            self._nodes,
            f"qpolicy {artifact.contract.task}",
            *ends,
            initializer=self._constants,
            value_info=list(self._values.values()),
        )
        for name, datatype in self._types.items():
            annotation = self._onnx.TensorAnnotation(tensor_name=name)
            annotation.quant_parameter_tensor_names.add(key="finn_datatype", value=datatype)
            graph.quantization_annotation.append(annotation)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="qpolicy_ros"
        )
        contract = artifact.contract
        properties = {
            "qpolicy.task": contract.task,
            "qpolicy.function_hash": artifact.function_hash,
            "qpolicy.observation": ",".join(channel.name for channel in contract.observation),
            "qpolicy.action": ",".join(channel.name for channel in contract.action),
        }
        helper.set_model_props(model, properties)
        self._onnx.checker.check_model(model)
        content: bytes = model.SerializeToString()
        return content

    def _value(
        self, name: str, shape: tuple[int, ...], datatype: str, element: str = "FLOAT"
    ) -> str:
        kind = getattr(self._onnx.TensorProto, element)
        self._values[name] = self._onnx.helper.make_tensor_value_info(name, kind, shape)
        self._annotate(name, datatype)
        return name

    def _annotate(self, name: str, datatype: str) -> None:
        if datatype:
            self._types[name] = datatype


def integer_type(low: int, high: int) -> str:
    """QONNX's smallest integer type that holds ``low`` to ``high``.

    Never ``INT1``, which its ``Quant`` takes for -1 and 1.
    """
    if low >= 0:
        return f"UINT{max(int(high).bit_length(), 1)}"
    return f"INT{max((-int(low) - 1).bit_length(), int(high).bit_length(), 1) + 1}"


def require_network(artifact: PolicyArtifact) -> IntegerNetwork:
    """The policy's integer network.

    Raises:
        PolicyError: there is none, or its sums do not fit the float32 that QONNX carries them in.
    """
    network = artifact.network
    if network is None:
        wrong, remedy = "there is no integer network", "quantise the policy first"
        raise PolicyError.at(artifact.path, "integer", wrong, remedy)
    for index, weight in enumerate(network.weights):
        bound = partial_sum_bound(weight, *network.layer_input_range(index))
        if bound >= _EXACT:
            wrong = (
                f"sums reach {bound}, and QONNX carries integers in float32, exact below {_EXACT}"
            )
            remedy = "use fewer bits or a narrower layer"
            raise PolicyError.at(artifact.path, f"integer.weight.{index}", wrong, remedy)
    return network
