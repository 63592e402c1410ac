"""The demo from beginning to end: play, film, plot, report."""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.backends import BackendError, create_backend
from qpolicy_ros.common.errors import InputError, NodeError
from qpolicy_ros.common.files import make_folder
from qpolicy_ros.demo.figure import draw
from qpolicy_ros.demo.film import FilmJob
from qpolicy_ros.demo.recorded import recording, replayed
from qpolicy_ros.harness.closed_loop import Job, Micros, Run, Swap, offline_actions, play, swap
from qpolicy_ros.harness.domains import use_free_domain
from qpolicy_ros.harness.processes import children_end_with_us
from qpolicy_ros.policy import (
    PolicyArtifact,
    engine_kinds,
    find_policy,
    load_policy,
    policy_folders,
)
from qpolicy_ros.sim import spread
from qpolicy_ros.sim.display import mujoco

_TASK = "hopper"
# The second scene: somebody else's policy (a Stable-Baselines3 zip), imported and quantised.
_IMPORTED = Path("imported") / "double_pendulum.safetensors"
_BACKENDS = ("integer", "fp32", "fpga")
# The FPGA is simulated: a core for more weights compiles for minutes, so on request only.
_SIMULATED_WEIGHTS = 10_000
_FILM_SECONDS = 10.0
_REMEDY = "for software rendering install libegl1 and libgl1-mesa-dri, set MUJOCO_GL=egl"
_FILM_PATIENCE = 300.0  # s for software rendering on a busy machine


@dataclass(frozen=True)
class Shown:
    """All that was played with one policy."""

    job: Job
    runs: list[Run]
    swap: Swap | None
    replay: dict[str, Any]


def show(
    policies: Sequence[str],
    backends: Sequence[str],
    episodes: int,
    seed: int,
    max_episode_steps: int | None,
    out: Path,
    gl: str | None,
) -> dict[str, Any]:
    """Play, film and plot; return the report, whose ``equal`` is the verdict.

    Args:
        policies: names or files; empty takes what is shipped.
        backends: names; empty takes all that can serve (the simulated FPGA only small policies).
        episodes: for each backend.
        seed: of the first episode.
        max_episode_steps: control steps until an episode is cut, None = the task's own limit.
        out: folder to write to.
        gl: OpenGL library for the film, as MuJoCo names them; None = no film.

    Raises:
        NodeError: a node failed.
        InputError: a policy cannot be shown.
    """
    started = time.monotonic()
    artifacts = [load_policy(file) for file in _files(policies)]
    served = [_serving(artifact, backends) for artifact in artifacts]
    logs = make_folder(out / "logs")
    domain = use_free_domain()
    _say(
        f"ROS domain {domain}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"integer engine {engine_kinds()[0]}"
    )
    jobs = [Job(artifact, seed, max_episode_steps, logs) for artifact in artifacts]
    with children_end_with_us():
        shown = [_show(job, names, episodes, out) for job, names in zip(jobs, served, strict=True)]
        films = [] if gl is None else _films(out, shown, gl)
    plot = out / "demo.png"
    draw({each.job.label: each.runs for each in shown}, plot)
    return _report(shown, films, plot, time.monotonic() - started)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201  progress


def _files(policies: Sequence[str]) -> list[Path]:
    """Return the files of the named policies, or one of ours and an imported one."""
    if policies:
        return [find_policy(name) for name in policies]
    beside = [folder.parent / _IMPORTED for folder in policy_folders()]
    imported = [file for file in beside if file.is_file()]
    return [find_policy(_TASK), *imported[:1]]


def _serving(artifact: PolicyArtifact, wanted: Sequence[str]) -> list[str]:
    """Return the backends to show; one that was asked for must be able to serve."""
    if wanted:
        for name in wanted:
            create_backend(name, artifact).close()
        return list(wanted)
    return [
        name
        for name in _BACKENDS
        if (name != "fpga" or _quickly_simulated(artifact)) and _can_serve(artifact, name)
    ]


def _quickly_simulated(artifact: PolicyArtifact) -> bool:
    weights = () if artifact.network is None else artifact.network.weights
    return sum(weight.size for weight in weights) <= _SIMULATED_WEIGHTS


def _can_serve(artifact: PolicyArtifact, backend: str) -> bool:
    try:
        create_backend(backend, artifact).close()
    except (InputError, BackendError) as error:
        _say(f"without backend {backend}: {error}")
        return False
    return True


def _show(job: Job, backends: Sequence[str], episodes: int, out: Path) -> Shown:
    """Play with each backend, then swap between the first two; replay a recording of the last."""
    label, stem = job.label, _file_name(job.label)
    bag, log = out / f"{stem}-bag", job.logs / f"{stem}-bag_recorder.log"

    def say(text: str) -> None:
        _say(f"{label}: {text}")

    runs, done = [], None
    for name in backends:
        with recording(bag, log) if len(backends) == 1 else contextlib.nullcontext() as recorder:
            say(f"starting policy_node and mujoco_sim_node, backend {name}")
            runs.append(play(job, name, episodes, say, recorder))
    if len(backends) > 1:
        say("once more, recorded, swapping the backend while the robot moves")
        step = round(_FILM_SECONDS / 2 / job.artifact.contract.period)
        with recording(bag, log) as recorder:
            done = swap(job, backends[0], backends[1], step, say, recorder)
    say("computing the recording's commands again")
    return Shown(job, runs, done, replayed(label, job.artifact, bag))


def _films(out: Path, shown: Sequence[Shown], gl: str) -> list[dict[str, Any]]:
    """Render one film a policy, all at once; where that fails, say why and go on."""
    _say(f"rendering {len(shown)} film{'s' if len(shown) > 1 else ''} of {_FILM_SECONDS:g} s")
    films = []
    with contextlib.ExitStack() as stack:
        rendering = []
        for each in shown:
            job = _film_job(out, each)
            file = each.job.logs / f"{_file_name(each.job.label)}-film.json"
            rendering.append(
                (each, job, stack.enter_context(contextlib.closing(job.start(file, gl))))
            )
        for each, job, child in rendering:
            film: dict[str, Any] = {"policy": each.job.label, "film": job.film, "still": job.still}
            try:
                failed = child.wait(_FILM_PATIENCE) != 0
            except NodeError:
                failed = True
            if failed:
                film |= {"film": None, "still": None, "reason": f"{child.complaint()}; {_REMEDY}"}
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
            "std_return": spread(run.returns),
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
    replays = [each.replay for each in shown]
    return {
        "equal": all(row["equal"] for row in [*runs, *swaps, *replays]),
        "runs": runs,
        "swaps": swaps,
        "replays": replays,
        "films": films,
        "plot": str(plot),
        "engine": engine_kinds()[0],
        "mujoco_version": mujoco.__version__,
        "seconds": seconds,
    }


def _figures(values: Micros) -> dict[str, float]:
    p50, p99, most = np.quantile(values, (0.5, 0.99, 1.0)).tolist()
    return {"n": values.size, "p50_us": p50, "p99_us": p99, "max_us": most}
