"""`qpolicy quantize` with --robot or --bag: any policy with a robot's contract as the teacher."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from qpolicy_ros.policy import PolicyArtifact, PolicyError
from qpolicy_ros.policy.baseline import baseline_actions
from qpolicy_training.cli.quantize_args import Args
from qpolicy_training.recipes.config import DistillConfig
from qpolicy_training.recipes.deliver_foreign import deliver_foreign, files_digest
from qpolicy_training.recipes.foreign import ForeignConfig, ForeignCourse, Trained
from qpolicy_training.runs.provenance import teacher_facts


def quantize_foreign(args: Args, teacher: PolicyArtifact) -> int:
    """Train on a robot or on recordings, write the policy, print what it is worth."""
    if args.method != "distill":
        message = f"--method: {args.method} needs the teacher's own task; leave it out"
        raise PolicyError(message)
    unknown = (
        ("--fan-in", bool(args.fan_in)),
        ("--distill.loss", args.distill.loss != "square"),
        ("--critic", args.critic is not None),
        ("--start", args.start is not None),
        ("--resume-from", args.resume_from is not None),
        ("--finish", args.finish),
    )
    for option, given in unknown:
        if given:
            raise PolicyError(f"{option}: --robot and --bag do not know it; leave it out")
    if args.robot and args.bag:
        raise PolicyError("--bag: --robot is given too; give one of them")
    if not teacher.contract.robot:
        wrong = "comes from a feature vector, not from a robot"
        remedy = "import the policy with a contract that says where its values come from"
        raise PolicyError.at(teacher.path, "contract", wrong, remedy)
    course, facts = _on_robot(args, teacher) if args.robot else _on_bags(args, teacher)
    started = time.process_time()
    trained = course.train()
    facts = {
        "method": "distill",
        "seed": args.seed,
        "rounds": trained.step,
        "config_hash": course.run.hash,
        **teacher_facts(teacher),
        "resumes": course.run.resumes,
        "cpu_seconds": round(course.run.log.earlier_cpu + time.process_time() - started),
        "returns": {},
        **facts,
    }
    out = args.out or course.run.folder / "quantised.safetensors"
    artifact = deliver_foreign(course, trained, facts, out)
    course.run.close()
    if args.json:
        print(
            json.dumps({"policy": str(out), "run": str(course.run.folder), **artifact.provenance})
        )
    else:
        print("\n".join(_text(args, out, artifact, trained)))
    return 0


# Where nobody says otherwise: 5 to 10 minutes of one core for a robot of 29 joints.
USUAL = DistillConfig(rounds=30, round_steps=5000, round_updates=2500, evaluate_last=6)


def _config(args: Args, teacher: PolicyArtifact, source: str) -> ForeignConfig:
    distill = USUAL if args.distill == DistillConfig() else args.distill
    return ForeignConfig(
        source=source,
        teacher=teacher.function_hash,
        hidden=args.hidden,
        b_in=args.b_in,
        b_core=args.b_core,
        b_out=args.b_out,
        seed=args.seed,
        distill=distill,
    )


def _on_robot(args: Args, teacher: PolicyArtifact) -> tuple[ForeignCourse, dict[str, Any]]:
    # A recording needs no simulator, so that only a robot imports one.
    from qpolicy_training.recipes.robot_student import RobotCourse  # noqa: PLC0415

    config = _config(args, teacher, robot_digest(args.robot))
    return RobotCourse(config, teacher, args.robot), {"robot": Path(args.robot).name}


def _on_bags(args: Args, teacher: PolicyArtifact) -> tuple[ForeignCourse, dict[str, Any]]:
    from qpolicy_training.experience.recordings import read_recordings  # noqa: PLC0415
    from qpolicy_training.recipes.bag_student import BagCourse, coverage  # noqa: PLC0415

    def teach(observations: Any) -> Any:
        return baseline_actions(teacher.baseline, observations)

    recording = read_recordings(args.bag, teacher.contract, teach)
    facts: dict[str, Any] = {
        "bags": [bag.name for bag in args.bag],
        "coverage": coverage(recording, teacher.contract),
    }
    for line in _coverage_text(facts["coverage"]):
        print(line, file=sys.stderr)
    course = BagCourse(_config(args, teacher, files_digest(args.bag)), teacher, recording)
    facts["parts"] = dict(zip(("trained", "chosen_by", "judged_by"), course.counts, strict=True))
    return course, facts


def _text(args: Args, out: Path, artifact: PolicyArtifact, trained: Trained) -> list[str]:
    bits = f"{args.b_core} bits, {'-'.join(map(str, args.hidden))}"
    lines = [f"{out}: {bits}, {artifact.provenance['cpu_seconds']} s of one core"]
    facts = trained.verdict.facts
    if "likeness" in facts:
        return [*lines, *likeness_text(facts["likeness"])]
    error = facts["action_error"]
    lines += _coverage_text(artifact.provenance["coverage"])
    lines.append(
        f"expected action error, on {error['observations']} observations held out: RMSE "
        f"{error['rmse']:.4f}, p99 {error['p99']:.4f}, worst {error['worst']:.4f}"
    )
    width = max(map(len, error["joints"]))
    lines.append(f"  {'joint':<{width}} {'RMSE':>8} {'p99':>8} {'worst':>8}")
    for name, row in error["joints"].items():
        lines.append(f"  {name:<{width}} {row['rmse']:8.4f} {row['p99']:8.4f} {row['worst']:8.4f}")
    return lines


def likeness_text(like: dict[str, Any]) -> list[str]:
    """How a student walks beside its teacher, one line a command."""
    lines = [f"{'told':>18} {'up':>6} {'teacher':>8}  moved (teacher), m/s, m/s, rad/s"]
    for index, command in enumerate(like["commands"]):
        told = " / ".join(f"{value:g}" for value in command)
        ours, theirs = (like[k][index] for k in ("velocity", "teacher_velocity"))
        moved = " / ".join("none" if ours is None else f"{v:.2f}" for v in ours or (0, 0, 0))
        taught = " / ".join("none" if theirs is None else f"{v:.2f}" for v in theirs or (0, 0, 0))
        up, teacher_up = like["up"][index], like["teacher_up"][index]
        lines.append(f"{told:>18} {up:>6.0%} {teacher_up:>8.0%}  {moved} ({taught})")
    return lines


def robot_digest(robot: str) -> str:
    """SHA-256 of a robot's description and model."""
    from qpolicy_ros.sim.description import find_robot  # noqa: PLC0415 a recording needs none

    described = find_robot(robot)
    file = Path(described.file)
    model = described.model.get("file", "")
    return files_digest([file, file.parent / model] if model else [file])


def _coverage_text(seen: dict[str, Any]) -> list[str]:
    how = "what the policy saw" if seen["exact"] else "put together from the robot's topics"
    lines = [f"recording: {seen['seconds']:.0f} s, {seen['observations']} observations, {how}"]
    lines += [f"  note: {note}" for note in seen["notes"]]
    for command in seen["commands"]:
        (low, high), (least, most) = command["seen"], command["trained"]
        lines.append(
            f"  {command['source']}: {low:.2f} to {high:.2f} seen, trained {least:g} to {most:g}"
        )
    if seen["constant"]:
        few = ", ".join(seen["constant"][:6])
        more = f" and {len(seen['constant']) - 6} more" if len(seen["constant"]) > 6 else ""
        lines.append(f"  never changes: {few}{more}; the student cannot know what it does")
    return lines
