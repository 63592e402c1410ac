"""Train an FP32 policy by SAC, DDPG or imitation; go on where a killed run stopped.

The run's folder is $QPOLICY_RUNS/<task>-fp32-<algorithm>-<hash> (default ~/.cache/qpolicy). The
same command resumes it: exactly while the folder is whole, or warm from --resume-from with a copy
of its checkpoint.safetensors alone.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from qpolicy_ros.common.errors import UsageError
from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.policy import PolicyArtifact, find_policy, load_policy, make_artifact, save_policy
from qpolicy_ros.policy.sources import MAX_HISTORY
from qpolicy_training.cli.options import check_options, refuse_unused
from qpolicy_training.recipes.config import ImitateConfig
from qpolicy_training.rl.config import DdpgConfig, SacConfig
from qpolicy_training.runs.provenance import provenance, teacher_facts

if TYPE_CHECKING:  # torch takes seconds to import: a wrong call is answered before
    from qpolicy_training.recipes.teacher import Teacher
    from qpolicy_training.runs.folder import Run
    from qpolicy_training.runs.snapshots import Winner

_WALKS = 20  # at each command, where --episodes says no less


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy train`."""

    task: str = ""
    """Task name (hopper, halfcheetah, ...) or Gymnasium id with Box observation and action."""
    robot: str = ""
    """In the place of a task: a robot (a name of config/robots, a description or an MJCF file), on
    which --teacher is imitated; no reward is needed."""
    method: Literal["rl", "imitate"] = "rl"
    """rl learns from rewards; imitate learns a task's scripted controller (go2), or another FP32
    policy, by DAgger."""
    teacher: str = ""
    """imitate: FP32 policy to learn from, a name such as hopper/fp32, or a file; empty for the
    task's scripted controller. With --robot also a teacher that remembers (.json of
    `import --teacher-only`)."""
    history: int = 0
    """--robot: ticks of everything that changes that the student sees, the newest included; 0: 1,
    or 8 where the teacher remembers."""
    seed: int = 1
    """Seed of networks, exploration and environment."""
    hidden: tuple[int, ...] = (256, 256)
    """Units of the actor's hidden layers."""
    algorithm: Literal["sac", "ddpg"] = "sac"
    """Of RL."""
    sac: SacConfig = field(default_factory=SacConfig)
    """Hyperparameters of SAC."""
    ddpg: DdpgConfig = field(default_factory=DdpgConfig)
    """Hyperparameters of DDPG."""
    imitate: ImitateConfig = field(default_factory=ImitateConfig)
    """Hyperparameters of imitation."""
    out: Path | None = None
    """Policy file to write; the learning curve goes beside it as .csv."""
    resume_from: Path | None = None
    """A checkpoint.safetensors of the same configuration to go on from; exactly where its
    replay.f32 lies beside it, else warm. --sac.products, --sac.policy-lr and --sac.critic-lr
    may differ."""
    finish: bool = False
    """Train no further: choose among the run's snapshots so far and write the policy."""
    cpu_minutes: float = 0.0
    """Processor time of the run, over all its processes, at which it ends before its steps do,
    minutes; 0: no limit. A higher one goes on."""
    episodes: int = 100
    """Episodes of the final evaluation, seeds 0, 1, ..."""
    json: bool = False
    """Print the result as one JSON object."""


def main(args: Args) -> int:
    """Run `qpolicy train`."""
    check_options(seed=args.seed, episodes=args.episodes, hidden=args.hidden, out=args.out)
    if args.robot:
        return _on_robot(args)
    if not args.task:
        raise UsageError("--task: is missing; give a task, or --robot with --teacher")
    if args.history:
        raise UsageError("--history: belongs to --robot; leave it out")
    _check_method(args)
    if not 0 <= args.cpu_minutes < math.inf:
        message = f"--cpu-minutes: {args.cpu_minutes} is no time; give minutes, or 0 for no limit"
        raise UsageError(message)
    expert = load_policy(find_policy(args.teacher)) if args.teacher else None
    from qpolicy_ros.backends import create_backend  # noqa: PLC0415 as above
    from qpolicy_training.experience.task_env import TrainingEnv  # noqa: PLC0415
    from qpolicy_training.runs.golden import golden_observations, measured_returns  # noqa: PLC0415

    kind, steps_trained, (teacher, run, winner) = _train(args, expert)
    env = TrainingEnv(args.task)
    baseline = teacher.baseline()
    observations = golden_observations(teacher.policy(), args.task)

    def artifact(facts: dict[str, object]) -> PolicyArtifact:
        return make_artifact(env.contract, baseline, None, provenance(**facts), observations)

    facts: dict[str, object] = {
        "method": kind,
        "seed": args.seed,
        "steps": winner.step,
        "steps_trained": steps_trained or run.curve[-1][0],
        "config_hash": run.hash,
        **(teacher_facts(expert) if expert else {}),
        "resumes": run.resumes,
        "training_seconds": run.training_seconds,
    }
    backend = create_backend("fp32", artifact(facts))
    facts["returns"] = {"fp32": measured_returns(backend, args.task, args.episodes)}
    finished = artifact(facts)
    out = args.out or run.folder / "fp32.safetensors"
    save_policy(finished, out)
    if args.out is not None:
        write_atomically(args.out.with_suffix(".csv"), (run.folder / "curve.csv").read_bytes())
    run.close()
    result = {"task": env.contract.task, "policy": str(out), "run": str(run.folder), **facts}
    if args.json:
        print(json.dumps(result))
    else:
        mean = facts["returns"]["fp32"]["mean"]  # type: ignore[index]
        print(f"{out}: FP32 return {mean:.0f} over {args.episodes} episodes")
    return 0


