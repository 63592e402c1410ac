"""Play policies under noise on their observations: how fast do returns fall?

The first policy's FP32 baseline is played beside. To tell what low precision does from what a small
network does, give controls of the same task too: 8 bits, or FP32, at the first policy's width.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from tqdm import tqdm

from qpolicy_ros.backends import create_backend
from qpolicy_ros.common.errors import UsageError
from qpolicy_ros.common.files import make_folder, write_atomically
from qpolicy_ros.policy import (
    PolicyArtifact,
    find_policy,
    load_policy,
    require_features,
    require_task,
)
from qpolicy_ros.sim.display import mujoco
from qpolicy_ros.sim.tasks import file_label
from qpolicy_training.report.noise import interval, returns_under_noise


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy noise`."""

    policies: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Policies of one task: names as hopper/paper, or files; FP32-only ones are played as FP32."""
    sigmas: tuple[float, ...] = field(default=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5))
    """Standard deviations of the noise on the normalised observation."""
    episodes: int = 20
    """Episodes for each policy and each standard deviation."""
    seed: int = 0
    """Seed of the first episode and of its noise; episode i takes seed + i."""
    out: str = ""
    """Folder for noise-<task>.json and noise-<task>.png; empty writes none."""
    json: bool = False
    """Print one JSON object on standard output."""


def main(args: Args) -> int:
    """Play and print the returns; PolicyError or UsageError if that cannot be."""
    if not args.policies:
        raise UsageError("policies: none given; give one or more, for example hopper/paper")
    if args.episodes < 1 or args.seed < 0:
        raise UsageError("--episodes, --seed: give 1 or more episodes, a seed of 0 or more")
    if not args.sigmas or not all(0 <= sigma < float("inf") for sigma in args.sigmas):
        raise UsageError(f"--sigmas: {args.sigmas}: give values of 0 or more")
    artifacts = [load_policy(find_policy(name)) for name in args.policies]
    for artifact in artifacts:
        require_features(artifact)
        require_task(artifact, artifacts[0].contract.task)
    folder = make_folder(Path(args.out)) if args.out else None
    contract, std = artifacts[0].contract, artifacts[0].baseline.std
    subjects = list(_subjects(artifacts))
    rows: list[dict[str, Any]] = []
    total = len(subjects) * len(args.sigmas) * args.episodes
    with tqdm(total=total, unit="episode", leave=False) as bar:
        for name, backend, artifact in subjects:
            chosen = create_backend(backend, artifact)
            for sigma in args.sigmas:
                task = contract.env_id or contract.task
                returns = returns_under_noise(
                    chosen.act, std, task, sigma, args.episodes, args.seed, lambda _: bar.update()
                )
                rows.append(
                    {
                        "policy": name,
                        "function_hash": artifact.function_hash,
                        "sigma": sigma,
                        "returns": returns,
                        "mean": float(np.mean(returns)),
                        "interval": interval(returns),
                    }
                )
            chosen.close()
    report = {
        "task": contract.task,
        "episodes": args.episodes,
        "seed": args.seed,
        "mujoco_version": mujoco.__version__,
        "rows": rows,
    }
    if folder:
        stem = f"noise-{file_label(contract.task)}"
        write_atomically(folder / f"{stem}.json", (json.dumps(report) + "\n").encode())
        write_atomically(folder / f"{stem}.png", _figure(report))
    print(json.dumps(report) if args.json else _table(report, args.sigmas))
    return 0


def _subjects(artifacts: list[PolicyArtifact]) -> Iterator[tuple[str, str, PolicyArtifact]]:
    """Yield name, backend and artifact: each policy, and the baseline that the first carries."""
    for artifact, label in zip(artifacts, _labels(artifacts), strict=True):
        network = artifact.network
        width = max((network or artifact.baseline).hidden)
        shape = f"{network.input_bits}/{network.core_bits}" if network else "FP32"
        backend = "integer" if network else "fp32"
        yield f"ours, {label}: {shape}, h {width}", backend, artifact
    first = artifacts[0]
    if first.network is not None:
        yield f"ours, teacher: FP32, h {max(first.baseline.hidden)}", "fp32", first


def _labels(artifacts: list[PolicyArtifact]) -> list[str]:
    """Return a name for each: the file's, with as many folders before it as tell them apart."""
    paths = [Path(artifact.path).resolve().with_suffix("") for artifact in artifacts]
    for count in range(1, max(len(path.parts) for path in paths) + 1):
        labels = ["/".join(path.parts[-count:]) for path in paths]
        if len(set(labels)) == len(set(paths)):
            break
    # The same file given twice is still two rows.
    return [
        f"{label} ({labels[:i].count(label) + 1})" if labels.count(label) > 1 else label
        for i, label in enumerate(labels)
    ]


def _table(report: dict[str, Any], sigmas: tuple[float, ...]) -> str:
    names = list(dict.fromkeys(row["policy"] for row in report["rows"]))
    width = max(map(len, names))
    lines = [f"{report['task']:<{width}}" + "".join(f"{sigma:>10g}" for sigma in sigmas)]
    for name in names:
        means = [row["mean"] for row in report["rows"] if row["policy"] == name]
        lines.append(f"{name:<{width}}" + "".join(f"{mean:>10,.0f}" for mean in means))
    lines.append(
        f"mean return of {report['episodes']} episodes from seed {report['seed']}, by the standard "
        "deviation of the noise on the normalised observation"
    )
    return "\n".join(lines)


def _figure(report: dict[str, Any]) -> bytes:
    """Draw returns against noise, the paper's curves behind."""
    import matplotlib as mpl  # noqa: PLC0415  not needed to play
    from matplotlib.figure import Figure  # noqa: PLC0415

    from qpolicy_training.report.runs import paper_noise  # noqa: PLC0415

    with mpl.rc_context({"text.parse_math": False}):  # names are no formulas
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axis = figure.subplots()
        for name, points in paper_noise(report["task"]).items():
            style = {"fp32": ":", "quantized": "--"}.get(name, "-.")
            axis.plot(*zip(*points, strict=True), style, color="#999999", label=f"paper, {name}")
        for name in dict.fromkeys(row["policy"] for row in report["rows"]):
            rows = [row for row in report["rows"] if row["policy"] == name]
            means = [row["mean"] for row in rows]
            low = [row["mean"] - row["interval"][0] for row in rows]
            high = [row["interval"][1] - row["mean"] for row in rows]
            sigmas = [row["sigma"] for row in rows]
            axis.errorbar(sigmas, means, yerr=[low, high], fmt="-o", ms=4, capsize=2, label=name)
        axis.set(
            xlabel="standard deviation of the noise on the normalised observation", ylabel="return"
        )
        axis.set_title(f"{report['task']}: mean of {report['episodes']} episodes, 95 % interval")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=100, metadata={"Software": None})
    return stream.getvalue()
