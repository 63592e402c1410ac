"""Which learner trains an actor: by the algorithm, the precision of its products and the actor."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from torch import nn

from qpolicy_training.quant.fast_quant import actor_forward
from qpolicy_training.quant.processor import products_dtype
from qpolicy_training.quant.quant_actor import QuantActor
from qpolicy_training.rl.config import DdpgConfig, SacConfig
from qpolicy_training.rl.ddpg import DdpgLearner
from qpolicy_training.rl.fast_sac import FastLearner
from qpolicy_training.rl.sac import Learner


def make_learner(
    actor: nn.Module, sizes: tuple[int, int, int], config: SacConfig, policy_starts: int = 0
) -> FastLearner | DdpgLearner:
    """The learner that ``config`` asks for; the arguments are those of ``Learner``."""
    if isinstance(config, DdpgConfig):
        forward = actor_forward if isinstance(actor, QuantActor) else None
        return DdpgLearner(actor, sizes[:2], config, policy_starts, forward)
    return FastLearner(actor, sizes, config, policy_starts, products_dtype(config.products))


@contextlib.contextmanager
def better(learner: Learner | DdpgLearner, play: Callable[[], float]) -> Iterator[float]:
    """Play the actor, and the average of its parameters where there is one.

    Inside the block the actor has the parameters of the better one, whose return it gives.
    """
    mean = play()
    if not isinstance(learner, Learner) or not learner.average:
        yield mean
        return
    learner.swap_average()
    averaged = play()
    swapped = averaged > mean
    if not swapped:
        learner.swap_average()
    try:
        yield max(mean, averaged)
    finally:
        if swapped:
            learner.swap_average()
