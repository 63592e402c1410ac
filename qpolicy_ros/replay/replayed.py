"""A recording beside what must have been commanded at each tick."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from qpolicy_ros.policy import Contract, PolicyArtifact
from qpolicy_ros.policy.model import Float32
from qpolicy_ros.replay.assembly import Assembled
from qpolicy_ros.replay.limits import Doubles
from qpolicy_ros.replay.recording import Recording
from qpolicy_ros.replay.sensors import Nanos
from qpolicy_ros.replay.ticks import Flags, Indexes, Ticks

MISSING = "a message is missing"
"""How each difference begins that is only a message which is not in the recording."""


class Kind(enum.IntEnum):
    """What sent a command."""

    POLICY = 0
    RAMP = 1
    SAFE = 2
    FOREIGN = 3  # another node


@dataclass(frozen=True)
class Settings:
    """What a user decides.

    Attributes:
        engine: of :data:`~qpolicy_ros.replay.answers.ENGINES`.
        rate_limit: actuator units a second, where the recording does not say; None = off.
        any_policy: whether to compare although the recording does not say which policy served.
    """

    engine: str = "auto"
    rate_limit: float | None = None
    any_policy: bool = False


@dataclass
class Replay:
    """A recording and what must have been commanded; n ticks, m joints.

    Attributes:
        recording: what was read.
        ticks: its commands.
        policies: that the user gave.
        settings: what the user decided.
        kind: of each command, :class:`Kind` (n,).
        policy: index in ``policies`` of the one that served, -1 = another, (n,).
        backend: who answered, (n,).
        begins: whether the policy node was started anew before the tick, (n,).
        observations: what the policy saw, float32 (n, values); NaN where nothing says it.
        assembled: of a robot: what it must have seen, at the ticks ``acted``; else None.
        acted: ticks of the policy, ascending.
        raw: the policy's answers, float32 (n, m); NaN = none.
        before: the command before, float32 (n, m); NaN = unknown.
        rate: ``rate_limit`` at the tick, (n,).
        elapsed: since the command before, ns (n,); NaN = unknown.
        expected: what must have been commanded, float32 (n, m); NaN = nothing says it.
        equal: whether it was, (n,).
        notes: what a reader should know.
        explained: class and text of ticks that one explanation covers, by tick.
    """

    recording: Recording
    ticks: Ticks
    policies: Sequence[PolicyArtifact]
    settings: Settings
    kind: npt.NDArray[np.int8]
    policy: Indexes
    backend: npt.NDArray[np.object_]
    begins: Flags
    observations: Float32
    assembled: Assembled | None
    acted: Indexes
    raw: Float32
    before: Float32
    rate: Doubles
    elapsed: Doubles
    expected: Float32
    equal: Flags
    notes: list[str] = field(default_factory=list)
    explained: dict[int, tuple[str, str]] = field(default_factory=dict)

    @property
    def contract(self) -> Contract:
        """The policies' common contract."""
        return self.policies[0].contract

    @property
    def places(self) -> Nanos:
        """Order of arrival of the commands (n,)."""
        return self.ticks.places

    @property
    def times(self) -> Nanos:
        """When the commands were sent, ns (n,)."""
        return self.ticks.times

    @property
    def stamps(self) -> Nanos:
        """Stamps of the commands, ns (n,)."""
        return self.ticks.stamps

    @property
    def lockstep(self) -> bool:
        """Whether nothing may be lost: a simulator waited for each answer."""
        return self.parameter("lockstep") == "True"

    def parameter(self, name: str, default: str = "") -> str:
        """Return the newest value of a parameter, ``default`` where the recording has none."""
        values = self.recording.reported(f"parameter.{name}")[1]
        return values[-1] if values else default


class Reported:
    """A value that the node reports now and then.

    Attributes:
        values: in the order of the recording.
    """

    def __init__(self, recording: Recording, key: str) -> None:
        self.places, self.values = recording.reported(key)

    def before(self, places: Nanos) -> Indexes:
        """Return the index of the report before each place; of the first where there is none."""
        return np.maximum(np.searchsorted(self.places, places, "right") - 1, 0)

    def after(self, places: Nanos) -> Indexes:
        """Return the index of the report behind each place; of the last where there is none."""
        found = np.searchsorted(self.places, places, "right")
        return np.minimum(found, len(self.values) - 1)
