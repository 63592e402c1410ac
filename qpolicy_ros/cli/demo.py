"""Drive simulated robots with shipped policies over ROS 2, each node a process of its own.

Every backend plays the same episodes in lock-step; their returns must equal those of offline
play. Then the backend is swapped by parameter while the robot moves. Writes a table, a plot and a
short film.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import mujoco
import numpy as np
import tyro

from qpolicy_ros.backends import BACKENDS, BackendError, create_backend
from qpolicy_ros.cli import UsageError
from qpolicy_ros.demo.figure import draw
from qpolicy_ros.demo.film import FilmJob
from qpolicy_ros.demo.processes import NodeError, sigterm_interrupts, use_free_domain
from qpolicy_ros.demo.runs import Job, Micros, Run, Swap, offline_actions, play, swap
from qpolicy_ros.policy import PolicyArtifact, PolicyError, engine_kinds, find_policy, load_policy

_TASKS = ("hopper", "halfcheetah")
_FILM_SECONDS = 10.0
_FILM_PATIENCE = 300.0  # s for software rendering on a busy machine


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy demo`."""

    policies: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Policies to show: task names (hopper), task/variant or files. Default: hopper and
    halfcheetah, as far as they are shipped."""
    backends: tuple[str, ...] = ()
    """Backends to show. Default: all that can serve the policy."""
    episodes: int = 3
    """Episodes for each backend."""
    seed: int = 1000
    """Seed of the first episode; episode i takes seed + i."""
    max_episode_steps: int = 0
    """Control steps until an episode is cut; 0 is the task's own limit."""
    no_film: bool = False
    """Render no film."""
    out: Path = Path("out/demo")
    """Folder for the plot, the films and the nodes' logs."""
    json: bool = False
    """Print one JSON object on standard output."""


@dataclass(frozen=True)
class Shown:
    """All that was played with one policy."""

    job: Job
    runs: list[Run]
    swap: Swap | None


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
    started = time.monotonic()
    artifacts = [load_policy(file) for file in _files(args.policies)]
    backends = [_serving(artifact, args.backends) for artifact in artifacts]
    logs = args.out / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    domain = use_free_domain()
    _say(
        f"ROS domain {domain}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"integer engine {engine_kinds()[0]}"
    )
    jobs = [Job(each, args.seed, args.max_episode_steps or None, logs) for each in artifacts]
    try:
        with sigterm_interrupts():
            shown = [
                _show(job, names, args.episodes) for job, names in zip(jobs, backends, strict=True)
            ]
            films = [] if args.no_film else _films(args.out, shown)
    except NodeError as error:
        print(f"qpolicy demo: error: {error}", file=sys.stderr)
        return 1
    plot = args.out / "demo.png"
    draw({each.job.label: each.runs for each in shown}, plot)
    report = _report(shown, films, plot, time.monotonic() - started)
    print(json.dumps(report) if args.json else _text(report))
    return 0 if report["equal"] else 1


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _files(policies: Sequence[str]) -> list[Path]:
    """Return the files of the named policies, or of those of our tasks that are shipped."""
    if policies:
        return [find_policy(name) for name in policies]
    found = []
    for task in _TASKS:
        with contextlib.suppress(PolicyError):
            found.append(find_policy(task))
    return found or [find_policy(_TASKS[0])]  # which says what is wrong


def _serving(artifact: PolicyArtifact, wanted: Sequence[str]) -> list[str]:
    """Return the backends to show; one that was asked for must be able to serve."""
    if wanted:
        for name in wanted:
            create_backend(name, artifact).close()
        return list(wanted)
    return [name for name in BACKENDS if _can_serve(artifact, name)]


def _can_serve(artifact: PolicyArtifact, backend: str) -> bool:
    try:
        create_backend(backend, artifact).close()
    except (PolicyError, BackendError) as error:
        _say(f"{artifact.path}: without backend {backend}: {error}")
        return False
    return True


def _show(job: Job, backends: Sequence[str], episodes: int) -> Shown:
    """Play with each backend, then swap between the first two."""
    label = job.label
    runs = []
    for name in backends:
        _say(f"{label}: starting policy_node and mujoco_sim_node, backend {name}")
        runs.append(play(job, name, episodes, lambda text: _say(f"{label}: {text}")))
    if len(backends) == 1:
        return Shown(job, runs, None)
    _say(f"{label}: once more, swapping the backend while the robot moves")
    step = round(_FILM_SECONDS / 2 / job.artifact.contract.period)
    done = swap(job, backends[0], backends[1], step, lambda text: _say(f"{label}: {text}"))
    return Shown(job, runs, done)


