"""A training run's folder: configuration, curve, checkpoints, candidates, progress.

The folder lies under ``$QPOLICY_RUNS`` (default ``~/.cache/qpolicy``) and is named by the SHA-256
of the full configuration, so the same command always finds its own run again and two different
runs never meet.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.policy import PolicyError
from qpolicy_training.runs.curve import write_curve
from qpolicy_training.runs.state import load_state, restoring, save_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.utils.tensorboard import SummaryWriter

    from qpolicy_training.experience.agent import Agent
    from qpolicy_training.experience.normaliser import RunningNormaliser
    from qpolicy_training.experience.replay import ReplayBuffer
    from qpolicy_training.experience.task_env import TrainingEnv

CHECKPOINT_SECONDS = 180.0
CANDIDATES = 5


class DivergedError(PolicyError):
    """A run's loss is not finite any more; what was saved before stays."""


def runs_folder() -> Path:
    """Where runs live: ``$QPOLICY_RUNS`` or ``~/.cache/qpolicy``."""
    return Path(os.environ.get("QPOLICY_RUNS", "~/.cache/qpolicy")).expanduser()


# Marks a field that came after runs had been hashed: at its default it is left out of the hash,
# so that the same command still finds the run that it named before.
ADDED_LATER: Mapping[str, bool] = {"added_later": True}


