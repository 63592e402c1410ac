"""The FP32 policy in other libraries, called as their users call them, one thread.

Each builder takes a :class:`Baseline` and returns ``float32 (n,) -> float32 (m,)``. Everything
that a user would do once is done once.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from qpolicy_ros.policy import Baseline

Act = Callable[[np.ndarray], np.ndarray]


class Peer(NamedTuple):
    """A library that can serve the policy.

    Attributes:
        build: returns its way to act.
        modules: what it needs installed.
    """

    build: Callable[[Baseline], Act]
    modules: tuple[str, ...]

    def missing(self) -> list[str]:
        """Return the modules that are not installed."""
        return [name for name in self.modules if importlib.util.find_spec(name) is None]


def torch_eager(baseline: Baseline) -> Act:
    """PyTorch, eager, gradients off."""
    import torch  # noqa: PLC0415  optional

    module = _torch_module(baseline)

    def act(observation: np.ndarray) -> np.ndarray:
        action: np.ndarray = module(torch.from_numpy(observation)).numpy()
        return action

    return act


def torch_jit(baseline: Baseline) -> Act:
    """PyTorch, traced and frozen by TorchScript."""
    import torch  # noqa: PLC0415  optional

    example = torch.from_numpy(baseline.mean.copy())
    with warnings.catch_warnings():
        # Deprecated, and still the fastest that PyTorch has for one small observation.
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(_torch_module(baseline), example)
        module = torch.jit.optimize_for_inference(torch.jit.freeze(traced.eval()))

    def act(observation: np.ndarray) -> np.ndarray:
        action: np.ndarray = module(torch.from_numpy(observation)).numpy()
        return action

    return act


def onnxruntime_fp32(baseline: Baseline) -> Act:
    """ONNX Runtime on the CPU, all graph optimisations, one thread."""
    import onnxruntime  # noqa: PLC0415  optional

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        _onnx_model(baseline), options, providers=["CPUExecutionProvider"]
    )

    def act(observation: np.ndarray) -> np.ndarray:
        action: np.ndarray = session.run(None, {"observation": observation[None]})[0][0]
        return action

    return act


PEERS: dict[str, Peer] = {
    "torch eager": Peer(torch_eager, ("torch",)),
    "torch jit": Peer(torch_jit, ("torch",)),
    "onnxruntime fp32": Peer(onnxruntime_fp32, ("onnx", "onnxruntime")),
}


def _torch_module(baseline: Baseline) -> Any:
    import torch  # noqa: PLC0415  optional

    torch.set_num_threads(1)
    last = len(baseline.weights) - 1

    class Policy(torch.nn.Module):
        """The baseline's formula."""

        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList()
            for weight, bias in zip(baseline.weights, baseline.biases, strict=True):
                layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
                layer.weight = torch.nn.Parameter(torch.tensor(weight), requires_grad=False)
                layer.bias = torch.nn.Parameter(torch.tensor(bias), requires_grad=False)
                self.layers.append(layer)
            for name in ("mean", "std", "scale", "bias"):
                self.register_buffer(name, torch.tensor(getattr(baseline, name)))

        def forward(self, observation: Any) -> Any:
            current = (observation - self.mean) / self.std
            current = current.clamp(-baseline.clip, baseline.clip)
            for index, layer in enumerate(self.layers):
                current = layer(current)
                if index < last:
                    current = torch.relu(current)
            actions: Any = torch.tanh(current)
            return actions * self.scale + self.bias

    return Policy().eval()


def _onnx_model(baseline: Baseline) -> bytes:
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415  optional

    constants = {
        "mean": baseline.mean,
        "std": baseline.std,
        "low": np.float32(-baseline.clip),
        "high": np.float32(baseline.clip),
        "scale": baseline.scale,
        "bias": baseline.bias,
    }
    nodes = [
        helper.make_node("Sub", ["observation", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["divided"]),
        helper.make_node("Clip", ["divided", "low", "high"], ["h0"]),
    ]
    last = len(baseline.weights) - 1
    for index, (weight, bias) in enumerate(zip(baseline.weights, baseline.biases, strict=True)):
        constants |= {f"w{index}": weight, f"b{index}": bias}
        inputs = [f"h{index}", f"w{index}", f"b{index}"]
        nodes.append(helper.make_node("Gemm", inputs, [f"a{index}"], transB=1))
        kind = "Relu" if index < last else "Tanh"
        nodes.append(helper.make_node(kind, [f"a{index}"], [f"h{index + 1}"]))
    nodes.append(helper.make_node("Mul", [f"h{last + 1}", "scale"], ["scaled"]))
    nodes.append(helper.make_node("Add", ["scaled", "bias"], ["action"]))
    ends = {"observation": baseline.mean.size, "action": baseline.scale.size}
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])
        for name, size in ends.items()
    }
    graph = helper.make_graph(
        nodes,
        "policy",
        [values["observation"]],
        [values["action"]],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    serialised: bytes = model.SerializeToString()
    return serialised
