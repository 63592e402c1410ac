"""Drive simulated robots with shipped policies over ROS 2, each node a process of its own.

Every backend plays the same episodes in lock-step; their returns must equal those of offline
play. Then the backend is swapped by parameter while the robot moves. Writes a table, a plot and a
short film.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from qpolicy_ros.common.errors import UsageError


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy demo`."""

    policies: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Policies to show: task names (hopper), task/variant or files. Default: hopper, and a double
    pendulum's policy that Stable-Baselines3 trained, imported and quantised."""
    backends: tuple[str, ...] = ()
    """Backends to show. Default: integer, fp32 and, for a small policy, fpga (its Verilog,
    simulated), as far as they can serve."""
    episodes: int = 3
    """Episodes for each backend."""
    seed: int = 0
    """Seed of the first episode; episode i takes seed + i."""
    max_episode_steps: int = 0
    """Control steps until an episode is cut; 0 is the task's own limit."""
    no_film: bool = False
    """Render no film."""
    out: Path = Path("out/demo")
    """Folder for the plot, the films and the nodes' logs."""
    json: bool = False
    """Print one JSON object on standard output."""


def main(args: Args) -> int:
    """Run the demo; 1 if a node failed or a return differs from offline play.

    Raises:
        PolicyError, UsageError: a wrong argument, or a policy that cannot be shown.
    """
    for name, value, least in (
        ("episodes", args.episodes, 1),
        ("seed", args.seed, 0),
        ("max-episode-steps", args.max_episode_steps, 0),
    ):
        if value < least:
            raise UsageError(f"--{name}: {value} is too small; give {least} or more")
    # Where MUJOCO_GL names a library that is not there, MuJoCo cannot even be imported: only the
    # film's own process gets to see it.
    gl = os.environ.get("MUJOCO_GL") or ("" if os.environ.get("DISPLAY") else "egl")
    os.environ["MUJOCO_GL"] = "disable"
    from qpolicy_ros.common.errors import NodeError  # noqa: PLC0415  after that
    from qpolicy_ros.demo.show import show  # noqa: PLC0415

    try:
        report = show(
            args.policies,
            args.backends,
            args.episodes,
            args.seed,
            args.max_episode_steps or None,
            args.out,
            None if args.no_film else gl,
        )
    except NodeError as error:
        print(f"qpolicy demo: error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(report) if args.json else _text(report))
    return 0 if report["equal"] else 1


def _text(report: dict[str, Any]) -> str:
    """Return the report for a human reader."""
    width = max(len(row["policy"]) for row in report["runs"])
    groups = f"{'inference, µs':>26}   {'observation → action, µs':>26}   equals"
    figures = "   ".join([f"{'p50':>8} {'p99':>8} {'max':>8}"] * 2)
    head = f"{'policy':<{width}} {'backend':<8} {'episodes':>8} {'return, mean ± std':>18}"
    lines = ["", f"{'':<{len(head)}}   {groups}", f"{head}   {figures}   offline"]
    for row in report["runs"]:
        spread = f"{row['mean_return']:.1f} ± {row['std_return']:.1f}"
        latency = "   ".join(
            " ".join(f"{row[what][key]:>8.1f}" for key in ("p50_us", "p99_us", "max_us"))
            for what in ("inference", "round_trip")
        )
        lines.append(
            f"{row['policy']:<{width}} {row['backend']:<8} {len(row['returns']):>8} "
            f"{spread:>18}   {latency}   {_verdict(row)}"
        )
    lines.append("")
    lines += [
        f"{row['policy']}: backend swapped live by parameter, {row['before']} -> {row['after']}: "
        f"steps 0 to {row['step'] - 1} were answered by {row['before']}, "
        f"{row['step']} to {row['steps'] - 1} by {row['after']} "
        f"(seen in {row['observed']} actions); return equals offline: {_verdict(row)}"
        for row in report["swaps"]
    ]
    lines += [
        f"{row['policy']}: recorded in {row['bag']}: {row['reproduced']} of {row['ticks']} "
        f"commands reproduced bit for bit by qpolicy replay"
        + (f"; {row['lost']} messages were lost to the recorder" if row["lost"] else "")
        + ("" if row["equal"] else f"; NOT equal: {row['first_difference']}")
        for row in report["replays"]
    ]
    lines.append(f"plot: {report['plot']}")
    for film in report["films"]:
        made = f"film: {film['film']}, still: {film['still']}"
        lines.append(made if film["film"] else f"no film of {film['policy']}: {film['reason']}")
    lines.append(f"{report['seconds']:.0f} s, mujoco {report['mujoco_version']}")
    return "\n".join(lines)


def _verdict(row: dict[str, Any]) -> str:
    if row["equal"]:
        return "yes"
    return f"NO: {row['returns']} over ROS, {row['offline_returns']} offline"
