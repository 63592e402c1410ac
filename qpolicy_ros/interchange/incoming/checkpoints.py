"""Checkpoints of rsl_rl and CleanRL: state dictionaries, read as tensors alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.interchange.incoming.chain import (
    Chain,
    activation_step,
    layers_in_row,
    load_tensors,
    numpy_tensors,
)
from qpolicy_ros.interchange.incoming.contracts.yaml_file import read_yaml
from qpolicy_ros.interchange.incoming.graph import Incoming, refused
from qpolicy_ros.interchange.incoming.torchscript import import_torch

_KNOWN = "read are rsl_rl's and CleanRL's; export others as ONNX"
_RSL_EPS = 1e-2  # of rsl_rl's EmpiricalNormalization
_RSL_ACTIVATION = "elu"  # rsl_rl's default
_AGENT = ("params/agent.yaml", "agent.yaml")
_RECURRENT = re.compile(r"(memory|rnn|lstm|gru)", re.IGNORECASE)
# CleanRL's actors: their layers in order, their activation, whether tanh ends them.
_CLEAN_RL: tuple[tuple[tuple[str, ...], str, bool], ...] = (
    (("fc1", "fc2", "fc_mean"), "relu", True),  # SAC
    (("fc1", "fc2", "fc_mu"), "relu", True),  # TD3, DDPG
    (("actor_mean.0", "actor_mean.2", "actor_mean.4"), "tanh", False),  # PPO
    (("actor_mean.0", "actor_mean.2", "actor_mean.4", "actor_mean.6"), "tanh", False),  # RPO
)


def read_checkpoint(path: Path, activation: str) -> Incoming:
    """Read a checkpoint that ``torch.save`` wrote.

    Args:
        path: of the file.
        activation: of the hidden layers; empty takes what is beside, or the project's default.

    Raises:
        InputError: it holds code, is of no known project, or no chain of layers.
    """
    content = load_tensors(path, path.read_bytes())
    if isinstance(content, (tuple, list)) and content:  # CleanRL's SAC: actor and critics
        content = content[0]
    if not isinstance(content, Mapping):
        wrong = f"holds a {type(content).__name__}, not a state dictionary"
        raise InputError.at(path, "file", wrong, _KNOWN)
    kind, chain = _chain(path, content, activation)
    return chain.incoming(kind, import_torch(path))


def _chain(path: Path, content: Mapping[str, Any], activation: str) -> tuple[str, Chain]:
    tensors = numpy_tensors(dict(content))
    for layers, name, tanh in reversed(_CLEAN_RL):
        if all(f"{layer}.weight" in tensors for layer in layers):
            return "CleanRL", _clean_rl(path, tensors, layers, activation or name, tanh)
    state = next(
        (content[key] for key in ("actor_state_dict", "model_state_dict", "student_state_dict")
         if isinstance(content.get(key), Mapping)),
        content,
    )  # fmt: skip
    tensors = numpy_tensors(dict(state))
    recurrent = next((name for name in tensors if _RECURRENT.search(name)), "")
    if recurrent:
        layer = recurrent.rpartition(".")[0] or recurrent
        raise refused(path, layer, "is a recurrent layer, which a policy file cannot hold")
    convolution = next((name for name, tensor in tensors.items() if tensor.ndim == 4), "")
    if convolution:
        layer = convolution.removesuffix(".weight")
        raise refused(path, layer, "is a convolution, which a policy file cannot hold")
    for prefix in ("mlp", "actor", "student", "actor.mlp", "actor.net"):
        layers = _numbered(tensors, prefix)
        if layers:
            return "rsl_rl", _rsl_rl(path, content, tensors, layers, activation)
    shown = ", ".join(list(map(str, content))[:6])
    raise InputError.at(path, "file", f"holds {shown}: no actor that is known here", _KNOWN)


def _numbered(tensors: Mapping[str, Any], prefix: str) -> tuple[str, ...]:
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.weight")
    numbers = sorted(int(match[1]) for name in tensors if (match := pattern.fullmatch(name)))
    return tuple(f"{prefix}.{number}" for number in numbers)


def _clean_rl(
    path: Path, tensors: dict[str, Any], layers: tuple[str, ...], activation: str, tanh: bool
) -> Chain:
    weights, biases, norms = layers_in_row(tensors, layers, path, layers[0])
    output: list[tuple[Any, ...]] = [("tanh",)] if tanh else []
    chain = Chain(weights, biases, activation_step(activation, path), output, norms=norms)
    outputs = weights[-1].shape[0]
    if "action_scale" in tensors:
        scale = np.ravel(tensors["action_scale"])
        bias = np.ravel(tensors.get("action_bias", np.zeros(outputs)))
        if not {scale.size, bias.size} <= {1, outputs}:
            wrong = f"has {scale.size} values, the network answers {outputs}"
            raise InputError.at(path, "action_scale", wrong, "save the checkpoint again")
        chain.scale = np.broadcast_to(scale.astype(np.float64), (outputs,))
        chain.bias = np.broadcast_to(bias.astype(np.float64), (outputs,))
    if not tanh:
        note = "CleanRL's PPO normalises observations in the environment: a checkpoint lacks that"
        chain.notes.append(note)
    return chain


def _rsl_rl(
    path: Path,
    content: Mapping[str, Any],
    tensors: dict[str, Any],
    layers: tuple[str, ...],
    activation: str,
) -> Chain:
    weights, biases, norms = layers_in_row(tensors, layers, path, layers[0])
    name, note = activation, ""
    if not name:
        name, note = _beside(path)
    chain = Chain(weights, biases, activation_step(name, path), norms=norms)
    if note:
        chain.notes.append(note)
    outer = content.get("obs_norm_state_dict")
    moments = {f"obs_normalizer.{k}": v for k, v in numpy_tensors(outer).items()} if outer else {}
    for source in (tensors, moments):
        for prefix in ("obs_normalizer", "actor_obs_normalizer", "student_obs_normalizer"):
            mean, std = (source.get(f"{prefix}.{key}") for key in ("_mean", "_std"))
            if mean is None or std is None:
                continue
            if mean.size != weights[0].shape[1] or std.size != mean.size:
                wrong = f"is of {mean.size} values, the network takes {weights[0].shape[1]}"
                raise InputError.at(path, prefix, wrong, "save the checkpoint again")
            chain.mean, chain.std = mean.ravel(), std.ravel() + np.float32(_RSL_EPS)
    return chain


def _beside(path: Path) -> tuple[str, str]:
    """The activation that the run's own configuration says, and where it was found."""
    for name in _AGENT:
        file = path.parent / name
        if file.is_file():
            found = _activation_in(read_yaml(file))
            if found:
                return found, f"the activation {found} is that of {name}"
    note = f"the checkpoint does not say its activation: {_RSL_ACTIVATION}, rsl_rl's default"
    return _RSL_ACTIVATION, note


def _activation_in(config: Any) -> str:
    if not isinstance(config, Mapping):
        return ""
    for key in ("actor", "policy", "student"):
        part = config.get(key)
        if isinstance(part, Mapping) and isinstance(part.get("activation"), str):
            return str(part["activation"])
    return ""
