"""The trained quantised module as a file: ``<name>.qat.safetensors``, beside the policy's own.

Tensors: ``actor.weight.{i}``, ``actor.bias.{i}`` and ``actor.range.{i}`` (the range parameters of
the activation quantisers, input first), ``mean`` and ``std`` of its normalisation,
``observations`` for golden vectors and for verification, and where the actions are not the FP32
baseline's range ``action_scale`` and ``action_bias``. The architecture is JSON metadata.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
import torch

from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.policy import Baseline, PolicyError
from qpolicy_ros.policy.container import METADATA_KEY, read_container
from qpolicy_ros.policy.validate import MAX_LAYERS, MAX_WIDTH, Checker, check_provenance
from qpolicy_training.quant.quant_actor import ActorSpec, QuantActor

SUFFIX = ".qat.safetensors"
FORMAT = "qpolicy-qat-1"
_ACTION = ("action_scale", "action_bias")
_REMEDY = "give a .qat.safetensors file made by `qpolicy quantize`"


@dataclass(frozen=True, eq=False)
class QatPolicy:
    """A trained quantised actor with everything that an export needs but the FP32 baseline.

    Attributes:
        task: short name, as in the contract.
        actor: calibrated, in evaluation mode after loading.
        mean: of its normalisation, float32 ``(n,)``; std: the same.
        observations: float32 ``(k, n)``, for golden vectors.
        provenance: JSON-able.
        action: scale and bias, float32 ``(m,)`` each, of ``tanh(u) * scale + bias``; None: those
            of the FP32 baseline.
    """

    task: str
    actor: QuantActor
    mean: npt.NDArray[np.float32]
    std: npt.NDArray[np.float32]
    observations: npt.NDArray[np.float32]
    provenance: dict[str, Any]
    action: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None = None

    def action_of(self, baseline: Baseline) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Scale and bias of the actions, with the baseline that lies beside the module."""
        return self.action or (baseline.scale, baseline.bias)


def qat_path(policy: str | os.PathLike[str]) -> Path:
    """Where the module of a policy file lies: ``paper.safetensors`` → ``paper.qat.safetensors``."""
    return Path(policy).with_suffix(SUFFIX)


def save_qat(qat: QatPolicy, path: str | os.PathLike[str]) -> None:
    """Write ``path`` atomically.

    Raises:
        PolicyError: the actor still collects statistics, or the file cannot be written.
    """
    actor = qat.actor
    if not actor.calibrated:
        raise PolicyError.at(path, "actor", "still collects statistics", "train it further")
    tensors = {
        name: parameter.detach().numpy()
        for name, parameter in zip(_shapes(actor.spec), actor.flat_parameters(), strict=True)
    }
    for field in ("mean", "std", "observations"):
        tensors[field] = np.ascontiguousarray(getattr(qat, field), np.float32)
    for field, value in zip(_ACTION, qat.action or (), strict=False):
        tensors[field] = np.ascontiguousarray(value, np.float32)
    spec = dataclasses.asdict(actor.spec)
    if not actor.spec.fan_in:  # came later than the format
        del spec["fan_in"]
    meta = {
        "format": FORMAT,
        "task": qat.task,
        "spec": spec,
        "provenance": qat.provenance,
    }
    payload = safetensors.numpy.save(tensors, {METADATA_KEY: json.dumps(meta, sort_keys=True)})
    write_atomically(Path(path), payload)


