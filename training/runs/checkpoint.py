"""A run's checkpoint: all that training goes on from, exactly where the replay file is whole."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.policy import PolicyError
from qpolicy_training.experience.agent import Agent
from qpolicy_training.experience.normaliser import RunningNormaliser
from qpolicy_training.experience.replay import ReplayBuffer
from qpolicy_training.runs.config import lasting
from qpolicy_training.runs.folder import Run
from qpolicy_training.runs.state import load_state, restoring, save_state

if TYPE_CHECKING:  # a student of a recording needs no simulator
    from qpolicy_training.experience.task_env import TrainingEnv

CHECKPOINT_SECONDS = 180.0


class Resumable(NamedTuple):
    """What a checkpoint saves and restores: learner, statistics, experience, random states."""

    learner: Agent
    normaliser: RunningNormaliser
    replay: ReplayBuffer
    env: TrainingEnv
    rng: np.random.Generator


def save_if_due(run: Run, step: int, parts: Resumable, *, force: bool) -> None:
    """Checkpoint every few minutes; called between episodes."""
    now = time.monotonic()
    if not force and now - run.saved < CHECKPOINT_SECONDS:
        return
    parts.replay.flush()
    tensors = parts.learner.tensors()
    for name, value in parts.normaliser.state().items():
        tensors[f"normaliser.{name}"] = torch.from_numpy(np.asarray(value))
    tensors["torch_rng"] = torch.get_rng_state()
    save_state(
        run.checkpoint_path,
        tensors,
        {
            "step": step,
            "updates": parts.learner.updates,
            "replay_rows": parts.replay.size,
            "env_rng": parts.env.random_state(),
            "sample_rng": parts.rng.bit_generator.state,
            **run.saved_facts(),
            "hash": run.hash,
            "config": run.config,
        },
    )
    run.saved = now
    run.log.flush()


def resume(run: Run, parts: Resumable, steps: int) -> int:
    """Restore the checkpoint if there is one; returns the step to go on from, of ``steps``.

    Exact where the replay file holds the checkpoint's rows; otherwise warm: the networks go on, the
    replay buffer is filled again with the policy's own actions first.
    """
    if not run.checkpoint_path.exists():
        return 0
    tensors, meta = load_state(run.checkpoint_path)
    require_own(run, run.checkpoint_path, meta)
    normaliser, replay = parts.normaliser, parts.replay
    with restoring(run.checkpoint_path):
        parts.learner.restore(tensors, meta["updates"])
        normaliser.restore(
            {name: tensors[f"normaliser.{name}"].numpy() for name in normaliser.state()}
        )
        torch.set_rng_state(tensors["torch_rng"])
        parts.rng.bit_generator.state = meta["sample_rng"]
        parts.env.restore_random_state(meta["env_rng"])
        step = int(meta["step"])
        run.warm = not replay.holds(meta["replay_rows"])
        replay.size = 0 if run.warm else int(meta["replay_rows"])
        run.restore_facts({"cpu_seconds": 0.0, **meta})  # earlier versions did not count it
        if step < steps:
            kind = "warm" if run.warm else "exact"
            of = {} if meta["hash"] == run.hash else {"of": meta["hash"]}
            run.resumes.append({"step": step, "kind": kind, **of})
    return step


def adopt(run: Run, checkpoint: Path) -> None:
    """Put ``checkpoint`` into the run's folder unless it has one of its own that is further on.

    Its replay buffer and candidates come along where they lie beside it. Raises
    ``PolicyError``, and leaves the folder as it was, for a checkpoint of another run.
    """
    _, meta = load_state(checkpoint)
    require_own(run, checkpoint, meta)
    with restoring(checkpoint):
        steps = list(meta["candidates"])
    if run.checkpoint_path.exists():
        _, own = load_state(run.checkpoint_path)
        with restoring(checkpoint):
            if own["step"] >= meta["step"]:
                return
    # What lies here belongs to another past.
    (run.folder / "replay.f32").unlink(missing_ok=True)
    try:
        for name in ("replay.f32", *(f"candidate_{int(s):09d}.safetensors" for s in steps)):
            if (checkpoint.parent / name).exists():
                shutil.copyfile(checkpoint.parent / name, run.folder / name)
        write_atomically(run.checkpoint_path, checkpoint.read_bytes())
    except OSError as error:
        message = f"{run.folder}: {error.strerror}; free space or set QPOLICY_RUNS elsewhere"
        raise PolicyError(message) from None


def require_own(run: Run, file: Path, meta: dict[str, Any]) -> None:
    """Refuse, with ``PolicyError``, a checkpoint of another configuration, or none."""
    found = meta.get("hash")
    if found is None:
        message = f"{file}: is a snapshot, no checkpoint; give a run's checkpoint.safetensors"
        raise PolicyError(message)
    theirs = meta.get("config")  # checkpoints of earlier versions have none
    with restoring(file):
        related = theirs is not None and lasting(theirs) == lasting(run.config)
    if found != run.hash and not related:
        message = (
            f"{file}: hash: {found} is another configuration, this run is {run.hash}; give "
            "the command that the checkpoint was made with"
        )
        raise PolicyError(message)
