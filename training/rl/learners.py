"""Which learner trains an actor: by the algorithm, the precision of its products and the actor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpolicy_training.quant.fast_quant import actor_forward
from qpolicy_training.quant.quant_actor import QuantActor
from qpolicy_training.rl.ddpg import DdpgConfig, DdpgLearner
from qpolicy_training.rl.fast_sac import FastLearner
from qpolicy_training.rl.sac import Learner

if TYPE_CHECKING:
    from torch import nn

    from qpolicy_training.rl.sac import SacConfig


def make_learner(
    actor: nn.Module, sizes: tuple[int, int, int], config: SacConfig, policy_starts: int = 0
) -> Learner | DdpgLearner:
    """The learner that ``config`` asks for; the arguments are those of ``Learner``."""
    if isinstance(config, DdpgConfig):
        forward = actor_forward if isinstance(actor, QuantActor) else None
        return DdpgLearner(actor, sizes[:2], config, policy_starts, forward)
    if config.products == "bfloat16":
        return FastLearner(actor, sizes, config, policy_starts)
    learner = Learner(actor, sizes, config, policy_starts)
    if isinstance(actor, QuantActor):
        learner.forward = lambda normalised: actor_forward(actor, normalised)
    return learner
