"""How a policy walks beside another one, its teacher, command by command."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from qpolicy_ros.policy import Contract
from qpolicy_ros.sim.commanded import Command, Walks, open_commanded, walk_at
from qpolicy_ros.sim.rollout import Policy

COMMANDS: tuple[Command, ...] = (
    (0.0, 0.0, 0.0), (0.5, 0.0, 0.0), (0.3, 0.2, 0.0), (0.0, 0.0, 0.5),
)  # fmt: skip
CLOSE = (0.05, 0.05, 0.1)  # m/s, m/s, rad/s


@dataclass(frozen=True)
class Beside:
    """Walks of both at one command.

    Attributes:
        ours, theirs: of the policy and of its teacher, on the same seeds.
        action_rmse: distance of the actions where the policy walked, in their own units.
    """

    ours: Walks
    theirs: Walks
    action_rmse: float

    @property
    def alike(self) -> bool:
        """Whether no fewer stay up, and the velocities are within 0.05 m/s and 0.1 rad/s."""
        pairs = zip(self.ours.velocity, self.theirs.velocity, CLOSE, strict=True)
        near = all(a is None or b is None or abs(a - b) <= most for a, b, most in pairs)
        return self.ours.up >= self.theirs.up and near


def commands_within(contract: Contract) -> list[Command]:
    """Return the commands to play, within those that a policy was trained for, each once."""
    ranges = {source: (low, high) for source, low, high in contract.commands}
    sources = ("cmd_vel.linear:x", "cmd_vel.linear:y", "cmd_vel.angular:z")
    limits = [ranges.get(source, (-np.inf, np.inf)) for source in sources]
    low, high = np.array(limits).T
    clipped = [np.clip(command, low, high).tolist() for command in COMMANDS]
    return list(dict.fromkeys((x, y, turn) for x, y, turn in clipped))


def beside(
    act: Policy,
    teach: Policy,
    robot: str,
    contract: Contract,
    seeds: Sequence[int],
    progress: Callable[[], object] = lambda: None,
) -> Iterator[Beside]:
    """Play a policy and its teacher at every command, one observation at a time.

    Args:
        act: the policy, float32 observation (n,) -> float32 action (m,).
        teach: its teacher, likewise.
        robot: a name or a file.
        contract: of both.
        seeds: of the walks at each command.
        progress: called after each walk.

    Raises:
        PolicyError: as :func:`qpolicy_ros.sim.commanded.open_commanded`.
    """
    simulation = open_commanded(robot, contract)
    for command in commands_within(contract):
        errors: list[float] = []

        def compared(observation: np.ndarray, errors: list[float] = errors) -> np.ndarray:
            action = act(observation)
            errors.append(float(np.mean((action - teach(observation)) ** 2)))
            return action

        both: list[Walks] = []
        for policy in (compared, teach):
            walks = []
            for seed in seeds:
                walks.append(walk_at(policy, simulation, seed, command))
                progress()
            both.append(Walks(command, tuple(walks)))
        yield Beside(both[0], both[1], float(np.sqrt(np.mean(errors))))
    simulation.close()
