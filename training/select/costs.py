"""What a shape costs: figures of the FPGA generator, or bytes and multiply-accumulates."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from pathlib import Path

import torch

from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.policy import IntegerNetwork
from qpolicy_training.quant.export import export_network
from qpolicy_training.quant.quant_actor import ActorSpec, QuantActor, calibrate
from qpolicy_training.select.config import HARDWARE_COSTS, SelectConfig, Shape
from qpolicy_training.select.ledger import read_json

Hardware = Callable[[IntegerNetwork, str, float, str], dict[str, float] | None]
"""``hardware_figures`` of ``qpolicy_fpga.explore.estimate``, or what stands in for it."""
Figures = dict[str, float]
CALIBRATION = 1024


class CostModel:
    """Cost of a shape before it is trained (random weights of its size), and of a trained network.

    ``sizes``: observations and actions; ``cache``: file in which figures are kept, since the
    generator takes seconds for a wide shape.
    """

    def __init__(
        self, config: SelectConfig, sizes: tuple[int, int], hardware: Hardware, cache: Path
    ) -> None:
        self._config = config
        self._sizes = sizes
        self._hardware = hardware
        self._cache = cache
        self._known: dict[str, Figures] = {}
        if cache.exists():
            self._known = read_json(cache)

    def of_shape(self, shape: Shape) -> Figures:
        """Figures of the shape; see ``of_network``."""
        if str(shape) not in self._known:
            self._known[str(shape)] = self.of_network(stand_in(self._sizes, shape))
            write_atomically(self._cache, json.dumps(self._known, indent=1).encode())
        return self._known[str(shape)]

    def of_network(self, network: IntegerNetwork) -> Figures:
        """Figures by name; ``cost`` is what shapes are compared by, infinite if it does not fit."""
        kind = self._config.cost
        macs = sum(weight.size for weight in network.weights)
        figures: Figures = {"macs": macs, "bytes": -(-macs * network.core_bits // 8)}
        if kind not in HARDWARE_COSTS:
            return {"cost": figures[kind], **figures}
        config = self._config
        hardware = self._hardware(network, config.part, config.clock_mhz, kind)
        if hardware is None:
            return {"cost": math.inf, **figures}
        cost = hardware["cycles"] * hardware["lut"] if kind == "hardware" else hardware[kind]
        return {"cost": cost, **hardware, **figures}


@functools.lru_cache(maxsize=64)
def stand_in(sizes: tuple[int, int], shape: Shape) -> IntegerNetwork:
    """Return a network of ``shape`` with random weights, the same ones each time.

    Args:
        sizes: observations and actions.
        shape: widths and bits.
    """
    observations, actions = sizes
    with torch.random.fork_rng():
        torch.manual_seed(0)
        actor = QuantActor(
            ActorSpec(observations, actions, shape.hidden, shape.b_in, shape.b_core, shape.b_out)
        )
        calibrate(actor, torch.randn(CALIBRATION, observations))
    ones, zeros = torch.ones, torch.zeros
    return export_network(
        actor.eval(),
        zeros(observations).numpy(),
        ones(observations).numpy(),
        ones(actions).numpy(),
        zeros(actions).numpy(),
    )
