"""Which input codes a policy has seen, and what to do about an observation that it has not.

A policy is only known to behave where it was trained and tested. ``<policy>.seen.json`` beside it
holds the lowest and highest code of every value over episodes that it played; the file of the
policy, its hashes and what reads it stay as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.common.errors import ObservationError, PolicyError
from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.common.json_files import is_count, is_text, read_json, shown
from qpolicy_ros.policy.model import Float32, Int32, IntegerNetwork, PolicyArtifact

SUFFIX = ".seen.json"
OFF, COUNT, REFUSE = "off", "count", "refuse"
_MOST_BYTES = 4 << 20
_MOST_KEY = 0x7F7FFFFF  # of the greatest finite float32, see `_float_of`
_MAKE = "make it with `qpolicy seen`"


@dataclass(frozen=True, eq=False)
class SeenCodes:
    """The codes that observations had.

    Attributes:
        low, high: lowest and highest code of each value, int32 ``(n,)``.
        observations: how many there were.
        source: where they came from, for a reader.
    """

    low: Int32
    high: Int32
    observations: int
    source: str


def seen_path(policy: Path) -> Path:
    """Where the codes that ``policy`` has seen lie: ``paper.seen.json``."""
    return policy.with_name(policy.name.removesuffix(".safetensors") + SUFFIX)


def seen_codes(codes: Int32, source: str) -> SeenCodes:
    """What ``codes`` ``(N, n)`` cover."""
    return SeenCodes(codes.min(axis=0), codes.max(axis=0), len(codes), source)


def ranges_id(seen: SeenCodes) -> int:
    """Name the ranges in 32 bits, never 0: the start of a SHA-256 over all ends, int32."""
    ends = np.concatenate([seen.low, seen.high]).astype("<i4").tobytes()
    return int.from_bytes(hashlib.sha256(ends).digest()[:4], "big") or 1


def save_seen(seen: SeenCodes, artifact: PolicyArtifact, path: Path) -> None:
    """Write them; InputError if that fails."""
    content = {
        "function_hash": artifact.function_hash,
        "observations": seen.observations,
        "source": seen.source,
        "codes": {
            channel.name: [int(low), int(high)]
            for channel, low, high in zip(
                artifact.contract.observation, seen.low, seen.high, strict=True
            )
        },
    }
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def load_seen(path: Path, artifact: PolicyArtifact) -> SeenCodes:
    """Read the codes that ``artifact`` has seen.

    Raises:
        InputError: no such file, damaged, of another policy, or codes that it cannot have.
    """
    content = read_json(path, "seen", _MOST_BYTES, _MAKE)

    def require(condition: bool, field: str, wrong: str) -> None:
        if not condition:
            raise PolicyError.at(path, field, wrong, _MAKE)

    require(isinstance(content, dict), "seen", "is no object")
    given = content.get("function_hash")
    require(given == artifact.function_hash, "function_hash", f"{shown(given)} is another policy's")
    require(is_count(content.get("observations"), 1), "observations", "is no count")
    require(is_text(content.get("source")), "source", "is no text")
    codes, names = content.get("codes"), [each.name for each in artifact.contract.observation]
    good = isinstance(codes, dict) and list(codes) == names
    require(good, "codes", "does not name the policy's values in their order")
    network = artifact.network
    require(network is not None, "codes", "the policy has no integer network")
    assert network is not None
    least, most = network.input_range
    for name, pair in codes.items():
        good = isinstance(pair, list) and len(pair) == 2
        good = good and all(isinstance(code, int) and least <= code <= most for code in pair)
        require(good and pair[0] <= pair[1], f"codes.{name}", f"{pair!r:.40} is no range of codes")
    table = np.array(list(codes.values()), np.int32)
    return SeenCodes(table[:, 0], table[:, 1], content["observations"], content["source"])


class Supervisor:
    """Counts, value by value, codes that were never seen; refuses them if asked to.

    Args:
        artifact: the policy that serves.
        seen: the codes that it has seen.
        refuse: whether an observation with another code is refused.

    Attributes:
        counts: how often each value had a code that was never seen, int64 ``(n,)``.
        observations: how many observations had at least one.
        ranges: which ranges it compares with, as ``ranges_id`` names them.
        inside: says whether each value of an observation is between two others; may be replaced by
            something faster.
    """

    def __init__(self, artifact: PolicyArtifact, seen: SeenCodes, *, refuse: bool) -> None:
        assert artifact.network is not None
        self._network: IntegerNetwork = artifact.network
        self._names = [channel.name for channel in artifact.contract.observation]
        self._low, self._high = (end.astype(np.float32) for end in (seen.low, seen.high))
        self._ends = tuple(np.float32(end) for end in self._network.input_range)
        self._refuse = refuse
        self.ranges = ranges_id(seen)
        self.inside: Callable[[Float32, Float32, Float32], bool] = _inside
        self._least, self._most = self._bounds()
        self.counts = np.zeros(len(self._names), np.int64)
        self.observations = 0

    def look(self, observation: Float32) -> None:
        """Look at one observation, float32 ``(n,)``; one that is not finite is not for here.

        Raises:
            ObservationError: ``unseen``, where such an observation is to be refused.
        """
        if self.inside(observation, self._least, self._most):
            return  # nearly always, and 100 us sooner where the caches are cold
        codes = self._codes(observation)
        unseen = (codes < self._low) | (codes > self._high)
        if not unseen.any():
            return
        self.counts += unseen
        self.observations += 1
        if self._refuse:
            at = int(np.argmax(unseen))
            seen = f"{self._low[at]:.0f} to {self._high[at]:.0f}"
            message = f"observation value {at}: {observation[at]:g} has the code {codes[at]:.0f}, "
            message += f"and {seen} were seen"
            raise ObservationError("unseen", message, at)

    def _codes(self, observation: Float32) -> Float32:
        with np.errstate(over="ignore", invalid="ignore"):
            codes = np.rint((observation - self._network.mean) * self._network.gain)
        clipped: Float32 = np.minimum(np.maximum(codes, self._ends[0]), self._ends[1])
        return clipped

    def _bounds(self) -> tuple[Float32, Float32]:
        """Return the least and the greatest finite value of each that has a code seen, ``(n,)``.

        A code never falls where its value rises: both are found by halving, exactly.
        """
        count = len(self._names)
        first = np.full(count, -_MOST_KEY)  # the least key whose code is not below the lowest seen
        last = first - 1  # the greatest key whose code is not above the highest seen
        for step in 2 ** np.arange(31, -1, -1):
            below = np.minimum(first + step - 1, _MOST_KEY)
            first = np.where(self._codes(_float_of(below)) < self._low, below + 1, first)
            above = last + step
            reached = np.minimum(above, _MOST_KEY)
            fits = (above <= _MOST_KEY) & (self._codes(_float_of(reached)) <= self._high)
            last = np.where(fits, above, last)
        return _float_of(first), _float_of(np.maximum(last, -_MOST_KEY))

    def facts(self) -> dict[str, Any]:
        """What ``/diagnostics`` shall say: observations, and counts of the values concerned."""
        values: dict[str, Any] = {"unseen": self.observations}
        for at in np.nonzero(self.counts)[0]:
            values[f"unseen.{self._names[at]}"] = int(self.counts[at])
        return values


def _inside(values: Float32, low: Float32, high: Float32) -> bool:
    return bool(((values >= low) & (values <= high)).all())


def _float_of(keys: npt.NDArray[np.int64]) -> Float32:
    """Finite float32 values in their order: the one of key 0 is 0, of 1 the next one above."""
    bits = np.abs(keys).astype(np.uint32)
    values: Float32 = np.copysign(bits.view(np.float32), np.where(keys < 0, -1.0, 1.0))
    return values.astype(np.float32)


def make_supervisor(artifact: PolicyArtifact, mode: str, file: str = "") -> Supervisor | None:
    """The supervisor of a policy, None for ``off`` or where there is nothing to go by.

    Args:
        artifact: the policy that serves.
        mode: ``off``, ``count`` or ``refuse``.
        file: of the codes; empty takes the one beside the policy.

    Raises:
        InputError: an unknown mode, a damaged file, or none where ``refuse`` needs one.
    """
    if mode not in {OFF, COUNT, REFUSE}:
        raise PolicyError.at("", "unseen", f"{mode!r} is unknown", "choose off, count or refuse")
    path = Path(file) if file else seen_path(Path(artifact.path or "unnamed"))
    there = artifact.network is not None and (bool(file) or path.is_file())
    if mode == OFF or (mode == COUNT and not there):
        return None
    return Supervisor(artifact, load_seen(path, artifact), refuse=mode == REFUSE)