def config_hash(config: Any) -> str:
    """First 12 hex digits of the SHA-256 of a configuration dataclass as canonical JSON."""
    if not is_dataclass(config) or isinstance(config, type):
        message = f"not a configuration: {config!r}"
        raise TypeError(message)
    text = json.dumps(_hashed(config), sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _hashed(value: Any) -> Any:
    if not is_dataclass(value):
        return value
    return {
        item.name: _hashed(getattr(value, item.name))
        for item in fields(value)
        if not item.metadata.get("added_later") or getattr(value, item.name) != item.default
    }


# What a run may change where it goes on from a checkpoint: how exactly products are taken (the
# processor at hand may be another), and the learning rates (it may have stopped getting better).
_CHANGEABLE = ("products", "policy_lr", "critic_lr")


def _lasting(config: dict[str, Any]) -> dict[str, Any]:
    """What two configurations must share for one to go on from the other's checkpoint."""
    learner = {k: v for k, v in config.get("sac", {}).items() if k not in _CHANGEABLE}
    return json.loads(json.dumps({**config, "sac": learner}, default=str))


# A batch and a layer are matrices in memory.
_MOST = {"batch": 65_536, "critic_width": 16_384}
_MOST_COUNT = 10**9


def require_positive(config: Any, prefix: str) -> None:
    """Refuse a configuration with a number that is not above 0, or that no memory could hold.

    ``prefix`` is its option's.
    """
    for name, value in asdict(config).items():
        option, most = f"{prefix}.{name.replace('_', '-')}", _MOST.get(name, _MOST_COUNT)
        if isinstance(value, (int, float)) and not value > 0:
            message = f"{option}: {value} is too small; give a value above 0"
            raise PolicyError(message)
        if isinstance(value, int) and value > most:
            message = f"{option}: {value} is too large; give {most} at most"
            raise PolicyError(message)


class Run:
    """One run; ``close`` releases its lock.

    Raises ``PolicyError`` when another live process works in the same folder, and with ``finish``
    when there is no checkpoint in it to write a policy from.
    """

    def __init__(
        self, name: str, config: Any, parent: Path | None = None, *, finish: bool = False
    ) -> None:
        self.hash = config_hash(config)
        self._config: dict[str, Any] = _hashed(config)
        self.folder = (parent or runs_folder()) / f"{name}-{self.hash}"
        if finish and not self.checkpoint_path.exists():
            message = (
                f"--finish: {self.checkpoint_path}: there is no run to finish; give the options "
                "that it was trained with, or leave --finish out to train"
            )
            raise PolicyError(message)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / ".lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"{self.folder}: in use by another process; wait for it or stop it first"
            raise PolicyError(message) from None
        except OSError as error:
            message = f"{self.folder}: {error.strerror}; set QPOLICY_RUNS to a writable folder"
            raise PolicyError(message) from None
        for leftover in self.folder.glob(".*.safetensors.*"):  # of a process that was killed
            leftover.unlink(missing_ok=True)
        description = {"command": sys.argv, "config": asdict(config), "hash": self.hash}
        write_atomically(
            self.folder / "config.json", json.dumps(description, indent=1, default=str).encode()
        )
        self.warm = False
        self.resumes: list[dict[str, Any]] = []
        self.curve: list[tuple[int, float, float]] = []
        self.candidates: dict[int, float] = {}
        self.seconds = 0.0
        self.earlier_cpu = self.saved_cpu = 0.0
        self._started = self._saved = time.monotonic()
        self._cpu = time.process_time()
        self._first_step = 0
        self._writer: SummaryWriter | None = None
        self._logging = True
        self._bar: tqdm[Any] | None = None

    # Progress ------------------------------------------------------------------------------

    @contextmanager
    def progress(self, total: int, initial: int) -> Iterator[Run]:
        """Progress bar with ETA and the last held-out return, on standard error."""
        self._first_step = initial
        self._started = time.monotonic()
        interval = 0.5 if sys.stderr.isatty() else 60.0
        with tqdm(
            total=total, initial=initial, unit="step", mininterval=interval, smoothing=0.05
        ) as bar:
            self._bar = bar
            if self.curve:
                bar.set_postfix(held_out=f"{self.curve[-1][1]:.0f}", refresh=False)
            yield self
        self._bar = None

    def update(self, step: int) -> None:
        """Move the progress bar to ``step``."""
        if self._bar is not None:
            self._bar.update(step - self._bar.n)

    def speed(self, step: int, now: float) -> float:
        """Environment steps a second since this process began."""
        return (step - self._first_step) / max(now - self._started, 1e-9)

    @property
    def training_seconds(self) -> int:
        """Time that the run took up to its last evaluation, over all processes, s."""
        return round(self.curve[-1][2]) if self.curve else 0

    def count_cpu(self) -> float:
        """Processor time of this process since the run began, and of earlier ones as saved, s."""
        self.saved_cpu = self.earlier_cpu + time.process_time() - self._cpu
        return self.saved_cpu

    def scalar(self, name: str, value: float, step: int) -> None:
        """Log one scalar to TensorBoard; a disk that is full ends the log, not the run."""
        if not self._logging:
            return
        try:
            if self._writer is None:
                from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - slow to import

                self._writer = SummaryWriter(str(self.folder / "tensorboard"))
            self._writer.add_scalar(name, value, step)
        except OSError as error:
            self._logging = False
            reason = f"{error.strerror or error}; TensorBoard's log stops here, the run goes on"
            tqdm.write(f"{self.folder}: {reason}", file=sys.stderr)

    # Curve and candidates --------------------------------------------------------------------

    def record(self, step: int, mean_return: float) -> None:
        """Add a point of the learning curve: mean return on held-out seeds."""
        seconds = self.seconds + time.monotonic() - self._started
        self.curve.append((step, mean_return, seconds))
        self._write_curve()
        self.scalar("held_out/return", mean_return, step)
        if self._bar is not None:
            best = max(row[1] for row in self.curve)
            self._bar.set_postfix(held_out=f"{mean_return:.0f}", best=f"{best:.0f}", refresh=False)

    def _write_curve(self) -> None:
        write_curve(self.folder / "curve.csv", self.curve)

    def candidate_path(self, step: int) -> Path:
        """File of the snapshot taken at ``step``."""
        return self.folder / f"candidate_{step:09d}.safetensors"

    def consider(
        self, step: int, mean_return: float, tensors: dict[str, torch.Tensor], meta: dict[str, Any]
    ) -> None:
        """Keep a snapshot if it is among the best so far by held-out return."""
        if not np.isfinite(mean_return):
            return
        if len(self.candidates) >= CANDIDATES and mean_return <= min(self.candidates.values()):
            return
        meta = {**meta, "step": step, "held_out_return": mean_return}
        save_state(self.candidate_path(step), tensors, meta)
        self.candidates[step] = mean_return
        for worst in sorted(self.candidates, key=self.candidates.__getitem__)[:-CANDIDATES]:
            del self.candidates[worst]
            self.candidate_path(worst).unlink(missing_ok=True)

    # Checkpoints ---------------------------------------------------------------------------

    @property
    def checkpoint_path(self) -> Path:
        """Networks, optimisers, normaliser, random states; with ``replay.f32`` resumes exactly."""
        return self.folder / "checkpoint.safetensors"

    def adopt(self, checkpoint: Path) -> None:
        """Put ``checkpoint`` into this folder unless it has one of its own that is further on.

        Its replay buffer and candidates come along where they lie beside it. Raises
        ``PolicyError``, and leaves the folder as it was, for a checkpoint of another run.
        """
        _, meta = load_state(checkpoint)
        self._require_own(checkpoint, meta)
        with restoring(checkpoint):
            steps = list(meta["candidates"])
        if self.checkpoint_path.exists():
            _, own = load_state(self.checkpoint_path)
            with restoring(checkpoint):
                if own["step"] >= meta["step"]:
                    return
        # What lies here belongs to another past.
        (self.folder / "replay.f32").unlink(missing_ok=True)
        try:
            for name in ("replay.f32", *(f"candidate_{int(s):09d}.safetensors" for s in steps)):
                if (checkpoint.parent / name).exists():
                    shutil.copyfile(checkpoint.parent / name, self.folder / name)
            write_atomically(self.checkpoint_path, checkpoint.read_bytes())
        except OSError as error:
            message = f"{self.folder}: {error.strerror}; free space or set QPOLICY_RUNS elsewhere"
            raise PolicyError(message) from None

    def _require_own(self, file: Path, meta: dict[str, Any]) -> None:
        found = meta.get("hash")
        if found is None:
            message = f"{file}: is a snapshot, no checkpoint; give a run's checkpoint.safetensors"
            raise PolicyError(message)
        theirs = meta.get("config")  # checkpoints of earlier versions have none
        with restoring(file):
            related = theirs is not None and _lasting(theirs) == _lasting(self._config)
        if found != self.hash and not related:
            message = (
                f"{file}: hash: {found} is another configuration, this run is {self.hash}; give "
                "the command that the checkpoint was made with"
            )
            raise PolicyError(message)

    def checkpoint_if_due(
        self,
        step: int,
        learner: Agent,
        normaliser: RunningNormaliser,
        replay: ReplayBuffer,
        env: TrainingEnv,
        rng: np.random.Generator,
        *,
        force: bool,
    ) -> None:
        """Checkpoint every few minutes; called between episodes."""
        now = time.monotonic()
        if not force and now - self._saved < CHECKPOINT_SECONDS:
            return
        replay.flush()
        tensors = learner.tensors()
        for name, value in normaliser.state().items():
            tensors[f"normaliser.{name}"] = torch.from_numpy(np.asarray(value))
        tensors["torch_rng"] = torch.get_rng_state()
        save_state(
            self.checkpoint_path,
            tensors,
            {
                "step": step,
                "updates": learner.updates,
                "replay_rows": replay.size,
                "env_rng": env.random_state(),
                "sample_rng": rng.bit_generator.state,
                "resumes": self.resumes,
                "candidates": self.candidates,
                "curve": self.curve,
                "seconds": self.seconds + now - self._started,
                "cpu_seconds": self.count_cpu(),
                "hash": self.hash,
                "config": self._config,
            },
        )
        self._saved = now
        if self._writer is not None and self._logging:
            self._writer.flush()

    def resume(
        self,
        learner: Agent,
        normaliser: RunningNormaliser,
        replay: ReplayBuffer,
        env: TrainingEnv,
        rng: np.random.Generator,
        steps: int,
    ) -> int:
        """Restore the checkpoint if there is one; returns the step to go on from, of ``steps``.

        Exact where the replay file holds the checkpoint's rows; otherwise warm: the networks go
        on, the replay buffer is filled again with the policy's own actions first.
        """
        if not self.checkpoint_path.exists():
            return 0
        tensors, meta = load_state(self.checkpoint_path)
        self._require_own(self.checkpoint_path, meta)
        with restoring(self.checkpoint_path):
            learner.restore(tensors, meta["updates"])
            normaliser.restore(
                {name: tensors[f"normaliser.{name}"].numpy() for name in normaliser.state()}
            )
            torch.set_rng_state(tensors["torch_rng"])
            rng.bit_generator.state = meta["sample_rng"]
            env.restore_random_state(meta["env_rng"])
            step = int(meta["step"])
            self.warm = not replay.holds(meta["replay_rows"])
            replay.size = 0 if self.warm else int(meta["replay_rows"])
            self.resumes = meta["resumes"]
            if step < steps:
                kind = "warm" if self.warm else "exact"
                of = {} if meta["hash"] == self.hash else {"of": meta["hash"]}
                self.resumes.append({"step": step, "kind": kind, **of})
            self.seconds = float(meta["seconds"])
            self.earlier_cpu = self.saved_cpu = float(meta.get("cpu_seconds", 0.0))
            self.rewind(meta["curve"], meta["candidates"])
        return step

    def rewind(self, curve: list[list[float]], candidates: dict[str, float]) -> None:
        """Go back to a checkpoint's curve and candidates: what came after it is played again."""
        self.curve = [(int(step), value, seconds) for step, value, seconds in curve]
        self.candidates = {
            int(step): value
            for step, value in candidates.items()
            if self.candidate_path(int(step)).exists()
        }
        for path in self.folder.glob("candidate_*.safetensors"):
            if int(path.stem.split("_")[1]) not in self.candidates:
                path.unlink()
        self._write_curve()

    def close(self) -> None:
        """Flush logs and release the folder."""
        if self._writer is not None and self._logging:
            self._writer.close()
        self._lock.close()
