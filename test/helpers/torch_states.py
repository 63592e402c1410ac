"""State dictionaries as PyTorch's trainers save them, and a pickle that would run a command."""

from __future__ import annotations

import os

import torch

INPUTS, OUTPUTS = 6, 2


def layers(prefix, numbers, widths):
    """A state dictionary of layers in a row."""
    torch.manual_seed(1)
    state = {}
    for number, into, out in zip(numbers, widths[:-1], widths[1:], strict=True):
        state[f"{prefix}.{number}.weight"] = torch.randn(out, into) * into**-0.5
        state[f"{prefix}.{number}.bias"] = torch.randn(out) * 0.1
    return state


WIDTHS = [INPUTS, 8, 8, OUTPUTS]


class Runs:
    """Would run a command where it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("/tmp/qpolicy_evil_pickle",)
