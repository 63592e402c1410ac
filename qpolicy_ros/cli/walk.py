"""Does a robot walk as fast as it is told?

With --robot: any policy on any robot. Each seed is a walk of 10 s at --command from joints a
little off the start; reported are how many stayed up and their mean velocity after the first 2 s.
Exit status 1 where one fell. Robots: a name of config/robots, a description (.yaml) or an MJCF
file (.xml): what it leaves out, the policy's contract says. --ros plays the same through ROS 2 in
lock-step; --record writes what the nodes said into a bag.

Without --robot: the task that the policy was trained on, such as go2. Each seed is a walk of 20 s
at --speed, with friction, gains and pushes drawn by the seed. A walk counts where the robot stayed
up, made within 20 % of the commanded speed along the direction it started in, and stayed within
2 m of that line. Exit status 1 where fewer than 90 % of the walks count. With --command the walks
are told that instead, and reported as those of --robot.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from qpolicy_ros.backends import create_backend
from qpolicy_ros.cli.arguments import PolicyName
from qpolicy_ros.common.errors import UsageError
from qpolicy_ros.policy import PolicyArtifact, find_policy, load_policy
from qpolicy_ros.sim import Simulation, tracking
from qpolicy_ros.sim.commanded import SECONDS, Command, Walked, Walks, open_commanded, walk_at
from qpolicy_ros.sim.display import mujoco
from qpolicy_ros.sim.rollout import Policy

PASSING = 0.9
_USUAL = (0.5, 0.0, 0.0)  # m/s, m/s, rad/s


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy walk`."""

    policy: PolicyName
    """Shipped policy (go2, go2/fp32) or a .safetensors file."""
    robot: str = ""
    """Robot to walk on: a name of config/robots, a description (.yaml) or an MJCF file (.xml)."""
    command: tuple[float, ...] = ()
    """Commanded velocity: forward and left (m/s), turning (rad/s). --robot: 0.5 0 0 where it is not
    given; else instead of --speed."""
    seeds: int = 20
    """--robot: how many walks."""
    seconds: float = SECONDS
    """--robot: length of a walk, s."""
    ros: bool = False
    """--robot: through ROS 2, policy_node and mujoco_sim_node in lock-step."""
    record: Path | None = None
    """--ros: folder to write a bag to, as `qpolicy quantize --bag` and `qpolicy replay` read it."""
    command_period: float = 0.0
    """--ros: s between commands that are drawn from those that the policy was trained for, instead
    of --command; 0: never."""
    backend: str = ""
    """What computes the actions: integer, fp32 or fpga; empty: integer where the file has one,
    else fp32; zero never leaves the default pose."""
    speed: float = 0.5
    """Without --robot and --command: commanded speed forwards, m/s."""
    episodes: int = 20
    """Without --robot: how many walks."""
    seed: int = 0
    """Seed of the first walk; walk i takes seed + i."""
    json: bool = False
    """Print one JSON object on standard output."""


def main(args: Args) -> int:
    """Play the walks and print them; PolicyError or UsageError if they cannot be played."""
    for option, count in (("episodes", args.episodes), ("seeds", args.seeds)):
        if count < 1:
            raise UsageError(f"--{option}: {count} is too small; give 1 or more")
    if args.seed < 0:
        raise UsageError(f"--seed: {args.seed} is too small; give 0 or more")
    if not 0 < args.speed < math.inf:
        raise UsageError(f"--speed: {args.speed} is no speed to walk at; give one above 0")
    if len(args.command) not in (0, 3) or not all(map(math.isfinite, args.command)):
        given = " ".join(f"{value:g}" for value in args.command)
        raise UsageError(f"--command: {given} is no velocity; give three finite numbers")
    if not 2 < args.seconds < math.inf:
        raise UsageError(f"--seconds: {args.seconds} is too short; give more than 2 s")
    _check_ros(args)
    artifact = load_policy(find_policy(args.policy))
    name = args.backend or ("fp32" if artifact.network is None else "integer")
    if args.robot:
        return _on_a_robot(args, artifact, name)
    return _on_its_task(args, artifact, name)


def _check_ros(args: Args) -> None:
    if args.ros and not args.robot:
        raise UsageError("--ros: no robot; give --robot too")
    if not 0 <= args.command_period < math.inf:
        wrong = f"--command-period: {args.command_period} is no time"
        raise UsageError(f"{wrong}; give seconds, 0 for a constant command")
    if args.ros:
        if args.record is not None and args.record.exists():
            raise UsageError(f"--record: {args.record} exists already; give a new folder")
        return
    for option, given in (("record", args.record), ("command-period", args.command_period)):
        if given:
            raise UsageError(f"--{option}: is for walks over ROS 2; give --ros too")


def _told(args: Args) -> Command | None:
    """The command that was given, if one was."""
    if not args.command:
        return None
    forward, left, turning = args.command
    return forward, left, turning


