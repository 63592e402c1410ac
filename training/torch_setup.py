"""How torch runs here: one thread, denormals flushed, seeded."""

from __future__ import annotations

import torch


def prepare(seed: int) -> None:
    """Set torch up for one training run in this process.

    One thread: networks this small lose by more, and sums would depend on how many there are.
    Denormals are flushed: Adam's moments of dead units decay into them, and each costs a hundred
    cycles (half of the critics' moments after 100,000 steps, which halved the speed).
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(seed)
