"""Policies as other tools would write them, made here: graphs, checkpoints, contracts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

INPUTS, HIDDEN, OUTPUTS = 6, 8, 2


def weights(seed: int, out: int, into: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A layer's ``(out, in)`` weights and ``(out,)`` biases."""
    rng = np.random.default_rng(seed)
    return (
        rng.normal(0, into**-0.5, (out, into)).astype(np.float32),
        rng.normal(0, 0.1, out).astype(np.float32),
    )


class OnnxBuilder:
    """An ONNX graph, operator by operator; ``finish`` writes it."""

    def __init__(self, opset: int = 17) -> None:
        import onnx  # noqa: PLC0415

        self.onnx, self.opset = onnx, opset
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, values: Any, kind: Any = np.float32) -> str:
        """Add a constant; returns its name."""
        name = f"c{len(self._constants)}"
        array = np.asarray(values, kind)
        self._constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Add an operator; returns its output's name, or their names."""
        names = [f"t{len(self._nodes)}_{index}" for index in range(outputs)]
        self._nodes.append(self.onnx.helper.make_node(kind, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def layer(self, value: str, seed: int, out: int, into: int, *, gemm: bool = True) -> str:
        """A dense layer as Gemm, or as MatMul and Add."""
        weight, bias = weights(seed, out, into)
        if gemm:
            return self.op("Gemm", value, self.constant(weight), self.constant(bias), transB=1)
        product = self.op("MatMul", value, self.constant(weight.T))
        return self.op("Add", product, self.constant(bias))

    def finish(
        self,
        path: Path,
        outputs: Sequence[str],
        *,
        shape: Sequence[Any] = (1, INPUTS),
        names: Sequence[str] = (),
        inputs: Sequence[str] = ("obs",),
        metadata: dict[str, str] | None = None,
        external: bool = False,
    ) -> Path:
        """Write the model."""
        helper, real = self.onnx.helper, 1
        names = names or [f"out{i}" for i in range(len(outputs))]
        for output, name in zip(outputs, names, strict=True):
            self._nodes.append(helper.make_node("Identity", [output], [name]))
        graph = helper.make_graph(
            self._nodes,
            "policy",
            [helper.make_tensor_value_info(name, real, list(shape)) for name in inputs],
            [helper.make_tensor_value_info(name, real, None) for name in names],
            initializer=self._constants,
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8
        )
        helper.set_model_props(model, metadata or {})
        options = {"save_as_external_data": True, "location": "weights.data", "size_threshold": 0}
        self.onnx.save(model, str(path), **(options if external else {}))
        return path


def onnx_policy(
    path: Path,
    activation: Callable[[OnnxBuilder, str], str] | None = None,
    *,
    opset: int = 17,
    gemm: bool = True,
    inputs: int = INPUTS,
    outputs: int = OUTPUTS,
    **options: Any,
) -> Path:
    """A policy of two layers with an activation between, a linear output."""
    b = OnnxBuilder(opset)
    value = b.layer("obs", 0, HIDDEN, inputs, gemm=gemm)
    value = activation(b, value) if activation else b.op("Elu", value, alpha=1.0)
    value = b.layer(value, 1, outputs, HIDDEN, gemm=gemm)
    return b.finish(path, [value], shape=options.pop("shape", (1, inputs)), **options)
