"""Weights in NumPy's ``.npz``: what anybody can write who has a network of another kind.

``weight.0``, ``bias.0``, ``weight.1`` ... ``(out, in)`` and ``(out,)``; optional are ``activation``
and ``output`` (texts), ``mean`` and ``std`` (or ``var`` and ``epsilon``), ``clip``, ``scale`` and
``bias`` of the answer. ``W0`` and ``b0`` are read, too.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.interchange.incoming.chain import Chain, activation_step, layers_in_row
from qpolicy_ros.interchange.incoming.graph import NO_CLIP, Incoming
from qpolicy_ros.interchange.incoming.torchscript import import_torch

_SAVE = "save it as docs/own-policy.md says"
_OUTPUTS: dict[str, list[tuple[Any, ...]]] = {
    "linear": [],
    "tanh": [("tanh",)],
    "sigmoid": [("sigmoid",)],
    "clip": [("clip", -1.0, 1.0)],
}


def read_npz(path: Path, activation: str) -> Incoming:
    """Read weights.

    Args:
        path: of the file.
        activation: of the hidden layers; empty takes the file's.

    Raises:
        InputError: it is damaged, has an array of objects, or its sizes do not fit.
    """
    arrays = _arrays(path)
    tensors = {}
    for name, values in arrays.items():
        match = re.fullmatch(r"(?:(weight|bias)[._]?|(W|w|b))(\d+)", name)
        if match and values.dtype.kind == "f":
            kind = match[1] or ("bias" if match[2] == "b" else "weight")
            tensors[f"{match[3]}.{kind}"] = values.astype(np.float32)
    numbers = sorted({int(name.partition(".")[0]) for name in tensors if name.endswith("weight")})
    if not numbers:
        raise InputError.at(path, "weight.0", "is missing", _SAVE)
    weights, biases, norms = layers_in_row(tensors, [str(n) for n in numbers], path, "weight.0")
    name = activation or _text(arrays, "activation")
    if not name and len(weights) > 1:
        wrong = "is missing: what is between the layers"
        raise InputError.at(path, "activation", wrong, "give --activation, such as elu")
    output = _text(arrays, "output") or "linear"
    if output not in _OUTPUTS:
        raise InputError.at(
            path, "output", f"{output!r} is not known", f"known: {', '.join(_OUTPUTS)}"
        )
    chain = Chain(weights, biases, activation_step(name or "identity", path), _OUTPUTS[output])
    chain.norms = norms
    if "mean" in arrays:
        mean, var, eps, clip = read_statistics(path)
        _require_width(path, mean, chain.weights[0].shape[1])
        chain.mean, chain.std, chain.clip = mean, np.sqrt(var + eps), clip
    if "scale" in arrays:
        outputs = chain.weights[-1].shape[0]
        scale, bias = (np.ravel(arrays.get(k, d)) for k, d in (("scale", 1.0), ("bias", 0.0)))
        if not {scale.size, bias.size} <= {1, outputs}:
            wrong = f"has {scale.size} values, the network answers {outputs}"
            raise InputError.at(path, "scale", wrong, _SAVE)
        chain.scale = np.broadcast_to(scale.astype(np.float64), (outputs,))
        chain.bias = np.broadcast_to(bias.astype(np.float64), (outputs,))
    return chain.incoming("NumPy weights", import_torch(path))


def read_statistics(path: Path) -> tuple[Any, Any, float, float]:
    """Mean, variance, epsilon and clip of observations, from an ``.npz``.

    Raises:
        InputError: it is damaged, or one of them is missing or no number.
    """
    arrays = _arrays(path)
    if "mean" not in arrays or not {"var", "std"} & arrays.keys():
        raise InputError.at(path, "mean", "mean and var, or mean and std, are missing", _SAVE)
    mean = np.ravel(arrays["mean"])
    if "std" in arrays:
        var, eps = np.square(np.ravel(arrays["std"]).astype(np.float64)), 0.0
    else:
        var, eps = np.ravel(arrays["var"]), float(np.ravel(arrays.get("epsilon", 1e-8))[0])
    clip = float(np.ravel(arrays.get("clip", NO_CLIP))[0])
    good = mean.dtype.kind in "fiu" and var.dtype.kind in "fiu" and mean.size == var.size
    if not good or not clip > 0 or not (var + eps > 0).all():
        raise InputError.at(path, "var", "is no variance of each value of mean", _SAVE)
    return mean.astype(np.float64), var.astype(np.float64), eps, clip


def _arrays(path: Path) -> dict[str, Any]:
    from qpolicy_ros.interchange.incoming.zip_files import Zip  # noqa: PLC0415

    Zip(path)  # its sizes are checked first
    try:
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (ValueError, OSError, KeyError, zipfile.BadZipFile, EOFError, TypeError) as error:
        reason = "has an array of objects" if "pickle" in str(error) else f"is damaged: {error}"
        raise InputError.at(path, "file", reason, _SAVE) from error
    except Exception as error:  # zlib.error has no common base
        raise InputError.at(path, "file", f"is damaged: {error}", _SAVE) from error


def _text(arrays: dict[str, Any], name: str) -> str:
    value = arrays.get(name)
    return str(value.ravel()[0]) if value is not None and value.size == 1 else ""


def _require_width(path: Path, mean: Any, width: int) -> None:
    if mean.size != width:
        wrong = f"has {mean.size} values, the network takes {width}"
        raise InputError.at(path, "mean", wrong, _SAVE)
