"""What the options of `train` and `quantize` have in common: checked before hours are spent."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.files import make_folder, resolved
from qpolicy_ros.policy import PolicyError

SUFFIX = ".safetensors"
MOST_SEED = 2**63 - 1  # torch's
MOST_UNITS = 16_384  # a matrix between two such layers takes 1 GiB, its optimiser twice that


def check_options(*, seed: int, episodes: int, hidden: tuple[int, ...], out: Path | None) -> None:
    """Refuse options with which a run could not end well.

    Raises ``PolicyError`` naming the option, its value and what to give.
    """
    for option, value, least in (("--seed", seed, 0), ("--episodes", episodes, 1)):
        if value < least:
            message = f"{option}: {value} is too small; give {least} or more"
            raise PolicyError(message)
    if seed > MOST_SEED:
        message = f"--seed: {seed} is too large; give {MOST_SEED} at most"
        raise PolicyError(message)
    if not hidden or not 1 <= min(hidden) <= max(hidden) <= MOST_UNITS:
        message = f"--hidden: {hidden}: give a width from 1 to {MOST_UNITS} for each hidden layer"
        raise PolicyError(message)
    check_out(out)
    _ensure_writable(out)


def fan_in_of(given: tuple[int, ...], hidden: tuple[int, ...]) -> tuple[int, ...]:
    """Inputs of a neuron, a number a layer, that --fan-in asks for; empty: all, everywhere.

    Raises ``PolicyError`` where it has neither one number nor one a layer, or one below 0.
    """
    if given and (len(given) not in (1, len(hidden), len(hidden) + 1) or min(given) < 0):
        message = (
            f"--fan-in: {given}: give one number for all hidden layers, or one for each of "
            f"{len(hidden)}, the last layer's perhaps behind them; 0 is all inputs"
        )
        raise PolicyError(message)
    if not any(given):
        return ()
    layers = given * len(hidden) if len(given) == 1 else given
    return (*layers, 0)[: len(hidden) + 1]


def refuse_unused(options: Iterable[tuple[str, bool, bool, str]]) -> None:
    """Refuse options that this call would not use: ``(name, given, used, what it belongs to)``.

    Raises ``PolicyError`` with the first of them.
    """
    for name, given, used, belongs in options:
        if given and not used:
            message = f"{name} belongs to {belongs}; leave it out, or give that"
            raise PolicyError(message)


def check_out(out: Path | None) -> None:
    """Refuse a policy's file beside which a run's other files would get its name.

    Raises ``PolicyError`` with a name that does.
    """
    if out is None:
        return
    if out.suffix != SUFFIX:
        stem = out.name.removesuffix(".csv").removesuffix(".jsonl")
        message = f"--out: {out}: a policy's file ends in {SUFFIX}; give {stem}{SUFFIX}"
        raise PolicyError(message)
    if out.name.endswith(f".qat{SUFFIX}"):
        stem = out.name.removesuffix(f".qat{SUFFIX}")
        message = f"--out: {out}: the trained module gets this name; give {stem}{SUFFIX}"
        raise PolicyError(message)


def _ensure_writable(path: Path | None) -> None:
    """Make the folder of an output file now, not after hours of training.

    Raises ``PolicyError`` where it cannot be made or written.
    """
    if path is None:
        return
    try:
        make_folder(path.parent)
        resolved(path)
    except InputError as error:
        message = f"--out: {error}"
        raise PolicyError(message) from None
