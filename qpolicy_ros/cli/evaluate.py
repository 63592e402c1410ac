"""Play episodes offline with a policy and report their returns.

The policy is asked one observation at a time, so the returns equal those over ROS in lock-step.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from typing import Annotated

import tyro
from tqdm import tqdm

from qpolicy_ros.backends import create_backend
from qpolicy_ros.common.errors import UsageError
from qpolicy_ros.policy import find_policy, load_policy, require_features, require_task
from qpolicy_ros.sim import Episode, evaluate, resolve_env_id, spread, task_name
from qpolicy_ros.sim.display import mujoco


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy evaluate`."""

    policy: Annotated[str, tyro.conf.Positional]
    """Task name (hopper), task/variant (hopper/fp32) or a .safetensors file."""
    backend: str = "integer"
    """What computes the actions: integer, fp32 or fpga."""
    task: str = ""
    """Task to play, a name or a Gymnasium id; it must be the policy's. Empty takes the policy's."""
    episodes: int = 10
    """How many episodes to play."""
    seed: int = 0
    """Seed of the first episode; episode i takes seed + i. Training's own seeds are far above."""
    max_episode_steps: int = 0
    """Control steps until an episode is cut; 0 is the task's own limit."""
    json: bool = False
    """Print one JSON object on standard output."""


def main(args: Args) -> int:
    """Play the episodes and print their returns; PolicyError or UsageError if they cannot be."""
    for name, value, least in (
        ("episodes", args.episodes, 1),
        ("seed", args.seed, 0),
        ("max-episode-steps", args.max_episode_steps, 0),
    ):
        if value < least:
            raise UsageError(f"--{name}: {value} is too small; give {least} or more")
    artifact = load_policy(find_policy(args.policy))
    contract = artifact.contract
    if not contract.env_id:  # a task's observation is complete, wherever its values come from
        require_features(artifact)
    if args.task:
        require_task(artifact, task_name(resolve_env_id(args.task)))
    backend = create_backend(args.backend, artifact)
    lengths: list[int] = []
    with tqdm(total=args.episodes, unit="episode", leave=False) as bar:

        def progress(episode: Episode) -> None:
            lengths.append(episode.length)
            bar.set_postfix(last_return=f"{episode.return_:.1f}")
            bar.update()

        returns = evaluate(
            backend.act,
            contract.env_id or contract.task,
            args.episodes,
            args.seed,
            progress=progress,
            max_episode_steps=args.max_episode_steps or None,
        )
    backend.close()
    report = {
        "task": contract.task,
        "backend": args.backend,
        "episodes": args.episodes,
        "seed": args.seed,
        "returns": returns,
        "mean_return": statistics.fmean(returns),
        "std_return": spread(returns),
        "mujoco_version": mujoco.__version__,
        "function_hash": artifact.function_hash,
    }
    if args.json:
        print(json.dumps(report))
        return 0
    print(f"{'task':<12} {'backend':<8} {'episodes':>8} {'return, mean ± std':>22} {'steps':>7}")
    figure = f"{report['mean_return']:.1f} ± {report['std_return']:.1f}"
    print(
        f"{contract.task:<12} {args.backend:<8} {args.episodes:>8} {figure:>22} "
        f"{statistics.fmean(lengths):>7.0f}"
    )
    print(
        f"seeds {args.seed} to {args.seed + args.episodes - 1}, mujoco {mujoco.__version__}, "
        f"function {artifact.function_hash[:12]}"
    )
    return 0