def _on_robot(args: Args) -> int:
    """Imitate a teacher on a robot."""
    from qpolicy_training.cli.foreign import likeness_text  # noqa: PLC0415 a path of its own
    from qpolicy_training.cli.on_robot import imitate_on_robot  # noqa: PLC0415

    if args.task:
        raise UsageError("--robot: --task is given too; give one of them")
    if args.method != "imitate" or not args.teacher:
        message = "--robot: a robot has no reward; give --method imitate --teacher POLICY"
        raise UsageError(message)
    if not 0 <= args.history <= MAX_HISTORY:
        message = f"--history: {args.history} is none of 0 to {MAX_HISTORY} ticks; give 8"
        raise UsageError(message)
    if args.finish or args.cpu_minutes or args.resume_from is not None:
        message = "--finish, --cpu-minutes and --resume-from belong to --method rl, not imitate"
        raise UsageError(message)
    out, artifact = imitate_on_robot(
        args.teacher, args.robot, args.out,
        hidden=args.hidden, seed=args.seed, history=args.history, options=args.imitate,
        walks=min(args.episodes, _WALKS),
    )  # fmt: skip
    facts = artifact.provenance
    if args.json:
        print(json.dumps({"task": artifact.contract.task, "policy": str(out), **facts}))
    else:
        values = f"{len(artifact.contract.observation)} values"
        print(
            f"{out}: FP32, {values}, {facts['cpu_seconds']} s of one core; action RMSE from "
            f"the teacher's {facts['action_rmse']:.3g}"
        )
        print("\n".join(likeness_text(facts["likeness"])))
    return 0


def _check_method(args: Args) -> None:
    """Refuse options that belong to another method or algorithm."""
    rl, sac = args.method == "rl", args.algorithm == "sac"
    refuse_unused(
        (
            ("--teacher", bool(args.teacher), not rl, "--method imitate"),
            ("--finish", args.finish, rl, "--method rl"),
            ("--cpu-minutes", bool(args.cpu_minutes), rl, "--method rl"),
            ("--resume-from", args.resume_from is not None, rl, "--method rl"),
            ("--algorithm", not sac, rl, "--method rl"),
            ("--sac", args.sac != SacConfig(), rl and sac, "--method rl --algorithm sac"),
            ("--ddpg", args.ddpg != DdpgConfig(), rl and not sac, "--method rl --algorithm ddpg"),
            ("--imitate", args.imitate != ImitateConfig(), not rl, "--method imitate"),
        )
    )


def _train(
    args: Args, expert: PolicyArtifact | None
) -> tuple[str, int, tuple[Teacher, Run, Winner]]:
    """Return the kind of training, the steps asked for (0: as far as it came), and its result."""
    from qpolicy_training.recipes.imitate import ImitationConfig, imitate  # noqa: PLC0415 as above
    from qpolicy_training.recipes.teacher import TeacherConfig, train_teacher  # noqa: PLC0415

    if args.method == "imitate":
        learnt = expert.function_hash if expert else ""
        config = ImitationConfig(args.task, args.seed, args.hidden, args.imitate, teacher=learnt)
        return config.kind, args.imitate.rounds * args.imitate.round_steps, imitate(config, expert)
    options = args.ddpg if args.algorithm == "ddpg" else args.sac
    kind = f"fp32-{args.algorithm}"
    rl = TeacherConfig(args.task, args.seed, args.hidden, options, kind)
    limit = args.cpu_minutes * 60 or math.inf
    result = train_teacher(rl, resume_from=args.resume_from, finish=args.finish, cpu_seconds=limit)
    whole = not args.finish and math.isinf(limit)
    return kind, options.steps if whole else 0, result
