"""Zips of Stable-Baselines3 and sb3-contrib: SAC, TD3, DDPG, TQC, PPO, A2C, with VecNormalize.

The zip's JSON has pickles inside, of which none is run: what they say is there as text, too, or is
read as inert data. The weights are tensors alone.
"""

from __future__ import annotations

import base64
import json
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
from qpolicy_ros.interchange.incoming.graph import Incoming, refused
from qpolicy_ros.interchange.incoming.inert_pickle import Record, array, read_pickle
from qpolicy_ros.interchange.incoming.npz import read_statistics
from qpolicy_ros.interchange.incoming.torchscript import import_torch
from qpolicy_ros.interchange.incoming.zip_files import Zip

_MOST_PICKLE = 64 << 20
_SAVE = "save the model again"
_BESIDE = ("vecnormalize.pkl", "vec_normalize.pkl", "{stem}/vecnormalize.pkl",
           "{stem}_vecnormalize.pkl")  # fmt: skip
_CLIP_MEAN = 2.0  # of SAC with gSDE, Stable-Baselines3's default


def read_stable_baselines(
    path: Path, archive: Zip, activation: str, normalisation: str
) -> Incoming:
    """Read a model that Stable-Baselines3 saved.

    Args:
        path: of the zip.
        archive: the same, opened.
        activation: of the hidden layers; empty takes the zip's.
        normalisation: file of VecNormalize's statistics; empty looks beside the zip.

    Raises:
        InputError: it is damaged, of discrete actions, or no chain of layers.
    """
    try:
        data = json.loads(archive.read("data"))
    except (ValueError, RecursionError) as error:
        raise InputError.at(path, "data", f"is damaged: {error}", _SAVE) from error
    if not isinstance(data, dict):
        raise InputError.at(path, "data", "is no object", _SAVE)
    state = load_tensors(path, archive.read("policy.pth"), "policy.pth")
    chain = _chain(path, data, numpy_tensors(state), activation)
    low, high = _action_limits(path, data, chain.weights[-1].shape[0])
    squashed = bool(chain.output) and chain.output[-1] == ("tanh",)
    if squashed:
        chain.scale, chain.bias = (high - low) / 2, (high + low) / 2
    else:
        # Cut to the limits, which may differ from action to action: -1 to 1 first.
        half, middle = (high - low) / 2, (high + low) / 2
        chain.weights[-1] = chain.weights[-1] / half[:, None]
        chain.biases[-1] = (chain.biases[-1] - middle) / half
        chain.output = [("clip", -1.0, 1.0)]
        chain.scale, chain.bias = half, middle
    _normalise(path, chain, normalisation)
    incoming = chain.incoming("Stable-Baselines3", import_torch(path))
    incoming.low, incoming.high = low, high
    return incoming


def _chain(path: Path, data: Mapping[str, Any], tensors: dict[str, Any], activation: str) -> Chain:
    extracted = next((n for n in tensors if "features_extractor" in n and n.endswith("weight")), "")
    if extracted:
        layer = extracted.removesuffix(".weight")
        kind = "a convolution" if tensors[extracted].ndim == 4 else "a features extractor"
        raise refused(path, layer, f"is {kind}, which a policy file cannot hold")
    recurrent = next((n for n in tensors if re.search(r"\blstm", n)), "")
    if recurrent:
        raise refused(path, recurrent, "is an LSTM, which a policy file cannot hold")
    on_policy = "action_net.weight" in tensors
    kwargs = data.get("policy_kwargs")
    step = activation_step(activation, path) if activation else _activation(path, kwargs, on_policy)
    if on_policy:
        prefixes = _numbered(tensors, "mlp_extractor.shared_net")
        prefixes += _numbered(tensors, "mlp_extractor.policy_net")
        prefixes.append("action_net")
        squash = _flag(kwargs, "squash_output")
        output: list[tuple[Any, ...]] = [("tanh",)] if squash else []
    elif "actor.mu.weight" in tensors:
        prefixes = [*_numbered(tensors, "actor.latent_pi"), "actor.mu"]
        output = [("tanh",)]
    elif "actor.latent_pi.0.weight" in tensors and "actor.mu.0.weight" in tensors:
        prefixes = [*_numbered(tensors, "actor.latent_pi"), "actor.mu.0"]
        output = [("clip", -_CLIP_MEAN, _CLIP_MEAN), ("tanh",)]  # gSDE
    else:
        prefixes, output = _numbered(tensors, "actor.mu"), [("tanh",)]
    if not prefixes:
        wrong = "has no actor that is known here"
        raise InputError.at(path, "policy.pth", wrong, "read are SAC, TD3, DDPG, TQC, PPO and A2C")
    weights, biases, norms = layers_in_row(tensors, prefixes, path, "policy.pth")
    return Chain(weights, biases, step, output, norms=norms)


