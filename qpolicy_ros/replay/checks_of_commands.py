"""Checks of a recording's commands: who sent them, and whether they are what they must be.

A check looks at all ticks at once. It yields those that it finds, each with a function that gives
its class and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from qpolicy_ros.replay.explain import explain_answer, quote
from qpolicy_ros.replay.reasons import why_safe
from qpolicy_ros.replay.replayed import Kind, Replay, Reported
from qpolicy_ros.replay.ticks import Indexes

Finding = tuple[int, Callable[[], tuple[str, str]]]


def found(
    ticks: Sequence[int] | Indexes, kind: str, text: Callable[[int], str]
) -> Iterator[Finding]:
    """Yield a finding of the class ``kind`` for each of ``ticks``."""
    for tick in ticks:
        yield int(tick), partial(_told, kind, text, int(tick))


def _told(kind: str, text: Callable[[int], str], tick: int) -> tuple[str, str]:
    return kind, text(tick)


def other_policy(replay: Replay) -> Iterator[Finding]:
    """Another policy served than those that were given."""
    hashes = Reported(replay.recording, "function_hash")
    ticks = np.flatnonzero((replay.policy < 0) & (replay.kind == Kind.POLICY))

    def text(tick: int) -> str:
        other = hashes.values[int(hashes.before(replay.places[[tick]])[0])]
        given = ", ".join(each.function_hash[:12] for each in replay.policies)
        return f"policy {other[:12]} serves from here on, given are {given}"

    yield from found(ticks, "contract", text)


def misfit(replay: Replay) -> Iterator[Finding]:
    """A command has other joints, or values that no float32 is."""
    problems = replay.recording.commands.problems[replay.ticks.command]
    problems[replay.ticks.lost] = ""
    yield from found(
        np.flatnonzero(problems != ""),
        "contract",
        lambda t: f"the command does not fit the policy: {problems[t]}",
    )
    low, high = replay.contract.low, replay.contract.high
    odd = np.flatnonzero(replay.ticks.odd & (problems == "") & (replay.kind != Kind.FOREIGN))

    def text(tick: int) -> tuple[str, str]:
        values = replay.recording.commands.values[replay.ticks.command[tick]]
        joint = int(np.argmax(values.astype(np.float32).astype(np.float64) != values))
        name = replay.contract.action[joint].name
        outside = not low[joint] <= values[joint] <= high[joint]
        kind = "safety" if outside else "contract"
        return kind, f"{name!r} is commanded {values[joint]!r}, which no float32 is"

    for tick in odd:
        yield int(tick), partial(text, int(tick))


def foreign_commands(replay: Replay) -> Iterator[Finding]:
    """Somebody else commanded; of a row of such commands the first counts."""
    foreign = replay.kind == Kind.FOREIGN
    ticks = np.flatnonzero(foreign & ~np.concatenate([[False], foreign[:-1]]))
    frames = replay.recording.commands.frames[replay.ticks.command]  # of lost ones never asked
    yield from found(
        ticks,
        "safety",
        lambda t: (
            f"{str(frames[t])!r} commands {quote(replay.ticks.values[t])}: the watchdog took over"
            if "watchdog" in str(frames[t])
            else f"{str(frames[t])!r} commands {quote(replay.ticks.values[t])}"
        ),
    )


def safe_actions(replay: Replay) -> Iterator[Finding]:
    """The safe action instead of the policy's, for another reason than that somebody wanted it."""
    safe = replay.kind == Kind.SAFE
    own = np.flatnonzero(replay.kind != Kind.FOREIGN)
    inner = safe[own]
    first = own[inner & ~np.concatenate([[False], inner[:-1]])]
    if not replay.contract.robot:  # each observation is answered by itself
        first = np.flatnonzero(safe)
    for tick, reason in why_safe(replay, first):
        if reason is not None:
            yield int(tick), partial(tuple[str, str], reason)


def wrong_ramps(replay: Replay) -> Iterator[Finding]:
    """A command of a ramp is not on its way."""
    ticks = np.flatnonzero((replay.kind == Kind.RAMP) & ~replay.equal)
    own = np.flatnonzero(replay.kind == Kind.RAMP)

    def text(tick: int) -> str:
        number = int(np.searchsorted(own, tick))
        return (
            f"command {number} of a ramp is {quote(replay.ticks.values[tick])}, on no straight way "
            "from a recorded pose to the default pose within the rates"
        )

    yield from found(ticks, "safety", text)


def wrong_answers(replay: Replay) -> Iterator[Finding]:
    """The command is not the policy's answer within its limits."""
    known = np.isfinite(replay.expected).all(axis=1)
    answered = (replay.kind == Kind.POLICY) & ~replay.ticks.lost
    wrong = np.flatnonzero(answered & ~replay.equal & known)
    for tick in wrong:
        yield int(tick), partial(explain_answer, replay, int(tick))
