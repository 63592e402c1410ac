"""Choose a policy's width and bits: the cheapest that is as good as FP32, by a confidence bound.

Candidates are distilled from the task's FP32 policy, in brackets of successive halving over all
axes at once (--rule paper: the paper's greedy search). The same command goes on where it was
interrupted; docs/selection.md has the rule, the seeds and the ledger.
"""

from __future__ import annotations

import math

from qpolicy_fpga.explore.estimate import check_part
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.policy import PolicyArtifact, PolicyError, find_policy, load_policy
from qpolicy_ros.sim import Simulation, resolve_env_id, task_name
from qpolicy_training.cli.options import check_options
from qpolicy_training.cli.select_args import Args
from qpolicy_training.recipes.config import require_checkpoint
from qpolicy_training.rl.config import SacConfig
from qpolicy_training.select.config import HARDWARE_COSTS


def main(args: Args) -> int:
    """Run `qpolicy select`."""
    _check(args)
    teacher = _teacher(args)
    from qpolicy_training.cli.select_run import run  # noqa: PLC0415 torch takes seconds to import

    return run(args, teacher)


def _check(args: Args) -> None:
    for seed in args.seeds or (0,):
        check_options(seed=seed, episodes=args.episodes, hidden=(1,), out=args.out)
    if args.method == "qat" and args.scope is None and args.rule == "bound":
        message = (
            "--method: qat: rungs are made for distillation, the last one is RL; give --rule paper "
            "or --scope, or leave it out"
        )
        raise PolicyError(message)
    if args.algorithm == "ddpg" and args.method != "qat":
        message = "--algorithm: ddpg: belongs to --method qat; students are fine-tuned by SAC"
        raise PolicyError(message)
    _check_critic(args)
    if args.method != "qat" and args.sac != SacConfig():
        message = "--sac: belongs to --method qat; the last rung's options begin with --last"
        raise PolicyError(message)
    if not 0 <= args.cpu_minutes < math.inf:
        message = f"--cpu-minutes: {args.cpu_minutes} is no time; give minutes, or 0 for no limit"
        raise PolicyError(message)
    for option, count in (("--jobs", args.jobs), ("--last-turns", args.last_turns)):
        if count < 1:
            message = f"{option}: {count} is too small; give 1 or more"
            raise PolicyError(message)
    if args.cost in HARDWARE_COSTS:
        check_part(args.part)
    _check_axes(args)


def _check_critic(args: Args) -> None:
    measured = args.distill.loss == "divergence"
    if args.critic is not None and (args.method == "qat" or not (args.finetune or measured)):
        message = (
            f"--critic: {args.critic}: belongs to the last rung, which --finetune 0 and --method "
            "qat leave out, and to --distill.loss divergence"
        )
        raise PolicyError(message)
    if args.method != "qat":
        require_checkpoint(args.distill, args.critic)


def _check_axes(args: Args) -> None:
    axes = args.axes.of(args.rule)
    for name in ("hidden", "b_core", "b_in", "b_out"):
        values = getattr(axes, name)
        if args.scope == "seeds" and len(values) > 1:
            wrong = f"{values}: --scope seeds trains one shape; give one value"
            message = f"--axes.{name.replace('_', '-')}: {wrong}"
            raise PolicyError(message)


def _teacher(args: Args) -> PolicyArtifact:
    env_id = resolve_env_id(args.task)
    task = task_name(env_id)
    name = args.teacher or f"{task}/fp32"
    try:
        path = find_policy(name)
    except InputError:
        if args.teacher:
            raise
        Simulation(env_id).close()  # says what is wrong with a task that none could be trained for
        message = (
            f"task: {task} has no FP32 policy; train one with `qpolicy train --task {args.task} "
            "--out FILE` and give it by --teacher FILE"
        )
        raise PolicyError(message) from None
    teacher = load_policy(path)
    if teacher.contract.task != task:
        wrong = f"policy of {teacher.contract.task!r}, but --task is {task!r}"
        raise PolicyError.at(path, "task", wrong, "give an FP32 policy of this task")
    return teacher