def _on_a_robot(args: Args, artifact: PolicyArtifact, name: str) -> int:
    seeds = range(args.seed, args.seed + args.seeds)
    command = _told(args) or _USUAL
    with _progress(args.seeds) as progress:
        if args.ros:
            from qpolicy_ros.harness.robot_walks import walks_over_ros  # noqa: PLC0415  needs ROS 2

            walks = walks_over_ros(
                artifact,
                args.robot,
                name,
                command,
                seeds,
                args.seconds,
                progress,
                command_period=args.command_period,
                record=args.record,
            )
        else:
            simulation = open_commanded(args.robot, artifact.contract, args.seconds)
            with _acting(artifact, name) as act:
                walks = _played(
                    seeds, lambda seed: walk_at(act, simulation, seed, command), progress
                )
            simulation.close()
    return _tell(args, artifact, name, Walks(command, tuple(walks)))


@contextmanager
def _progress(count: int) -> Iterator[Callable[[Walked], object]]:
    """A bar over ``count`` walks; what it gives is to be called after each."""
    with tqdm(total=count, unit="walk", leave=False) as bar:
        up = 0

        def progress(walked: Walked) -> None:
            nonlocal up
            up += walked.up
            bar.set_postfix(up=f"{up}/{bar.n + 1}", refresh=False)
            bar.update()

        yield progress


def _played(
    seeds: range, play: Callable[[int], Walked], progress: Callable[[Walked], object]
) -> list[Walked]:
    """Walk each seed, and tell ``progress`` of it."""
    walks = []
    for seed in seeds:
        walks.append(play(seed))
        progress(walks[-1])
    return walks


@contextmanager
def _acting(artifact: PolicyArtifact, name: str) -> Iterator[Policy]:
    """The policy as the backend of this name computes it; ``zero``: the default pose."""
    if name == "zero":
        yield lambda _: artifact.contract.default
        return
    backend = create_backend(name, artifact)
    try:
        yield backend.act
    finally:
        backend.close()


def _tell(args: Args, artifact: PolicyArtifact, name: str, result: Walks) -> int:
    """Print walks at a command; return the exit status."""
    if args.json:
        print(json.dumps(_report(args, artifact, name, result)))
    else:
        _print_walks(args, artifact, name, result)
    return int(result.up < len(result.walks))


def _report(args: Args, artifact: PolicyArtifact, name: str, result: Walks) -> dict[str, object]:
    def finite(walked: Walked) -> dict[str, object]:
        fields = asdict(walked)
        velocity = [value if math.isfinite(value) else None for value in walked.velocity]
        return {**fields, "velocity": velocity}

    return {
        "task": artifact.contract.task,
        "robot": args.robot,
        "backend": name,
        "ros": args.ros,
        "command": None if args.command_period else list(result.command),
        "up": result.up,
        "seeds": len(result.walks),
        "velocity": result.velocity,
        "velocity_std": result.velocity_std,
        "seconds": args.seconds if args.robot else tracking.SECONDS,
        "walks": [finite(walked) for walked in result.walks],
        "mujoco_version": mujoco.__version__,
        "function_hash": artifact.function_hash,
    }


def _print_walks(args: Args, artifact: PolicyArtifact, name: str, result: Walks) -> None:
    print(f"{'seed':>6} {'forward, m/s':>13} {'left, m/s':>10} {'turn, rad/s':>12} {'s':>6}")
    for walked in result.walks:
        x, y, turn = walked.velocity
        mark = "" if walked.up else "  fell"
        print(f"{walked.seed:>6} {x:>13.3f} {y:>10.3f} {turn:>12.3f} {walked.seconds:>6.1f}{mark}")
    pairs = zip(result.velocity, result.velocity_std, strict=True)
    shown = " / ".join("none" if m is None else f"{m:.3f} ± {s:.3f}" for m, s in pairs)
    told = " / ".join(f"{value:g}" for value in result.command)
    told = f"another command every {args.command_period:g} s" if args.command_period else told
    print(
        f"{artifact.contract.task}, {name}{' over ROS 2' if args.ros else ''}: {result.up} of "
        f"{len(result.walks)} up; told {told}, moved {shown} (m/s, m/s, rad/s); mujoco "
        f"{mujoco.__version__}, function {artifact.function_hash[:12]}"
    )


def _on_its_task(args: Args, artifact: PolicyArtifact, name: str) -> int:
    contract = artifact.contract
    simulation = Simulation(contract.env_id or contract.task)
    tracking.commanded_robot(simulation)
    tracking.require_same_robot(contract, simulation)
    seeds = range(args.seed, args.seed + args.episodes)
    with _acting(artifact, name) as act:
        if command := _told(args):
            with _progress(args.episodes) as progress:
                told = _played(
                    seeds, lambda seed: tracking.walk_told(act, simulation, seed, command), progress
                )
            simulation.close()
            return _tell(args, artifact, name, Walks(command, tuple(told)))
        bar = tqdm(seeds, unit="walk", leave=False)
        walks = [tracking.walk(act, simulation, seed, args.speed) for seed in bar]
    simulation.close()
    tracked = sum(w.tracks for w in walks)
    if args.json:
        print(
            json.dumps(
                {
                    "task": contract.task,
                    "backend": name,
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
            f"{contract.task}, {name}: {tracked} of {args.episodes} track "
            f"{args.speed:g} m/s, mujoco {mujoco.__version__}, function "
            f"{artifact.function_hash[:12]}"
        )
    return int(tracked < PASSING * args.episodes)
