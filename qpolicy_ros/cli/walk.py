"""Does a legged robot's policy walk as fast as it is told?

Each seed is a walk of 20 s at a constant command, with friction, gains and pushes drawn by the
seed. A walk counts where the robot stayed up, made within 20 % of the commanded speed along the
direction it started in, and stayed within 2 m of that line. Exit status 1 where fewer than 90 % of
the walks count.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass
from typing import Annotated

import tyro
from tqdm import tqdm

from qpolicy_ros.backends import create_backend
from qpolicy_ros.common.errors import UsageError
from qpolicy_ros.policy import find_policy, load_policy
from qpolicy_ros.sim import Simulation
from qpolicy_ros.sim.display import mujoco
from qpolicy_ros.sim.rollout import Policy
from qpolicy_ros.sim.tracking import Walk, commanded_robot, require_same_robot, walk

PASSING = 0.9


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy walk`."""

    policy: Annotated[str, tyro.conf.Positional]
    """Shipped policy (go2, go2/fp32) or a .safetensors file."""
    backend: str = "integer"
    """What computes the actions: integer, fp32 or fpga; zero never leaves the default pose."""
    speed: float = 0.5
    """Commanded speed, m/s."""
    episodes: int = 20
    """How many walks."""
    seed: int = 0
    """Seed of the first walk; walk i takes seed + i."""
    json: bool = False
    """Print one JSON object on standard output."""


def main(args: Args) -> int:
    """Play the walks and print them; PolicyError or UsageError if they cannot be played."""
    if args.episodes < 1:
        raise UsageError(f"--episodes: {args.episodes} is too small; give 1 or more")
    if args.seed < 0:
        raise UsageError(f"--seed: {args.seed} is too small; give 0 or more")
    if not 0 < args.speed < float("inf"):
        raise UsageError(f"--speed: {args.speed} is no speed to walk at; give one above 0")
    artifact = load_policy(find_policy(args.policy))
    contract = artifact.contract
    simulation = Simulation(contract.env_id or contract.task)
    commanded_robot(simulation)
    require_same_robot(contract, simulation)
    if args.backend == "zero":
        walks = _play(lambda _: contract.default, simulation, args)
    else:
        backend = create_backend(args.backend, artifact)
        walks = _play(backend.act, simulation, args)
        backend.close()
    simulation.close()
    tracked = sum(w.tracks for w in walks)
    if args.json:
        print(
            json.dumps(
                {
                    "task": contract.task,
                    "backend": args.backend,
                    "commanded": args.speed,
                    "episodes": args.episodes,
                    "seed": args.seed,
                    "tracked": tracked,
                    "mean_speed": statistics.fmean(w.speed for w in walks),
                    "walks": [{**asdict(w), "tracks": w.tracks} for w in walks],
                    "mujoco_version": mujoco.__version__,
                    "function_hash": artifact.function_hash,
                }
            )
        )
    else:
        print(f"{'seed':>6} {'m/s':>7} {'drift, m':>9} {'s':>6}")
        for w in walks:
            mark = "" if w.tracks else "  does not track"
            print(f"{w.seed:>6} {w.speed:>7.3f} {w.drift:>9.2f} {w.seconds:>6.1f}{mark}")
        print(
            f"{contract.task}, {args.backend}: {tracked} of {args.episodes} track "
            f"{args.speed:g} m/s, mujoco {mujoco.__version__}, function "
            f"{artifact.function_hash[:12]}"
        )
    return int(tracked < PASSING * args.episodes)


def _play(policy: Policy, simulation: Simulation, args: Args) -> list[Walk]:
    return [
        walk(policy, simulation, args.seed + index, args.speed)
        for index in tqdm(range(args.episodes), unit="walk", leave=False)
    ]
