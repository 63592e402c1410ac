"""What a student takes from the checkpoint of its teacher's SAC run: critics, and spreads."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qpolicy_ros.policy import PolicyError
from qpolicy_ros.sim.tasks import resolve_env_id, task_name
from qpolicy_training.experience.normaliser import RunningNormaliser
from qpolicy_training.rl.config import SacConfig
from qpolicy_training.rl.networks import Fp32Actor, GaussianHead
from qpolicy_training.rl.sac import Learner, critics_of
from qpolicy_training.runs.state import load_state, restore_module, restoring

_CRITICS = ("critic", "target")


class Spreads:
    """How exactly a teacher would have its actions: the spread of its exploration.

    SAC's policy is in proportion to exp(Q / temperature) (Haarnoja et al. 2018), so where its
    standard deviation is small the value falls off steeply beside its mean. An error of the action
    before tanh, divided by it, counts as much as what it costs.

    Args:
        checkpoint: of the teacher's run.
        task: Gymnasium id that it must be of.
        sizes: observations and actions.

    Raises ``PolicyError`` where the file holds no such policy.
    """

    def __init__(self, checkpoint: Path, task: str, sizes: tuple[int, int]) -> None:
        tensors, meta = load_state(checkpoint)
        _require_task(checkpoint, meta, task)
        layers = sum(k.startswith("actor.hidden.") and k.endswith(".weight") for k in tensors)
        self._normaliser = RunningNormaliser(sizes[0])
        try:
            hidden = [len(tensors[f"actor.hidden.{index}.weight"]) for index in range(layers)]
            self._actor = Fp32Actor(*sizes, hidden)
            self._head = GaussianHead(hidden[-1], sizes[1])
            restore_module("actor", self._actor, tensors)
            restore_module("head", self._head, tensors)
            self._normaliser.restore(
                {name: tensors[f"normaliser.{name}"].numpy() for name in self._normaliser.state()}
            )
        except (RuntimeError, LookupError, ValueError):
            self._normaliser.count = 0
        if not self._normaliser.count:  # or its statistics were another run's
            message = (
                f"{checkpoint}: --critic: holds no FP32 actor with an exploration head and its own "
                f"statistics for {sizes[0]} observations and {sizes[1]} actions, by which "
                "--distill.loss divergence measures; give the checkpoint.safetensors of the "
                "teacher's SAC run"
            )
            raise PolicyError(message)

    def __call__(self, observations: np.ndarray) -> Tensor:
        """Standard deviations before tanh ``(k, m)`` where it sees float32 ``(k, n)``."""
        with torch.no_grad():
            _, features = self._actor(torch.from_numpy(self._normaliser(observations)))
            spreads: Tensor = self._head(features).exp()
            return spreads

    def difference(self, observations: np.ndarray, shares: Tensor) -> float:
        """How far the checkpoint's policy is from the teacher's: square error over variance.

        ``shares`` ``(k, m)`` is what the teacher does where it sees ``(k, n)``. 0: it is the
        teacher; about 2: nothing in common. A run's best policy may differ from its last.
        """
        with torch.no_grad():
            mean, _ = self._actor(torch.from_numpy(self._normaliser(observations)))
        error = (torch.tanh(mean) - shares).square().mean()
        return float(error / (shares - shares.mean(0)).square().mean().clamp(min=1e-9))


def adopt_critics(learner: Learner, checkpoint: Path, task: str, sizes: tuple[int, int]) -> None:
    """Let ``learner`` go on from a checkpoint's critics and entropy temperature.

    Where that run had another ``reward_scale`` both are brought to the learner's. Raises
    ``PolicyError`` as ``require_critics`` does.
    """
    tensors = require_critics(checkpoint, task, sizes, learner.config)
    restore_module("critic", learner.critic, tensors)
    restore_module("target", learner.target, tensors)
    ratio = learner.config.reward_scale / float(tensors["reward_scale"])
    for critic in (learner.critic, learner.target):
        critic.scale_values(ratio)
    learner.changed()
    with torch.no_grad():
        learner.log_alpha.copy_(tensors["log_alpha"] + math.log(ratio))


def require_critics(
    checkpoint: Path, task: str, sizes: tuple[int, int], config: SacConfig
) -> dict[str, Tensor]:
    """Tensors of ``checkpoint``, which holds critics that a learner of ``config`` can go on from.

    Raises ``PolicyError`` where they are of another task, width or normalisation.
    """
    tensors, meta = load_state(checkpoint)
    _require_task(checkpoint, meta, task)
    with torch.device("meta"):  # shapes alone: no memory, no random numbers
        critic = critics_of(*sizes, config)
    wanted = {
        f"{part}.{name}": t.shape for part in _CRITICS for name, t in critic.state_dict().items()
    }
    found = {n: t.shape for n, t in tensors.items() if n.partition(".")[0] in _CRITICS}
    if found != wanted or "log_alpha" not in tensors:
        option = config.prefix
        message = (
            f"{checkpoint}: --critic: holds no critics of {sizes[0]} + {sizes[1]} inputs and width "
            f"{config.critic_width} with {option}.critic-norm {config.critic_norm}; give the "
            f"teacher's own checkpoint.safetensors and its {option}.critic-width and "
            f"{option}.critic-norm"
        )
        raise PolicyError(message)
    tensors.setdefault("reward_scale", torch.ones(()))  # earlier versions had 1 alone
    with restoring(checkpoint):
        scale = float(tensors["reward_scale"])
    if not 0.0 < scale < math.inf:
        message = f"{checkpoint}: reward_scale: {scale}; give an undamaged checkpoint to --critic"
        raise PolicyError(message)
    return tensors


def _require_task(checkpoint: Path, meta: dict[str, Any], task: str) -> None:
    """Refuse a run of another task, which may well have the same sizes."""
    theirs = meta.get("config", {}).get("task")
    if theirs is None:  # of an earlier version
        return
    with restoring(checkpoint):
        theirs, ours = task_name(resolve_env_id(theirs)), task_name(task)
    if theirs != ours:
        message = (
            f"{checkpoint}: --critic: is of {theirs}, not {ours}; give a checkpoint of this task"
        )
        raise PolicyError(message)