def _numbered(tensors: Mapping[str, Any], prefix: str) -> list[str]:
    """The layers ``<prefix>.<number>``, in order."""
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.weight")
    numbers = sorted(int(match[1]) for name in tensors if (match := pattern.fullmatch(name)))
    return [f"{prefix}.{number}" for number in numbers]


def _activation(path: Path, kwargs: Any, on_policy: bool) -> tuple[Any, ...]:
    text = str(kwargs.get("activation_fn", "")) if isinstance(kwargs, dict) else ""
    match = re.search(r"activation\.(\w+)", text)
    if match:
        return activation_step(match[1], path)
    if text:
        raise InputError.at(
            path, "activation_fn", f"{text!r:.80} is not known", "give --activation"
        )
    return ("tanh",) if on_policy else ("relu",)


def _flag(kwargs: Any, name: str) -> bool:
    return isinstance(kwargs, dict) and str(kwargs.get(name, False)) == "True"


def _action_limits(path: Path, data: Mapping[str, Any], count: int) -> tuple[Any, Any]:
    """Lowest and highest action, ``(m,)``."""
    space = data.get("action_space")
    if not isinstance(space, dict):
        raise InputError.at(path, "action_space", "is missing", _SAVE)
    kind = str(space.get(":type:"))
    if "Box" not in kind:
        wrong = f"is {kind!r:.80}; a policy here has continuous actions"
        raise InputError.at(path, "action_space", wrong, "give a policy with a Box of actions")
    limits = []
    for key in ("low", "high"):
        values = _shown_numbers(space.get(key))
        if values is None or values.size != count:
            values = _hidden_numbers(path, space, key)
        if values is None or values.size not in {1, count}:
            wrong = f"has no {key} for {count} actions"
            raise InputError.at(path, "action_space", wrong, _SAVE)
        limits.append(np.broadcast_to(values.astype(np.float64).ravel(), (count,)))
    low, high = limits
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
        raise InputError.at(path, "action_space", "has no finite ascending limits", _SAVE)
    return low, high


def _shown_numbers(text: object) -> Any:
    """The array that NumPy has printed, unless it has left some out."""
    if not isinstance(text, str) or "..." in text:
        return None
    try:
        return np.array([float(word) for word in re.sub(r"[\[\],]", " ", text).split()])
    except ValueError:
        return None


def _hidden_numbers(path: Path, space: Mapping[str, Any], key: str) -> Any:
    """The same from the pickle in the JSON, read as inert data."""
    text = space.get(":serialized:")
    if not isinstance(text, str) or len(text) > _MOST_PICKLE:
        return None
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    found = read_pickle(content, path, "action_space")
    return array(found.get(key)) if isinstance(found, Record) else None


def _normalise(path: Path, chain: Chain, normalisation: str) -> None:
    """Take VecNormalize's statistics in: those given, or those beside."""
    beside = [path.parent / name.format(stem=path.stem) for name in _BESIDE]
    file = Path(normalisation) if normalisation else next((f for f in beside if f.is_file()), None)
    if file is None:
        chain.notes.append("no vecnormalize.pkl beside it: the observations are not normalised")
        return
    if not file.is_file():
        raise InputError.at(file, "--normalisation", "does not exist", "give VecNormalize's file")
    if file.suffix == ".npz":
        mean, var, eps, clip = read_statistics(file)
    else:
        mean, var, eps, clip = _statistics(file)
    width = chain.weights[0].shape[1]
    if mean.size != width or var.size != width:
        wrong = f"is of {mean.size} values, the network takes {width}"
        raise InputError.at(file, "obs_rms", wrong, "give the statistics of this model")
    chain.mean, chain.std, chain.clip = mean.ravel(), np.sqrt(var.ravel() + eps), clip
    chain.notes.append(f"observations are normalised by {file.name}")


def _statistics(file: Path) -> tuple[Any, Any, float, float]:
    """Mean, variance, epsilon and clip of a pickled VecNormalize."""
    if file.stat().st_size > _MOST_PICKLE:
        wrong = f"is larger than {_MOST_PICKLE} bytes"
        raise InputError.at(file, "VecNormalize", wrong, "give VecNormalize's file")
    found = read_pickle(file.read_bytes(), file, "VecNormalize")
    moments = found.get("obs_rms") if isinstance(found, Record) else None
    mean, var = (
        (array(moments.get(key)) for key in ("mean", "var"))
        if isinstance(moments, Record)
        else (None, None)
    )
    if not isinstance(found, Record) or mean is None or var is None:
        wrong = "has no mean and variance of one vector of observations"
        raise InputError.at(file, "obs_rms", wrong, "save them as .npz: mean, var, epsilon, clip")
    if not found.get("norm_obs"):
        return np.zeros_like(mean), np.ones_like(var), 0.0, 1e6
    eps, clip = array(found.get("epsilon")), array(found.get("clip_obs"))
    if eps is None or clip is None or not float(clip) > 0:
        raise InputError.at(file, "clip_obs", "is no number above 0", "save the statistics again")
    return mean, var, float(eps), float(clip)
