"""Weights without a graph: layers in a row, as our network and as PyTorch's modules."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.interchange.incoming.graph import NO_CLIP, Incoming, Network, refused
from qpolicy_ros.interchange.incoming.torchscript import import_torch
from qpolicy_ros.policy.activations import LAYER_NORM, LINEAR
from qpolicy_ros.policy.model import Float32

Array = npt.NDArray[Any]

_AGAIN = "save the checkpoint again"

#: What projects call an activation -> the step of a baseline.
ACTIVATIONS: dict[str, tuple[Any, ...]] = {
    "relu": ("relu",),
    "leaky_relu": ("leaky_relu", 0.01),
    "leakyrelu": ("leaky_relu", 0.01),
    "lrelu": ("leaky_relu", 0.01),
    "elu": ("elu", 1.0),
    "selu": ("selu",),
    "silu": ("silu",),
    "swish": ("silu",),
    "gelu": ("gelu",),
    "gelu_tanh": ("gelu_tanh",),
    "tanh": ("tanh",),
    "sigmoid": ("sigmoid",),
    "softplus": ("softplus", 1.0),
    "identity": (),
}


@dataclass
class Chain:
    """Layers in a row.

    Attributes:
        weights, biases: ``(out, in)`` and ``(out,)`` a layer.
        activation: between the layers, a step; empty for none.
        output: steps after the last layer.
        mean, std: of the observations' normalisation; None where there is none.
        clip: of the normalised observations.
        norms: layer normalisations before the activation of a layer: scale, shift, eps.
        scale, bias: of the answer, ``(m,)``; None where there are none.
        notes: what the reader decided.
    """

    weights: list[Array]
    biases: list[Array]
    activation: tuple[Any, ...]
    output: list[tuple[Any, ...]] = field(default_factory=list)
    mean: Array | None = None
    std: Array | None = None
    clip: float = NO_CLIP
    norms: dict[int, tuple[Array, Array, float]] = field(default_factory=dict)
    scale: Array | None = None
    bias: Array | None = None
    notes: list[str] = field(default_factory=list)

    def network(self) -> Network:
        """The same as our network."""
        inputs, outputs = self.weights[0].shape[1], self.weights[-1].shape[0]
        steps: list[tuple[Any, ...]] = []
        for index in range(len(self.weights)):
            steps.append((LINEAR,))
            if index in self.norms:
                steps.append((LAYER_NORM, self.norms[index][2]))
            if index < len(self.weights) - 1 and self.activation:
                steps.append(self.activation)
        norms = [self.norms[index] for index in sorted(self.norms)]
        wide = np.float64
        return Network(
            mean=np.zeros(inputs) if self.mean is None else self.mean.astype(wide),
            std=np.ones(inputs) if self.std is None else self.std.astype(wide),
            clip=self.clip,
            steps=[*steps, *self.output],
            weights=[weight.astype(wide) for weight in self.weights],
            biases=[bias.astype(wide) for bias in self.biases],
            norm_scales=[scale.astype(wide) for scale, _, _ in norms],
            norm_shifts=[shift.astype(wide) for _, shift, _ in norms],
            scale=np.ones(outputs) if self.scale is None else self.scale.astype(wide),
            bias=np.zeros(outputs) if self.bias is None else self.bias.astype(wide),
        )

    def incoming(self, kind: str, torch: Any) -> Incoming:
        """The source, run by PyTorch's modules."""
        network = self.network()
        module = self._module(torch)

        def run(observations: Float32) -> Float32:
            with torch.inference_mode():
                values = torch.from_numpy(observations)
                if self.mean is not None and self.std is not None:
                    mean, std = (
                        torch.tensor(v, dtype=torch.float32) for v in (self.mean, self.std)
                    )
                    values = ((values - mean) / std).clamp(-self.clip, self.clip)
                values = module(values)
                if self.scale is not None and self.bias is not None:
                    scale, bias = (
                        torch.tensor(v, dtype=torch.float32) for v in (self.scale, self.bias)
                    )
                    values = values * scale + bias
            return np.asarray(values.numpy(), np.float32)

        return Incoming(
            kind=kind,
            network=network,
            run=run,
            runtime=f"torch {torch.__version__}",
            width=self.weights[0].shape[1],
            outputs=network.outputs,
            notes=self.notes,
        )

    def _module(self, torch: Any) -> Any:
        modules = []
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
            state = {"weight": weight, "bias": bias}
            layer.load_state_dict(
                {k: torch.tensor(v, dtype=torch.float32) for k, v in state.items()}
            )
            modules.append(layer)
            if index in self.norms:
                scale, shift, eps = self.norms[index]
                norm = torch.nn.LayerNorm(scale.size, eps=eps)
                state = {"weight": scale, "bias": shift}
                norm.load_state_dict(
                    {k: torch.tensor(v, dtype=torch.float32) for k, v in state.items()}
                )
                modules.append(norm)
            if index < len(self.weights) - 1 and self.activation:
                modules.append(_torch_step(torch, self.activation))
        modules += [_torch_step(torch, step) for step in self.output]
        return torch.nn.Sequential(*modules).eval()


