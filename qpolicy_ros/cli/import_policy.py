"""Take a policy of another tool in: an FP32 policy file that the node serves at once.

SOURCE is an ONNX file, TorchScript, torch.export, a Stable-Baselines3 zip, an rsl_rl or CleanRL
checkpoint, or weights in .npz. The contract says what its values and actions are: a deploy.yaml,
Isaac Lab's IO descriptors, a LEAPP bundle, rl_sar's config.yaml, or a YAML of ours. Nothing that a
file holds is run as code. The file is written only if the policy answers what the source's own
runtime answers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from qpolicy_ros.common.errors import UsageError
from qpolicy_ros.common.files import resolved
from qpolicy_ros.interchange.incoming.equality import Equality
from qpolicy_ros.interchange.incoming.graph import Incoming
from qpolicy_ros.policy import Contract, PolicyArtifact
from qpolicy_ros.policy.robot_facts import RobotFacts

MOST_OBSERVATIONS = 1_000_000
GOLDEN = 64


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy import`."""

    source: Annotated[Path, tyro.conf.Positional]
    """File of the policy."""
    out: Path
    """Policy file to write, .safetensors."""
    contract: str = ""
    """File that says what goes in and out, or the name of one in config/contracts. Left out: what
    the source says itself; else values without names."""
    robot: str = ""
    """Model of the robot, an MJCF file, or a described robot: joints, default poses and gains."""
    task: str = ""
    """Gymnasium task that the policy is of, such as Hopper-v4: its contract is taken."""
    name: str = ""
    """Name of the policy's task in the file; by default the contract's."""
    period: float = 0.0
    """Control period, s, where the contract does not say it or says another."""
    output: str = ""
    """ONNX: the output that is the action, where there are several."""
    activation: str = ""
    """Checkpoints and .npz: what is between the layers, such as elu; by default what the file, or
    the one that made it, says."""
    normalisation: str = ""
    """Stable-Baselines3: file of VecNormalize's statistics; by default vecnormalize.pkl beside."""
    observations: int = 1000
    """How many observations the source's own runtime and the policy are compared on."""
    teacher_only: bool = False
    """Take a network that a policy file cannot hold (an LSTM, say) as a teacher to distil from:
    --out is then a .json that names the source and holds its contract."""
    json: bool = False
    """Print one JSON object on standard output."""


def main(args: Args) -> int:
    """Run `qpolicy import`; 0 if written, 1 if an answer differs."""
    # Formats and their runtimes are for this command only.
    from qpolicy_ros.interchange.incoming.equality import compare  # noqa: PLC0415
    from qpolicy_ros.interchange.incoming.source import Options, read_source  # noqa: PLC0415

    _check(args)
    if args.teacher_only:
        return _import_teacher(args)
    options = Options(args.output, args.activation, args.normalisation)
    incoming = read_source(args.source, options)
    contract, incoming = _contract(args, incoming)
    equality = compare(incoming, args.observations)
    report = _report(args, incoming, contract, equality)
    if equality.holds:
        artifact = _artifact(args, incoming, contract, report)
        report["function_hash"] = artifact.function_hash
    print(json.dumps(report) if args.json else _text(args, incoming, contract, equality))
    return 0 if equality.holds else 1


def _check(args: Args) -> None:
    if not 1 <= args.observations <= MOST_OBSERVATIONS:
        wrong = f"--observations: {args.observations} is none of 1 to {MOST_OBSERVATIONS}"
        raise UsageError(f"{wrong}; give 1000")
    if args.period < 0:
        raise UsageError(f"--period: {args.period} s is not above 0; give the control period")
    if args.task and args.contract:
        raise UsageError("--task: --contract says it already; leave one of them out")
    if resolved(args.out) == args.source.resolve():
        raise UsageError(f"--out: {args.out} is the source itself; give another file")
    if not args.out.parent.is_dir():
        raise UsageError(f"--out: {args.out.parent} is no folder; make it, or give another")


