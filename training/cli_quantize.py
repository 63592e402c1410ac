"""Make a low-bit policy from an FP32 one: post-training, by distillation, or by RL (QAT).

Writes OUT (the integer policy with its FP32 baseline), and beside it OUT's .qat.safetensors (the
trained module, from which `qpolicy export` makes the policy again) and .csv (the curve). The same
command resumes a run that was killed.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from qpolicy_ros.backends import create_backend
from qpolicy_ros.policy import PolicyArtifact, PolicyError, find_policy, load_policy, save_policy
from qpolicy_training.distill import DistillConfig
from qpolicy_training.equality import compare_accumulators, compare_with_snapped
from qpolicy_training.export import build_artifact
from qpolicy_training.options import check_options
from qpolicy_training.provenance import file_digest, provenance
from qpolicy_training.qat_file import QatPolicy, load_qat, qat_path, save_qat
from qpolicy_training.rehearsal import golden_observations, measured_returns
from qpolicy_training.sac import SacConfig
from qpolicy_training.snapped import snap
from qpolicy_training.student import Start, Student, StudentConfig, train_student


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy quantize`."""

    teacher: str
    """FP32 policy: a name such as hopper/fp32, or a file."""
    method: Literal["ptq", "distill", "qat"] = "distill"
    """ptq rounds the teacher; distill trains a student on its actions; qat is RL."""
    hidden: tuple[int, ...] = (256, 256)
    """Units of the hidden layers."""
    b_in: int = 8
    """Bits of the input codes, 2 to 8."""
    b_core: int = 3
    """Bits of weights and hidden activations, 2 to 8."""
    b_out: int = 8
    """Bits of the output codes, 2 to 8."""
    seed: int = 1
    """Seed of networks, exploration and environment."""
    start: Path | None = None
    """qat: a .qat.safetensors to go on from; left out, RL begins with a random actor."""
    critic: Path | None = None
    """qat with --start: checkpoint of the teacher's run whose critics to go on from."""
    policy_starts: int = 0
    """qat: critic updates before the actor's first."""
    distill: DistillConfig = field(default_factory=DistillConfig)
    """Hyperparameters of distillation."""
    sac: SacConfig = field(default_factory=SacConfig)
    """Hyperparameters of qat."""
    out: Path | None = None
    """Policy file to write (default: quantised.safetensors in the run's folder)."""
    resume_from: Path | None = None
    """qat: a checkpoint.safetensors of the same configuration to go on from."""
    episodes: int = 100
    """Episodes of the final evaluation of each backend, seeds 0, 1, ..."""
    json: bool = False
    """Print the result as one JSON object."""


def main(args: Args) -> int:
    """Run `qpolicy quantize`."""
    check_options(seed=args.seed, episodes=args.episodes, hidden=args.hidden, out=args.out)
    teacher = load_policy(find_policy(args.teacher))
    config, start = _config(args, teacher)
    student, run, winner = train_student(config, teacher.baseline, start, args.resume_from)
    facts: dict[str, object] = {
        "method": args.method,
        "seed": args.seed,
        "steps": winner.step,
        "config_hash": run.hash,
        "teacher_file_hash": teacher.file_hash,
        "teacher_provenance": {
            key: value for key, value in teacher.provenance.items() if key != "returns"
        },
        "resumes": run.resumes,
        "training_seconds": run.training_seconds,
    }
    artifact = _artifact(student, teacher, args, facts)
    out = args.out or run.folder / "quantised.safetensors"
    save_policy(artifact, out)
    qat = QatPolicy(
        task=artifact.contract.task,
        actor=student.actor,
        mean=student.normaliser.mean,
        std=student.normaliser.std,
        observations=artifact.golden.observations,
        provenance=artifact.provenance,
    )
    save_qat(qat, qat_path(out))
    if args.out is not None:
        shutil.copyfile(run.folder / "curve.csv", out.with_suffix(".csv"))
    run.close()
    returns = artifact.provenance["returns"]
    if args.json:
        print(json.dumps({"policy": str(out), "run": str(run.folder), **artifact.provenance}))
    else:
        share = returns["integer"]["mean"] / returns["fp32"]["mean"]
        print(
            f"{out}: return {returns['integer']['mean']:.0f}, {share:.1%} of the teacher's "
            f"{returns['fp32']['mean']:.0f} over {args.episodes} episodes"
        )
    return 0


def _config(args: Args, teacher: PolicyArtifact) -> tuple[StudentConfig, Start | None]:
    if args.method != "qat" and (args.start or args.critic):
        message = f"--start and --critic belong to --method qat, not {args.method}"
        raise PolicyError(message)
    if args.critic and not args.start:
        message = "--critic: give --start too: trained critics would be spoilt by a random actor"
        raise PolicyError(message)
    start = None
    if args.start is not None:
        loaded = load_qat(args.start)
        spec = loaded.actor.spec
        given = (spec.hidden, spec.b_in, spec.b_core, spec.b_out)
        asked = (args.hidden, args.b_in, args.b_core, args.b_out)
        if given != asked or loaded.task != teacher.contract.task:
            message = (
                f"{args.start}: --start: a {loaded.task} module of hidden, b_in, b_core, b_out = "
                f"{given}, but {teacher.contract.task} with {asked} is asked for; give these "
                "options as the module has them"
            )
            raise PolicyError(message)
        start = Start(Student.of(loaded.actor, loaded.mean, loaded.std), args.critic)
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
        sac=args.sac,
        start=file_digest(args.start) if args.start else "",
        critic=file_digest(args.critic) if args.critic else "",
        policy_starts=args.policy_starts,
    )
    return config, start


def _artifact(
    student: Student, teacher: PolicyArtifact, args: Args, facts: dict[str, object]
) -> PolicyArtifact:
    """Export, prove equal to the snapped module, play the final episodes."""
    mean, std = student.normaliser.mean, student.normaliser.std
    task = teacher.contract.env_id
    first = build_artifact(student.actor, mean, std, teacher, {}, teacher.golden.observations)
    backend = create_backend("integer", first)
    golden = golden_observations(backend.act, task)
    assert first.network is not None
    snapped = snap(student.actor, mean, std)
    if not (
        compare_with_snapped(first.network, snapped, golden).equal
        and compare_accumulators(first.network, snapped).equal
    ):
        message = "export: the integer network differs from the trained module; please report this"
        raise PolicyError(message)
    facts["returns"] = {
        "integer": measured_returns(backend, task, args.episodes),
        "fp32": measured_returns(create_backend("fp32", teacher), task, args.episodes),
    }
    return build_artifact(student.actor, mean, std, teacher, provenance(**facts), golden)