def _films(out: Path, shown: Sequence[Shown]) -> list[dict[str, Any]]:
    """Render one film a policy, all at once; where that fails, say why and go on."""
    _say(f"rendering {len(shown)} film{'s' if len(shown) > 1 else ''} offscreen")
    films = []
    with contextlib.ExitStack() as stack:
        rendering = []
        for each in shown:
            job = _film_job(out, each)
            file = each.job.logs / f"{_file_name(each.job.label)}-film.json"
            rendering.append((each, job, stack.enter_context(contextlib.closing(job.start(file)))))
        for each, job, child in rendering:
            film: dict[str, Any] = {"policy": each.job.label, "film": job.film, "still": job.still}
            try:
                failed = child.wait(_FILM_PATIENCE) != 0
            except NodeError:
                failed = True
            if failed:
                film |= {"film": None, "still": None, "reason": child.complaint()}
            films.append(film)
    return films


def _film_job(out: Path, shown: Shown) -> FilmJob:
    job, artifact = shown.job, shown.job.artifact
    steps = round(_FILM_SECONDS / artifact.contract.period)
    first = shown.runs[0].backend
    if shown.swap is None:
        actions, names, step, start = offline_actions(job, first, steps), (first, first), steps, 0
    else:
        actions, names = shown.swap.actions, (shown.swap.before, shown.swap.after)
        step = shown.swap.step
        start = max(0, step - steps // 2)
    stem = _file_name(job.label)
    file = job.logs / f"{stem}-actions.npy"
    np.save(file, actions)
    return FilmJob(
        task=job.task,
        seed=job.seed,
        max_episode_steps=job.max_episode_steps,
        actions=str(file),
        first=start,
        last=min(start + steps, len(actions)),
        swap=step,
        backends=names,
        captions=(_caption(artifact, names[0]), _caption(artifact, names[1])),
        film=str(out / f"{stem}.mp4"),
        still=str(out / f"{stem}.png"),
    )


def _caption(artifact: PolicyArtifact, backend: str) -> str:
    network, baseline = artifact.network, artifact.baseline
    if network is None or backend == "fp32":
        return f"float32 weights, {'-'.join(map(str, baseline.hidden))} hidden"
    return f"{network.core_bits}-bit weights, {'-'.join(map(str, network.hidden))} hidden"


def _file_name(label: str) -> str:
    return label.replace("/", "-")


def _report(
    shown: Sequence[Shown], films: list[dict[str, Any]], plot: Path, seconds: float
) -> dict[str, Any]:
    """Return what ``--json`` prints; ``equal`` is the verdict."""
    runs = [
        {
            "policy": each.job.label,
            "backend": run.backend,
            "function_hash": each.job.artifact.function_hash,
            "seed": each.job.seed,
            "returns": run.returns,
            "lengths": [episode.length for episode in run.episodes],
            "mean_return": statistics.fmean(run.returns),
            "std_return": statistics.pstdev(run.returns),
            "inference": _figures(run.inference),
            "round_trip": _figures(run.round_trip),
            "offline_returns": run.offline,
            "equal": run.equal,
        }
        for each in shown
        for run in each.runs
    ]
    swaps = [
        {
            "policy": each.job.label,
            "before": each.swap.before,
            "after": each.swap.after,
            "step": each.swap.step,
            "steps": len(each.swap.actions),
            "observed": each.swap.observed,
            "response_us": each.swap.response,
            "returns": [episode.return_ for episode in each.swap.episodes],
            "offline_returns": each.swap.offline,
            "equal": each.swap.equal,
        }
        for each in shown
        if each.swap is not None
    ]
    return {
        "equal": all(row["equal"] for row in [*runs, *swaps]),
        "runs": runs,
        "swaps": swaps,
        "films": films,
        "plot": str(plot),
        "engine": engine_kinds()[0],
        "mujoco_version": mujoco.__version__,
        "seconds": seconds,
    }


def _figures(values: Micros) -> dict[str, float]:
    p50, p99, most = np.quantile(values, (0.5, 0.99, 1.0)).tolist()
    return {"n": values.size, "p50_us": p50, "p99_us": p99, "max_us": most}


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