def _torch_step(torch: Any, step: tuple[Any, ...]) -> Any:
    kind, *numbers = step
    nn = torch.nn
    modules = {
        "relu": nn.ReLU,
        "leaky_relu": nn.LeakyReLU,
        "elu": nn.ELU,
        "selu": nn.SELU,
        "silu": nn.SiLU,
        "gelu": nn.GELU,
        "gelu_tanh": lambda: nn.GELU("tanh"),
        "tanh": nn.Tanh,
        "sigmoid": nn.Sigmoid,
        "softplus": nn.Softplus,
        "clip": nn.Hardtanh,
    }
    return modules[str(kind)](*numbers)


def activation_step(name: str, file: object) -> tuple[Any, ...]:
    """The step of an activation's name.

    Raises:
        InputError: it is none that a policy file can hold.
    """
    key = name.lower().removeprefix("nn.").replace("-", "_")
    if key not in ACTIVATIONS:
        known = ", ".join(dict.fromkeys(str(step[0]) for step in ACTIVATIONS.values() if step))
        raise InputError.at(file, "activation", f"{name!r} is not known", f"give one of {known}")
    return ACTIVATIONS[key]


def layers_in_row(
    tensors: Mapping[str, Array], prefixes: Sequence[str], file: Path, where: str
) -> tuple[list[Array], list[Array], dict[int, tuple[Array, Array, float]]]:
    """Take the layers ``<prefix>.weight`` and ``.bias`` out of a checkpoint, in order.

    A one-dimensional weight is a layer normalisation of the layer before.

    Raises:
        InputError: their sizes do not follow each other, or one is a convolution.
    """
    weights: list[Array] = []
    biases: list[Array] = []
    norms: dict[int, tuple[Array, Array, float]] = {}
    for prefix in prefixes:
        weight, bias = tensors[f"{prefix}.weight"], tensors.get(f"{prefix}.bias")
        if weight.ndim == 1 and weights:
            norms[len(weights) - 1] = (
                weight,
                np.zeros_like(weight) if bias is None else bias,
                1e-5,
            )
            continue
        if weight.ndim != 2:
            what = "a convolution" if weight.ndim in {3, 4, 5} else f"of shape {weight.shape}"
            raise refused(file, prefix, f"is {what}, which a policy file cannot hold")
        if weights and weight.shape[1] != weights[-1].shape[0]:
            wrong = f"takes {weight.shape[1]} values where {weights[-1].shape[0]} come"
            raise refused(file, prefix, wrong, _AGAIN)
        weights.append(weight)
        biases.append(np.zeros(weight.shape[0], np.float32) if bias is None else bias)
    if not weights:
        raise InputError.at(file, where, "has no layers of a policy", _AGAIN)
    for prefix, weight, bias in zip(prefixes, weights, biases, strict=False):
        if bias.shape != weight.shape[:1]:
            raise refused(file, prefix, f"has {bias.size} biases for {weight.shape[0]}", _AGAIN)
    return weights, biases, norms


def load_tensors(path: Path, content: bytes, what: str = "file") -> Any:
    """Return what ``torch.save`` wrote; tensors and plain containers only.

    Raises:
        InputError: it is damaged, or holds more than tensors.
    """
    from qpolicy_ros.interchange.incoming.zip_files import check_zip  # noqa: PLC0415

    torch = import_torch(path)
    check_zip(path, content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # its errors have no common base
        reason = " ".join(str(error).split())
        named = re.search(r"GLOBAL ([\w.]+)", reason)
        if named:
            wrong = f"holds code ({named[1]}), which is not run"
        elif "weights_only" in reason or "Weights only" in reason:
            wrong = "holds more than tensors, which is not read"
        else:
            wrong = f"cannot be read: {reason}"
        remedy = "save the state_dict alone, or export it as ONNX"
        raise InputError.at(path, what, wrong, remedy) from error


def numpy_tensors(state: Any) -> dict[str, Array]:
    """The tensors of a state dictionary, as arrays of float32 or what they are."""
    if not isinstance(state, dict):
        return {}
    return {
        str(key): value.detach().float().numpy()
        for key, value in state.items()
        if hasattr(value, "detach")
    }