def load_qat(path: str | os.PathLike[str]) -> QatPolicy:
    """Read what ``save_qat`` wrote.

    Raises:
        PolicyError: the file is missing, damaged or of another kind; the text names the field.
    """
    file = Path(path)
    text, tensors = read_container(file)
    task, spec, provenance = _metadata(text, file)
    shapes = _shapes(spec)
    # All shapes are checked before memory is taken for what the metadata claims.
    values = [_tensor(tensors, name, file, shape) for name, shape in shapes.items()]
    actor = QuantActor(spec).eval()
    with torch.no_grad():
        for parameter, value in zip(actor.flat_parameters(), values, strict=True):
            parameter.copy_(torch.from_numpy(value))
    for scaling in actor.scalings():
        scaling.counter = scaling.collect_stats_steps + 1
    size, actions = (spec.observations,), (spec.actions,)
    scaled = any(name in tensors for name in _ACTION)
    scale, bias = (_tensor(tensors, n, file, actions) if scaled else None for n in _ACTION)
    rows = tensors["observations"].shape[:1] if "observations" in tensors else ()
    return QatPolicy(
        task,
        actor,
        _tensor(tensors, "mean", file, size),
        _tensor(tensors, "std", file, size),
        _tensor(tensors, "observations", file, rows + size),
        provenance,
        None if scale is None or bias is None else (scale, bias),
    )


def _shapes(spec: ActorSpec) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the actor's parameters, in the order of ``flat_parameters``."""
    sizes = spec.layer_sizes()
    layers = list(enumerate(pairwise(sizes)))
    shapes: dict[str, tuple[int, ...]] = {f"actor.range.{i}": () for i in range(len(sizes))}
    shapes.update({f"actor.weight.{i}": (fan_out, fan_in) for i, (fan_in, fan_out) in layers})
    shapes.update({f"actor.bias.{i}": (fan_out,) for i, (_, fan_out) in layers})
    return shapes


def _metadata(text: str, file: Path) -> tuple[str, ActorSpec, dict[str, Any]]:
    try:
        meta = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PolicyError.at(file, "metadata", f"damaged: {error}", _REMEDY) from error
    found = meta.get("format") if isinstance(meta, dict) else None
    if found != FORMAT:
        raise PolicyError.at(file, "format", f"{found!r}, expected {FORMAT!r}", _REMEDY)
    check = Checker(file)
    for field in ("spec", "task", "provenance"):
        check.require(field in meta, field, "is missing", _REMEDY)
    check.is_text(meta["task"], "task")
    check_provenance(meta["provenance"], file)
    try:
        return meta["task"], _spec(meta["spec"]), meta["provenance"]
    except (KeyError, TypeError, ValueError) as error:
        raise PolicyError.at(file, "spec", f"is not valid ({error})", _REMEDY) from error


def _spec(fields: dict[str, Any]) -> ActorSpec:
    """The architecture; ValueError or TypeError before memory is taken for what it claims."""
    numbers = {"fan_in": [], **fields}
    lists: dict[str, Any] = {name: numbers.pop(name) for name in ("hidden", "fan_in")}
    limits = (("hidden", MAX_LAYERS, "widths"), ("fan_in", MAX_LAYERS + 1, "numbers"))
    for name, most, what in limits:
        if not isinstance(lists[name], list) or len(lists[name]) > most:
            raise ValueError(f"{name}: {lists[name]!r:.60}: a list of at most {most} {what}")
        numbers.update({f"{name}[{i}]": value for i, value in enumerate(lists[name])})
    if type(numbers.pop("power_of_two", False)) is not bool:
        raise ValueError(f"power_of_two: {fields['power_of_two']!r:.60}: true or false")
    for name, value in numbers.items():
        if type(value) is not int or value > MAX_WIDTH:
            raise ValueError(f"{name}: {value!r:.60}: an integer of at most {MAX_WIDTH}")
    return ActorSpec(**{**fields, **{name: tuple(value) for name, value in lists.items()}})


def _tensor(
    tensors: dict[str, npt.NDArray[Any]], name: str, file: Path, shape: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    value = tensors.get(name)
    if value is None:
        raise PolicyError.at(file, name, "is missing", _REMEDY)
    if value.dtype != np.float32 or value.shape != shape:
        wrong = f"{value.dtype} {value.shape}, expected float32 {shape}"
        raise PolicyError.at(file, name, wrong, _REMEDY)
    if not np.isfinite(value).all():
        raise PolicyError.at(file, name, "holds a value that is not finite", _REMEDY)
    return value.copy()
