"""A training run's folder: its name, lock, learning curve and best snapshots.

The folder lies under ``$QPOLICY_RUNS`` (default ``~/.cache/qpolicy``) and is named by the SHA-256
of the full configuration, so the same command always finds its own run again and two different
runs never meet.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qpolicy_ros.common.files import cache_folder, write_atomically
from qpolicy_ros.common.invocation import invocation
from qpolicy_ros.policy import PolicyError
from qpolicy_training.runs.config import config_hash, hashed
from qpolicy_training.runs.curve import write_curve
from qpolicy_training.runs.progress import Progress
from qpolicy_training.runs.state import save_state

CANDIDATES = 5


class DivergedError(PolicyError):
    """A run's loss is not finite any more; what was saved before stays."""


def runs_folder() -> Path:
    """Where runs live: ``$QPOLICY_RUNS``, else ``qpolicy`` in the user's cache."""
    chosen = os.environ.get("QPOLICY_RUNS", "")
    return Path(chosen) if chosen else cache_folder("qpolicy")


class Run:
    """One run; ``close`` releases its lock.

    Raises ``PolicyError`` when another live process works in the same folder, and with ``finish``
    when there is no checkpoint in it to write a policy from.
    """

    def __init__(
        self, name: str, config: Any, parent: Path | None = None, *, finish: bool = False
    ) -> None:
        self.hash = config_hash(config)
        self.config: dict[str, Any] = hashed(config)
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
        description = {"command": invocation(), "config": asdict(config), "hash": self.hash}
        write_atomically(
            self.folder / "config.json", json.dumps(description, indent=1, default=str).encode()
        )
        self.warm = False
        self.resumes: list[dict[str, Any]] = []
        self.curve: list[tuple[int, float, float]] = []
        self.candidates: dict[int, float] = {}
        self.log = Progress(self.folder)
        self.saved = time.monotonic()

    @contextmanager
    def progress(self, total: int, initial: int) -> Iterator[Progress]:
        """Show a bar of ``total`` steps from ``initial`` on."""
        held_out = self.curve[-1][1] if self.curve else None
        with self.log.bar(total, initial, held_out) as log:
            yield log

    @property
    def training_seconds(self) -> int:
        """Time that the run took up to its last evaluation, over all processes, s."""
        return round(self.curve[-1][2]) if self.curve else 0

    @property
    def checkpoint_path(self) -> Path:
        """Networks, optimisers, normaliser, random states; with ``replay.f32`` resumes exactly."""
        return self.folder / "checkpoint.safetensors"

    def record(self, step: int, mean_return: float) -> None:
        """Add a point of the learning curve: mean return on held-out seeds."""
        self.curve.append((step, mean_return, self.log.elapsed()))
        self._write_curve()
        self.log.scalar("held_out/return", mean_return, step)
        self.log.show(mean_return, max(row[1] for row in self.curve))

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

    def saved_facts(self) -> dict[str, Any]:
        """What every checkpoint holds of a run beside what is trained."""
        return {
            "resumes": self.resumes,
            "candidates": self.candidates,
            "curve": self.curve,
            "seconds": self.log.elapsed(),
            "cpu_seconds": self.log.count_cpu(),
        }

    def restore_facts(self, meta: dict[str, Any]) -> None:
        """Undo ``saved_facts``."""
        self.resumes = meta["resumes"]
        self.log.seconds = float(meta["seconds"])
        self.log.earlier_cpu = self.log.saved_cpu = float(meta["cpu_seconds"])
        self.rewind(meta["curve"], meta["candidates"])

    def close(self) -> None:
        """Flush logs and release the folder."""
        self.log.close()
        self._lock.close()