def _import_teacher(args: Args) -> int:
    """Write the file of a teacher that is run by its own runtime."""
    from qpolicy_ros.interchange.incoming.contracts.context import Context  # noqa: PLC0415
    from qpolicy_ros.interchange.incoming.contracts.read import read_contract  # noqa: PLC0415
    from qpolicy_ros.interchange.incoming.opaque import save_teacher  # noqa: PLC0415

    if not args.contract:
        raise UsageError("--teacher-only: it needs a contract; add --contract FILE")
    if args.out.suffix != ".json":
        raise UsageError(f"--out: {args.out} is no .json, which a teacher's file is; name one")
    context = Context(0, 0, _robot(args), args.name, args.period)
    contract = read_contract(args.contract, context)
    teacher = save_teacher(args.out, contract, args.source, args.output)
    report = {
        "teacher": str(args.out),
        "task": contract.task,
        "runtime": teacher.runtime.name,
        "inputs": len(contract.observation),
        "outputs": len(contract.action),
        "sha256": teacher.digest,
    }
    if args.json:
        print(json.dumps(report))
    else:
        sizes = f"{report['inputs']} values to {report['outputs']} actions"
        print(
            f"{args.out}: written; a teacher alone, {sizes}, run by {teacher.runtime.name}\n"
            f"  source    {args.source}, sha256 {teacher.digest[:16]}; keep it"
        )
    return 0


def _robot(args: Args) -> RobotFacts | None:
    if not args.robot:
        return None
    from qpolicy_ros.sim.model_facts import robot_facts  # noqa: PLC0415  needs MuJoCo

    return robot_facts(args.robot)


def _contract(args: Args, incoming: Incoming) -> tuple[Contract, Incoming]:
    """What goes in and out; of a distribution's parameters the means are kept."""
    from qpolicy_ros.interchange.incoming.contracts.make import make_contract  # noqa: PLC0415

    task = None
    if args.task:
        from qpolicy_ros.sim import open_simulation  # noqa: PLC0415  needs Gymnasium

        task = open_simulation(args.task).contract
    return make_contract(
        incoming, args.source, args.contract, robot=_robot(args), task=task, name=args.name,
        period=args.period,
    )  # fmt: skip


def _artifact(
    args: Args, incoming: Incoming, contract: Contract, report: dict[str, Any]
) -> PolicyArtifact:
    """Make and write the policy file."""
    from qpolicy_ros.common.revision import revision  # noqa: PLC0415
    from qpolicy_ros.interchange.incoming.equality import draw  # noqa: PLC0415
    from qpolicy_ros.policy import make_artifact, save_policy  # noqa: PLC0415

    assert incoming.network is not None
    baseline = incoming.network.baseline(
        np.array([channel.scale for channel in contract.action]),
        np.array([channel.offset for channel in contract.action]),
    )
    provenance = {
        "command": "qpolicy import",
        "source": args.source.name,
        "source_format": incoming.kind,
        "source_sha256": _digest(args.source),
        "contract": Path(args.contract).name,
        "robot": Path(args.robot).name,
        "runtime": incoming.runtime,
        "equality": {key: report[key] for key in ("observations", "worst", "bound")},
        "notes": incoming.notes,
        "revision": revision(),
        "returns": {},
    }
    artifact = make_artifact(contract, baseline, None, provenance, draw(baseline, GOLDEN, seed=1))
    save_policy(artifact, args.out)
    return artifact


def _digest(path: Path) -> str:
    """SHA-256 of the source; of a folder, of its files in the order of their names."""
    import hashlib  # noqa: PLC0415

    digest = hashlib.sha256()
    for file in sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _report(
    args: Args, incoming: Incoming, contract: Contract, equality: Equality
) -> dict[str, Any]:
    assert incoming.network is not None
    return {
        "policy": str(args.out) if equality.holds else None,
        "task": contract.task,
        "format": incoming.kind,
        "runtime": incoming.runtime,
        "observations": equality.observations,
        "worst": equality.worst,
        "bound": equality.bound,
        "equal": equality.holds,
        "inputs": len(contract.observation),
        "hidden": [int(weight.shape[0]) for weight in incoming.network.weights[:-1]],
        "outputs": len(contract.action),
        "period_s": contract.period,
        "notes": incoming.notes,
    }


def _text(args: Args, incoming: Incoming, contract: Contract, equality: Equality) -> str:
    assert incoming.network is not None
    widths = [len(contract.observation), *(w.shape[0] for w in incoming.network.weights)]
    kinds = dict.fromkeys(str(step[0]) for step in incoming.network.steps if step[0] != "linear")
    shape, what = "-".join(map(str, widths)), "written" if equality.holds else "not written"
    bound = f"{equality.observations} observations, allowed {equality.bound:.1e}"
    period = f"every {contract.period * 1e3:g} ms"
    lines = [
        f"{args.out}: {what}",
        f"  source    {incoming.kind}, {shape}, {', '.join(kinds) or 'linear'}",
        f"  equality  {equality.worst:.1e} at most from {incoming.runtime} on {bound}",
        f"  task      {contract.task}, {len(contract.action)} actions {period}",
        *(f"  note      {note}" for note in incoming.notes),
    ]
    if equality.holds:
        lines.append(f"  next      qpolicy info {args.out}")
    return "\n".join(lines)
