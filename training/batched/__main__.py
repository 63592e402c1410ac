"""``python -m qpolicy_training.batched``: many runs at once on one accelerator.

``train`` needs JAX, MuJoCo and Gymnasium alone, so that a machine without torch can run it; the
folder that it leaves goes back to a machine with this project, where ``table`` and ``ship`` turn it
into numbers and policy files.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.common.invocation import invocation
from qpolicy_training.batched.plan import (
    DESCRIPTIONS,
    SIZES,
    CriticSize,
    Phases,
    students,
    teachers,
)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; exit status."""
    from qpolicy_ros.policy import PolicyError  # noqa: PLC0415 not before --help

    chosen = _parser().parse_args(arguments)
    try:
        result: int = chosen.run(chosen)
    except PolicyError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 a command prints
        return 2
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m qpolicy_training.batched", description=__doc__.splitlines()[0]
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, text: str, run: object) -> argparse.ArgumentParser:
        shown = argparse.ArgumentDefaultsHelpFormatter
        made = commands.add_parser(name, help=text, description=text, formatter_class=shown)
        made.set_defaults(run=run)
        return made

    train = command("train", "teachers, students and their last rung, until --seconds", _train)
    _train_options(train)
    for name, text, run in (
        ("ship", "write the best run of a task as a policy file", _ship),
        ("table", "play every student through the integer engine", _table),
    ):
        made = command(name, text, run)
        made.add_argument("folder", type=Path, help="--out of train")
        made.add_argument("--out", type=Path, required=True, help="file to write")
        made.add_argument("--episodes", type=_positive, default=100, help="episodes to play")
        if name == "ship":
            made.add_argument("--task", required=True, choices=list(SIZES), help="task")
            made.add_argument("--label", required=True, help="fp32, paper, selected or best",
                              choices=["fp32", "paper", "selected", "best"])  # fmt: skip
        else:
            made.add_argument("--first-seed", type=int, default=0, help="seed of the first one")
    return parser


def _train_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--tasks", nargs="+", default=list(SIZES), choices=list(SIZES), help="tasks")
    add("--teachers", type=_positive, default=3, help="teachers a task, a seed each")
    add(
        "--students", type=int, default=5, help="students of the best teacher, a seed each; 0: none"
    )
    add("--seed", type=int, default=1, help="of networks and environments")
    add("--workers", type=_positive, default=max((os.cpu_count() or 2) - 1, 1),
        help="physics processes")  # fmt: skip
    add("--seconds", type=float, default=740.0, help="wall-clock seconds for everything")
    add("--out", type=Path, required=True, help="folder for what comes out")
    add("--products", choices=["float32", "bfloat16"], default="bfloat16",
        help="inputs of the critics' matrix products; bfloat16 is slow on a CPU")  # fmt: skip
    add("--critic-width", type=_positive, default=CriticSize.width, help="units a layer")
    add("--critic-blocks", type=int, default=CriticSize.blocks, help="residual blocks")
    add("--episode-steps", type=_positive, default=None, help="shorter episodes than the task's")
    for item in dataclasses.fields(Phases):
        if item.name not in ("critic", "episode_steps"):
            add(f"--{item.name.replace('_', '-')}", type=type(item.default), default=item.default,
                help=DESCRIPTIONS[item.name])  # fmt: skip


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least 1")
    return value


def _train(chosen: argparse.Namespace) -> int:
    deadline = time.monotonic() + chosen.seconds
    names = [item.name for item in dataclasses.fields(Phases) if item.name != "critic"]
    critic = CriticSize(width=chosen.critic_width, blocks=chosen.critic_blocks)
    phases = Phases(**{name: getattr(chosen, name) for name in names}, critic=critic)
    phases.check()

    import jax  # noqa: PLC0415 seconds, and absent without the extra
    import jax.numpy as jnp  # noqa: PLC0415

    from qpolicy_training.batched.pipeline import Pipeline  # noqa: PLC0415
    from qpolicy_training.batched.results import Results  # noqa: PLC0415

    facts = {
        "command": invocation(),
        "device": jax.devices()[0].device_kind,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("jax", "numpy", "mujoco", "gymnasium")},
        "settings": dataclasses.asdict(phases),
        "seed": chosen.seed,
    }
    results = Results(chosen.out, facts)
    results.say(json.dumps(facts))
    taken = students(chosen.tasks, chosen.teachers, chosen.students) if chosen.students else []
    Pipeline(
        teachers(chosen.tasks, chosen.teachers), taken, phases, results, workers=chosen.workers,
        seed=chosen.seed, dtype=jnp.dtype(chosen.products), deadline=deadline,
    ).run()  # fmt: skip
    results.say("finished")
    return 0


def _ship(chosen: argparse.Namespace) -> int:
    from qpolicy_training.batched.delivery import ship, ship_teacher  # noqa: PLC0415 loads torch

    if chosen.label == "fp32":
        made = ship_teacher(chosen.folder, chosen.task, chosen.out, chosen.episodes)
    else:
        made = ship(chosen.folder, chosen.task, chosen.label, chosen.out, chosen.episodes)
    text = json.dumps(made.provenance["returns"])
    print(f"{chosen.out}: {text}")  # noqa: T201 a command prints
    return 0


def _table(chosen: argparse.Namespace) -> int:
    from qpolicy_training.batched.delivery import table  # noqa: PLC0415 loads torch

    found = table(chosen.folder, chosen.out, chosen.episodes, chosen.first_seed)
    write_atomically(chosen.out.with_suffix(".json"), (json.dumps(found, indent=1) + "\n").encode())
    for name, values in found.items():
        interval = f"[{values['low']:.0f}, {values['high']:.0f}] of {values['runs']}"
        print(f"{name}: IQM {values['iqm']:.0f} {interval}")  # noqa: T201 a command prints
    return 0


if __name__ == "__main__":
    sys.exit(main())
