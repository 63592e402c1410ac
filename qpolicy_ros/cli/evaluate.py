"""Play episodes offline with a policy and report their returns.

The policy is asked one observation at a time, so the returns equal those over ROS in lock-step.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass

from tqdm import tqdm

from qpolicy_ros.backends import create_backend
from qpolicy_ros.cli.arguments import PolicyName
from qpolicy_ros.common.errors import UsageError
from qpolicy_ros.policy import (
    PolicyArtifact,
    find_policy,
    load_policy,
    require_features,
    require_task,
)
from qpolicy_ros.sim import Episode, evaluate, resolve_env_id, spread, task_name
from qpolicy_ros.sim.commanded import Walks
from qpolicy_ros.sim.display import mujoco
from qpolicy_ros.sim.likeness import Beside, beside, commands_within


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy evaluate`."""

    policy: PolicyName
    """Task name (hopper), task/variant (hopper/fp32) or a .safetensors file."""
    backend: str = "integer"
    """What computes the actions: integer, fp32 or fpga."""
    task: str = ""
    """Task to play, a name or a Gymnasium id; it must be the policy's. Empty takes the policy's."""
    robot: str = ""
    """In the place of a task: a robot, a name of config/robots, a description or an MJCF file.
    Without a reward, the policy walks beside its own FP32 network: who stays up, how fast, how far
    the actions are apart."""
    episodes: int = 10
    """How many episodes to play; with --robot, walks of 10 s at each command."""
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
    if args.robot:
        return _on_a_robot(args, artifact)
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


def _on_a_robot(args: Args, artifact: PolicyArtifact) -> int:
    """Play the policy beside its FP32 network and print both."""
    if args.task or args.max_episode_steps:
        option = "--task" if args.task else "--max-episode-steps"
        raise UsageError(f"{option}: belongs to a task, not to --robot; leave it out")
    name = "fp32" if artifact.network is None else args.backend
    backend, teacher = create_backend(name, artifact), create_backend("fp32", artifact)
    seeds = range(args.seed, args.seed + args.episodes)
    commands = commands_within(artifact.contract)
    with tqdm(total=2 * len(commands) * args.episodes, unit="walk", leave=False) as bar:
        rows = list(
            beside(backend.act, teacher.act, args.robot, artifact.contract, seeds, bar.update)
        )
    backend.close()
    teacher.close()
    report = {
        "task": artifact.contract.task,
        "robot": args.robot,
        "backend": name,
        "episodes": args.episodes,
        "seed": args.seed,
        "commands": [
            {
                "command": list(row.ours.command),
                "up": row.ours.up,
                "velocity": row.ours.velocity,
                "fp32_up": row.theirs.up,
                "fp32_velocity": row.theirs.velocity,
                "action_rmse": row.action_rmse,
                "alike": row.alike,
            }
            for row in rows
        ],
        "alike": all(row.alike for row in rows),
        "mujoco_version": mujoco.__version__,
        "function_hash": artifact.function_hash,
    }
    print(json.dumps(report) if args.json else "\n".join(_beside_text(args, name, rows)))
    return 0


def _beside_text(args: Args, name: str, rows: list[Beside]) -> list[str]:
    def moved(walks: Walks) -> str:
        return " / ".join("none" if v is None else f"{v:.2f}" for v in walks.velocity)

    lines = [f"{'told':>16} {'up':>6}  moved, m/s, m/s, rad/s {'fp32':>14} {'action RMSE':>18}"]
    for row in rows:
        told = " / ".join(f"{value:g}" for value in row.ours.command)
        lines.append(
            f"{told:>16} {row.ours.up:>3}/{args.episodes:<3} {moved(row.ours):<22} "
            f"{row.theirs.up:>3}/{args.episodes:<3} {moved(row.theirs):<22} {row.action_rmse:8.4f}"
        )
    alike = sum(row.alike for row in rows)
    lines.append(
        f"{name}: {alike} of {len(rows)} commands as its FP32 network walks them (as many up, "
        "within 0.05 m/s and 0.1 rad/s)"
    )
    return lines
