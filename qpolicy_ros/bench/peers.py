"""The FP32 policy in other libraries, called as their users call them, one thread.

Each builder takes a :class:`Baseline` and observations that it knows, and returns a function from
observations to actions: ``float32 (n,) -> (m,)``, or ``(N, n) -> (N, m)`` where ``batch`` is set.
Everything that a user would do once is done once.
"""

from __future__ import annotations

import importlib.util
import logging
import shlex
import subprocess
import sysconfig
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from qpolicy_ros.common.files import scratch_folder
from qpolicy_ros.policy import Baseline

Act = Callable[[np.ndarray], np.ndarray]


class Peer(NamedTuple):
    """A library that can serve the policy.

    Attributes:
        build: returns its way to act.
        modules: what it needs installed.
        rounded: it computes with fewer bits than FP32, so its actions are near the baseline's only.
    """

    build: Callable[[Baseline, np.ndarray], Act]
    modules: tuple[str, ...]
    rounded: bool = False

    def missing(self) -> list[str]:
        """Return the modules that are not installed."""
        return [name for name in self.modules if importlib.util.find_spec(name) is None]


def torch_eager(baseline: Baseline, _: np.ndarray) -> Act:
    """PyTorch, eager, gradients off."""
    return _torch_act(_torch_module(baseline))


def torch_jit(baseline: Baseline, observations: np.ndarray) -> Act:
    """PyTorch, traced and frozen by TorchScript."""
    import torch  # noqa: PLC0415  optional

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(_torch_module(baseline), torch.from_numpy(observations[0]))
        return _torch_act(torch.jit.optimize_for_inference(torch.jit.freeze(traced.eval())))


def torch_compile(baseline: Baseline, observations: np.ndarray) -> Act:
    """PyTorch, compiled by Inductor for one shape."""
    import torch  # noqa: PLC0415  optional

    act = _torch_act(torch.compile(_torch_module(baseline), dynamic=False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        act(observations[0])  # compiled here, a user's first call
    return act


def onnxruntime_fp32(baseline: Baseline, _: np.ndarray) -> Act:
    """ONNX Runtime on the CPU, all graph optimisations, one thread."""
    return _onnx_act(_onnx_model(baseline))


def onnxruntime_int8(baseline: Baseline, observations: np.ndarray) -> Act:
    """ONNX Runtime, its own static quantisation of the same model (QDQ, int8, per channel)."""
    from onnxruntime import quantization  # noqa: PLC0415  optional

    class Reader(quantization.CalibrationDataReader):
        """One observation after the other."""

        def __init__(self) -> None:
            self._rows = iter(observations)

        def get_next(self) -> dict[str, np.ndarray] | None:
            row = next(self._rows, None)
            return None if row is None else {"observation": row[None]}

    with scratch_folder() as folder:
        plain, small = folder / "plain.onnx", folder / "int8.onnx"
        plain.write_bytes(_onnx_model(baseline))
        level = logging.root.manager.disable
        logging.disable(logging.WARNING)  # advice on models larger than this
        quantization.quantize_static(
            plain, small, Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8, op_types_to_quantize=["Gemm"],
            extra_options={"DedicatedQDQPair": False},
        )  # fmt: skip
        logging.disable(level)
        return _onnx_act(small.read_bytes())


def plain_c(baseline: Baseline, _: np.ndarray) -> Act:
    """``float_mlp.c``, compiled here for this processor; called as our own kernel is."""
    module = _compiled()
    gain = (1.0 / baseline.std).astype(np.float32)
    weights = [np.ascontiguousarray(weight.T) for weight in baseline.weights]
    biases = [np.ascontiguousarray(bias) for bias in baseline.biases]
    module.load(baseline.mean, gain, baseline.clip, weights, biases, baseline.scale, baseline.bias)
    outputs, call = baseline.scale.size, module.act

    def act(observation: np.ndarray) -> np.ndarray:
        action = np.empty(outputs, np.float32)
        call(observation, action)
        return action

    return act


PEERS: dict[str, Peer] = {
    "torch eager": Peer(torch_eager, ("torch",)),
    "torch jit": Peer(torch_jit, ("torch",)),
    "torch compile": Peer(torch_compile, ("torch",)),
    "onnxruntime fp32": Peer(onnxruntime_fp32, ("onnx", "onnxruntime")),
    "onnxruntime int8": Peer(onnxruntime_int8, ("onnx", "onnxruntime"), rounded=True),
    "plain C fp32": Peer(plain_c, ("setuptools",)),
}

#: Peers that take many observations at once.
BATCH_PEERS = ("torch eager", "onnxruntime fp32", "onnxruntime int8")


def _torch_act(module: Any) -> Act:
    import torch  # noqa: PLC0415  optional

    @torch.inference_mode()
    def act(observation: np.ndarray) -> np.ndarray:
        action: np.ndarray = module(torch.from_numpy(observation)).numpy()
        return action

    return act


def _onnx_act(model: bytes) -> Act:
    import onnxruntime  # noqa: PLC0415  optional

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def act(observation: np.ndarray) -> np.ndarray:
        if observation.ndim > 1:
            actions: np.ndarray = session.run(None, {"observation": observation})[0]
            return actions
        action: np.ndarray = session.run(None, {"observation": observation[None]})[0][0]
        return action

    return act


def _compiled() -> Any:
    """Compile ``float_mlp.c`` and import it, anew each time: its state is one policy."""
    source = Path(__file__).with_name("float_mlp.c")
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    with scratch_folder() as folder:
        library = folder / f"float_mlp{sysconfig.get_config_var('EXT_SUFFIX')}"
        include = sysconfig.get_paths()["include"]
        flags = ["-O3", "-march=native", "-shared", "-fPIC", f"-I{include}"]
        subprocess.run(
            [*compiler, *flags, str(source), "-o", str(library), "-lm"],
            check=True, capture_output=True,
        )  # fmt: skip
        spec = importlib.util.spec_from_file_location("float_mlp", library)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


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
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, size])
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
