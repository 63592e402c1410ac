"""``python -m qpolicy_training.batched``: many runs at once on one accelerator."""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path


def main() -> int:
    """Train and leave a folder of snapshots; exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m qpolicy_training.batched", description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )  # fmt: skip
    from qpolicy_training.batched.plan import SIZES, Phases, students, teachers  # noqa: PLC0415

    add = parser.add_argument
    add("--tasks", nargs="+", default=list(SIZES), choices=list(SIZES), help="tasks")
    add("--teachers", type=int, default=3, help="teachers a task, a seed each")
    add("--students", type=int, default=5, help="students of the best teacher, a seed each")
    add("--seed", type=int, default=1, help="of networks and environments")
    add("--workers", type=int, default=max((os.cpu_count() or 2) - 1, 1), help="physics processes")
    add("--seconds", type=float, default=720.0, help="wall-clock seconds for everything")
    add("--out", type=Path, required=True, help="folder for what comes out")
    add("--products", choices=["float32", "bfloat16"], default="bfloat16",
        help="inputs of the critics' matrix products")  # fmt: skip
    add("--critic-width", type=int, default=512, help="units a layer of the critics")
    add("--critic-blocks", type=int, default=1, help="residual blocks of the critics")
    for item in dataclasses.fields(Phases):
        if item.name in ("critic", "episode_steps"):
            continue
        add(f"--{item.name.replace('_', '-')}", type=type(item.default), default=item.default,
            help="see plan.py")  # fmt: skip
    add("--episode-steps", type=int, default=None, help="shorter episodes than the task's")
    chosen = parser.parse_args()
    deadline = time.monotonic() + chosen.seconds

    import jax  # noqa: PLC0415 after --help
    import jax.numpy as jnp  # noqa: PLC0415

    from qpolicy_training.batched.pipeline import Pipeline  # noqa: PLC0415
    from qpolicy_training.batched.plan import CriticSize  # noqa: PLC0415
    from qpolicy_training.batched.results import Results  # noqa: PLC0415

    names = [item.name for item in dataclasses.fields(Phases) if item.name != "critic"]
    critic = CriticSize(width=chosen.critic_width, blocks=chosen.critic_blocks)
    phases = Phases(**{name: getattr(chosen, name) for name in names}, critic=critic)
    facts = {
        "command": ["python", "-m", "qpolicy_training.batched", *sys.argv[1:]],
        "device": jax.devices()[0].device_kind,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("jax", "numpy", "mujoco", "gymnasium")},
        "settings": dataclasses.asdict(phases),
        "seed": chosen.seed,
    }
    results = Results(chosen.out, facts)
    results.say(str(facts))
    taught = teachers(chosen.tasks, chosen.teachers)
    taken = students(chosen.tasks, chosen.teachers, chosen.students) if chosen.students else []
    Pipeline(
        taught, taken, phases, results, workers=chosen.workers, seed=chosen.seed,
        dtype=jnp.dtype(chosen.products), deadline=deadline,
    ).run()  # fmt: skip
    results.say("finished")
    return 0


if __name__ == "__main__":
    sys.exit(main())
