"""The integer engine of an actor in training: what acts, and what evaluations measure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpolicy_ros.policy import make_engine
from qpolicy_training.experience.normaliser import RunningNormaliser
from qpolicy_training.quant.export import export_network
from qpolicy_training.quant.quant_actor import QuantActor

if TYPE_CHECKING:  # a student of a recording needs no simulator
    from qpolicy_ros.sim.rollout import Policy
    from qpolicy_training.experience.task_env import TrainingEnv


def integer_policy(actor: QuantActor, normaliser: RunningNormaliser, env: TrainingEnv) -> Policy:
    """Export ``actor`` as it stands: float32 ``(n,)`` → float32 ``(m,)`` in the task's units."""
    network = export_network(actor, normaliser.mean, normaliser.std, env.scale, env.bias)
    return make_engine(network).act
