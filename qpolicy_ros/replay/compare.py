"""Finds the ticks that differ from what the recording says they must be.

Each check looks at all ticks at once and returns those that it finds, each with its class and a
function that says why; only the few that are shown are put into words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from qpolicy_ros.replay.checks_of_commands import (
    Finding,
    foreign_commands,
    misfit,
    other_policy,
    safe_actions,
    wrong_answers,
    wrong_ramps,
)
from qpolicy_ros.replay.checks_of_messages import lost_messages, wrong_observations
from qpolicy_ros.replay.checks_of_time import late_ticks, set_clocks
from qpolicy_ros.replay.replayed import MISSING, Replay

CLASSES = ("sensor", "timing", "engine", "contract", "safety")

_SHOWN = 40  # differences that are put into words


class Difference(NamedTuple):
    """A tick that differs.

    Attributes:
        tick: number of the command in the recording, from 0.
        kind: of :data:`CLASSES`.
        text: why, in a sentence.
    """

    tick: int
    kind: str
    text: str

    @property
    def missing(self) -> bool:
        """Whether it is only a message which is not in the recording."""
        return self.text.startswith(MISSING)


class _Found(NamedTuple):
    """A tick that a check has found; ``say`` gives class and text."""

    tick: int
    rank: int
    say: Callable[[], tuple[str, str]]


@dataclass
class Verdict:
    """What a replay has found.

    Attributes:
        replay: what was compared.
        ticks: commands in the recording.
        reproduced: those that were computed again, bit for bit.
        differing: ticks with a difference.
        differences: the first ones, in order of their ticks.
    """

    replay: Replay
    ticks: int
    reproduced: int
    differing: int
    differences: list[Difference] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    @property
    def first(self) -> Difference | None:
        """The first tick that differs."""
        return self.differences[0] if self.differences else None


def compare(replay: Replay, shown: int = _SHOWN) -> Verdict:
    """Find what differs, and why."""
    found: list[_Found] = []
    for rank, check in enumerate(_CHECKS):
        found += [_Found(tick, rank, say) for tick, say in check(replay)]
    found.sort(key=lambda each: (each.tick, each.rank))
    firsts: list[_Found] = []
    for each in found:
        if not firsts or firsts[-1].tick != each.tick:
            firsts.append(each)
    named = [Difference(each.tick, *each.say()) for each in firsts[:shown]]
    reproduced = int(replay.equal.sum())
    count = int((~replay.ticks.lost).sum())
    return Verdict(replay, count, reproduced, len(firsts), named)


_CHECKS: tuple[Callable[[Replay], Iterator[Finding]], ...] = (
    other_policy,
    misfit,
    foreign_commands,
    set_clocks,
    lost_messages,
    wrong_observations,
    safe_actions,
    wrong_ramps,
    late_ticks,
    wrong_answers,
)
