"""What a run shows while it goes on: progress bar, clock, TensorBoard."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm


class Progress:
    """The bar, the clock and TensorBoard's log of a run in ``folder``.

    Attributes:
        seconds: wall time of the earlier processes of this run, s.
        earlier_cpu: processor time of these, s.
        saved_cpu: processor time as last counted, s.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.seconds = 0.0
        self.earlier_cpu = self.saved_cpu = 0.0
        self._started = time.monotonic()
        self._cpu = time.process_time()
        self._first_step = 0
        self._writer: SummaryWriter | None = None
        self._logging = True
        self._bar: tqdm[Any] | None = None

    @contextmanager
    def bar(self, total: int, initial: int, held_out: float | None) -> Iterator[Progress]:
        """Show a bar with ETA and the last held-out return, on standard error."""
        self._first_step = initial
        self._started = time.monotonic()
        interval = 0.5 if sys.stderr.isatty() else 60.0
        with tqdm(
            total=total, initial=initial, unit="step", mininterval=interval, smoothing=0.05
        ) as bar:
            self._bar = bar
            if held_out is not None:
                bar.set_postfix(held_out=f"{held_out:.0f}", refresh=False)
            yield self
        self._bar = None

    def update(self, step: int) -> None:
        """Move the bar to ``step``."""
        if self._bar is not None:
            self._bar.update(step - self._bar.n)

    def show(self, held_out: float, best: float) -> None:
        """Show the last and the best held-out return beside the bar."""
        if self._bar is not None:
            self._bar.set_postfix(held_out=f"{held_out:.0f}", best=f"{best:.0f}", refresh=False)

    def speed(self, step: int, now: float) -> float:
        """Environment steps a second since this process began."""
        return (step - self._first_step) / max(now - self._started, 1e-9)

    def elapsed(self) -> float:
        """Wall time that the run took so far, over all processes, s."""
        return self.seconds + time.monotonic() - self._started

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

                self._writer = SummaryWriter(str(self._folder / "tensorboard"))
            self._writer.add_scalar(name, value, step)
        except OSError as error:
            self._logging = False
            reason = f"{error.strerror or error}; TensorBoard's log stops here, the run goes on"
            self.note(f"{self._folder}: {reason}")

    def note(self, line: str) -> None:
        """Print one line above the bar, on standard error."""
        tqdm.write(line, file=sys.stderr)

    def flush(self) -> None:
        """Write what TensorBoard's log holds back."""
        if self._writer is not None and self._logging:
            self._writer.flush()

    def close(self) -> None:
        """Close TensorBoard's log."""
        if self._writer is not None and self._logging:
            self._writer.close()
