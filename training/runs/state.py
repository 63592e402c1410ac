"""Checkpoints: tensors and JSON in one safetensors file, written atomically, without pickle."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.policy import PolicyError

_MISFITS = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError)
_RESTORE = "give an intact copy, or start again in an empty QPOLICY_RUNS"


def save_state(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Write ``path`` atomically; a failure leaves the previous file untouched.

    Raises ``PolicyError`` when the disk is full or the folder cannot be written.
    """
    payload = save(
        {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()},
        metadata={"json": json.dumps(meta)},
    )
    write_atomically(path, payload)


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``save_state`` wrote; ``PolicyError`` when the file is missing or damaged."""
    if path.exists() and not path.is_file():  # a pipe would block
        raise PolicyError.at(path, "checkpoint", "is not a regular file", _RESTORE)
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("json")
            meta = None if text is None else json.loads(text)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        message = f"{path}: checkpoint: not found; give a file that exists"
        raise PolicyError(message) from None
    except (SafetensorError, ValueError, RecursionError, OSError) as error:
        raise PolicyError.at(path, "checkpoint", f"damaged ({error})", _RESTORE) from None
    if not isinstance(meta, dict):
        message = f"{path}: is not a checkpoint; give a file that a training run wrote"
        raise PolicyError(message)
    return tensors, meta


@contextlib.contextmanager
def restoring(path: Path) -> Iterator[None]:
    """Name ``path`` in a ``PolicyError`` where what it holds does not fit its use."""
    try:
        yield
    except InputError:
        raise
    except _MISFITS as error:
        wrong = f"does not fit ({type(error).__name__}: {error})"
        raise PolicyError.at(path, "checkpoint", wrong, _RESTORE) from error


def module_state(prefix: str, module: torch.nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of ``module`` under ``prefix``."""
    return {f"{prefix}.{name}": value for name, value in module.state_dict().items()}


def restore_module(prefix: str, module: torch.nn.Module, tensors: dict[str, Tensor]) -> None:
    """Undo ``module_state``."""
    head = f"{prefix}."
    module.load_state_dict(
        {name[len(head) :]: value for name, value in tensors.items() if name.startswith(head)}
    )


def adam_state(prefix: str, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Moments and step counts of an Adam optimiser."""
    state = optimiser.state_dict()["state"]
    return {
        f"{prefix}.{index}.{name}": value
        for index, values in state.items()
        for name, value in values.items()
    }


def restore_adam(prefix: str, optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Undo ``adam_state``."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(f"{prefix}."):
            index, field = name[len(prefix) + 1 :].split(".")
            state.setdefault(int(index), {})[field] = value
    if state:
        whole = optimiser.state_dict()
        whole["state"] = state
        optimiser.load_state_dict(whole)


class Parts(NamedTuple):
    """What a learner consists of, by the names that a checkpoint gives them."""

    modules: dict[str, torch.nn.Module]
    optimisers: dict[str, torch.optim.Optimizer]
    """Of Adam."""

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a resume needs of them."""
        tensors: dict[str, Tensor] = {}
        for name, module in self.modules.items():
            tensors |= module_state(name, module)
        for name, optimiser in self.optimisers.items():
            tensors |= adam_state(name, optimiser)
        return tensors

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Undo ``tensors``."""
        for name, module in self.modules.items():
            restore_module(name, module, tensors)
        for name, optimiser in self.optimisers.items():
            restore_adam(name, optimiser, tensors)
