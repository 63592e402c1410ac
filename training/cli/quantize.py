"""Make a low-bit policy from an FP32 one: post-training, by distillation, RL (QAT) or search.

The teacher's own task trains the student; --robot trains it on any robot for which the teacher's
contract says where its values come from, and --bag on recordings alone, without a simulator.
Writes OUT (the integer policy with its FP32 baseline), and beside it OUT's .qat.safetensors (the
trained module, from which `qpolicy export` makes the policy again) and .csv (the curve). The same
command resumes a run that was killed.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from qpolicy_ros.policy import PolicyArtifact, PolicyError, find_policy, load_policy
from qpolicy_training.cli.options import check_options, fan_in_of, refuse_unused
from qpolicy_training.cli.quantize_args import Args
from qpolicy_training.recipes.config import DistillConfig, SearchConfig, require_checkpoint
from qpolicy_training.rl.config import DdpgConfig, SacConfig
from qpolicy_training.runs.provenance import beside_teacher, file_digest, teacher_facts

if TYPE_CHECKING:  # torch takes seconds to import: a wrong call is answered before
    from qpolicy_training.recipes.student import Student, StudentConfig


def main(args: Args) -> int:
    """Run `qpolicy quantize`."""
    teacher = _teacher(args)
    usual = teacher.baseline.hidden if args.method == "ptq" else (256, 256)
    args = replace(args, hidden=args.hidden or usual)
    check_options(seed=args.seed, episodes=args.episodes, hidden=args.hidden, out=args.out)
    if args.robot or args.bag:
        from qpolicy_training.cli.foreign import quantize_foreign  # noqa: PLC0415 a path of its own

        return quantize_foreign(args, teacher)
    if not teacher.contract.env_id:
        wrong = "is of no task that can be simulated by itself"
        raise PolicyError.at(teacher.path, "task", wrong, "give --robot or --bag")
    _check(args)
    # What needs Gymnasium and MuJoCo, which recordings do without.
    from qpolicy_training.recipes.deliver import deliver  # noqa: PLC0415
    from qpolicy_training.recipes.student import train_student  # noqa: PLC0415

    config, start = _config(args, teacher)
    student, run, winner = train_student(
        config, teacher.baseline, start, args.critic, args.resume_from, finish=args.finish
    )
    facts: dict[str, object] = {
        "method": args.method,
        "seed": args.seed,
        "steps": winner.step,
        "steps_trained": run.curve[-1][0],
        "config_hash": run.hash,
        **teacher_facts(teacher),
        "resumes": run.resumes,
        "training_seconds": run.training_seconds,
    }
    out = args.out or run.folder / "quantised.safetensors"
    curve = run.folder / "curve.csv" if args.out is not None else None
    artifact = deliver(student, teacher, facts, args.episodes, out, curve)
    run.close()
    returns = artifact.provenance["returns"]
    if args.json:
        print(json.dumps({"policy": str(out), "run": str(run.folder), **artifact.provenance}))
    else:
        beside = beside_teacher(returns["integer"]["mean"], returns["fp32"]["mean"])
        print(f"{out}: return {beside} over {args.episodes} episodes")
    return 0


def _teacher(args: Args) -> PolicyArtifact:
    """Open the teacher; one that remembers is first imitated by an FP32 policy with a history."""
    if Path(args.teacher).suffix != ".json":
        return load_policy(find_policy(args.teacher))
    if not args.robot:
        wrong = "remembers, and what it does depends on what it saw before"
        raise PolicyError.at(args.teacher, "teacher", wrong, "give --robot ROBOT to play it on")
    if args.bag or args.method != "distill":
        wrong = "remembers, which --bag and other methods than distill do not take"
        raise PolicyError.at(args.teacher, "teacher", wrong, "give --robot alone")
    from qpolicy_training.cli.foreign import likeness_text  # noqa: PLC0415 a path of its own
    from qpolicy_training.cli.on_robot import imitate_on_robot  # noqa: PLC0415

    check_options(seed=args.seed, episodes=args.episodes, hidden=args.hidden or (1,), out=args.out)
    out = None if args.out is None else args.out.with_name(f"{args.out.stem}-fp32.safetensors")
    file, artifact = imitate_on_robot(
        args.teacher, args.robot, out,
        hidden=(256, 256), seed=args.seed, history=args.history, options=args.imitate,
        walks=args.distill.walks,
    )  # fmt: skip
    print(f"{file}: FP32 with a history of the teacher's values", file=sys.stderr)
    print("\n".join(likeness_text(artifact.provenance["likeness"])), file=sys.stderr)
    return artifact


def _check(args: Args) -> None:
    """Refuse options that do not go together, or belong to another method or algorithm."""
    method, rl = args.method, args.method == "qat"
    either, sac = rl or method == "search", args.algorithm == "sac"
    measured = args.distill.loss == "divergence"
    refuse_unused(
        (
            ("--start", args.start is not None, either, "--method qat and search"),
            ("--finish", args.finish, either, "--method qat and search"),
            (
                "--critic",
                args.critic is not None,
                rl or (method == "distill" and measured),
                "--method qat, and to distill with --distill.loss divergence",
            ),
            ("--resume-from", args.resume_from is not None, rl, "--method qat"),
            ("--policy-starts", args.policy_starts != 0, rl, "--method qat"),
            ("--algorithm", not sac, rl, "--method qat"),
            ("--sac", args.sac != SacConfig(), rl and sac, "--method qat --algorithm sac"),
            ("--ddpg", args.ddpg != DdpgConfig(), rl and not sac, "--method qat --algorithm ddpg"),
            ("--distill", args.distill != DistillConfig(), method == "distill", "--method distill"),
            ("--fan-in", bool(args.fan_in), method != "ptq", "--method distill, qat and search"),
            ("--search", args.search != SearchConfig(), method == "search", "--method search"),
        )
    )
    if args.method == "search" and args.start is None:
        message = "--start: --method search goes on from a student; give its .qat.safetensors"
        raise PolicyError(message)
    if args.further and (args.method != "distill" or min(args.further) < 1):
        message = f"--further: {args.further}: give rounds of 1 or more, with --method distill"
        raise PolicyError(message)
    if args.method == "distill":
        require_checkpoint(args.distill, args.critic)
    if args.method == "qat" and args.critic and not args.start:
        message = "--critic: give --start too: trained critics would be spoilt by a random actor"
        raise PolicyError(message)


def _config(args: Args, teacher: PolicyArtifact) -> tuple[StudentConfig, Student | None]:
    from qpolicy_training.quant.qat_file import load_qat  # noqa: PLC0415 as above
    from qpolicy_training.recipes.student import Student, StudentConfig  # noqa: PLC0415

    start, few = None, fan_in_of(args.fan_in, args.hidden)
    if args.start is not None:
        loaded = load_qat(args.start)
        spec = loaded.actor.spec
        given = (spec.hidden, spec.b_in, spec.b_core, spec.b_out, spec.fan_in)
        asked = (args.hidden, args.b_in, args.b_core, args.b_out, few)
        if given != asked or loaded.task != teacher.contract.task:
            message = (
                f"{args.start}: --start: a {loaded.task} module of hidden, b_in, b_core, b_out, "
                f"fan_in = {given}, but {teacher.contract.task} with {asked} is asked for; give "
                "these options as the module has them"
            )
            raise PolicyError(message)
        start = Student.of(loaded.actor, loaded.mean, loaded.std)
    config = StudentConfig(
        method=args.method,
        task=teacher.contract.env_id,
        teacher="" if args.method == "qat" else teacher.function_hash,
        hidden=args.hidden,
        b_in=args.b_in,
        b_core=args.b_core,
        b_out=args.b_out,
        seed=args.seed,
        distill=args.distill,
        sac=args.ddpg if args.algorithm == "ddpg" else args.sac,
        start=file_digest(args.start) if args.start else "",
        critic=file_digest(args.critic) if args.critic else "",
        policy_starts=args.policy_starts,
        further=args.further,
        search=args.search,
        fan_in=few,
    )
    return config, start
