"""How torch runs here: one thread, denormals flushed, memory kept, seeded."""

from __future__ import annotations

import ctypes
import sys

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_KEPT = 1 << 30


def prepare(seed: int) -> None:
    """Set torch up for one training run in this process.

    One thread: networks this small lose by more, and sums would depend on how many there are.
    Denormals are flushed: Adam's moments of dead units decay into them, and each costs a hundred
    cycles (half of the critics' moments after 100,000 steps, which halved the speed). Freed memory
    is kept: handed back to the system, every update would fault its pages in again.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(seed)
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc has it, others need not
        if mallopt is not None:
            mallopt(_M_TRIM_THRESHOLD, _KEPT)
            mallopt(_M_MMAP_THRESHOLD, _KEPT)
