"""Who served at each tick of a recording: which policy, backend, process and rate limit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from qpolicy_ros.latency.bag import BagError
from qpolicy_ros.policy import Contract, PolicyArtifact
from qpolicy_ros.replay.assembly import same_rows
from qpolicy_ros.replay.limits import Doubles
from qpolicy_ros.replay.recording import Recording
from qpolicy_ros.replay.replayed import Kind, Replay, Reported, Settings
from qpolicy_ros.replay.sensors import Nanos
from qpolicy_ros.replay.ticks import NONE, Flags, Indexes, Ticks


def serving_policies(
    recording: Recording, policies: Sequence[PolicyArtifact], places: Nanos, settings: Settings
) -> tuple[Indexes, Indexes]:
    """Return which policy served at each tick, by the reports before and behind it."""
    own = {each.function_hash: index for index, each in enumerate(policies)}
    reported = Reported(recording, "function_hash")
    path = recording.bag.path
    if not reported.values:
        if settings.any_policy:
            return np.zeros(len(places), np.intp), np.zeros(len(places), np.intp)
        wrong = "is nowhere in the bag: nothing says which policy served"
        remedy = "record /diagnostics too, or give --any-policy to compare all the same"
        raise BagError.at(path, "function_hash", wrong, remedy)
    if not own.keys() & set(reported.values):
        names = recording.reported("policy")[1]
        named = f" ({names[-1]})" if names else ""
        given = policies[0].function_hash[:12]
        wrong = f"the bag is of policy {reported.values[-1][:12]}{named}, not of {given}"
        raise BagError.at(path, "function_hash", wrong, "give the policy that served by --policy")
    index = np.array([own.get(value, -1) for value in reported.values], np.intp)
    return index[reported.before(places)], index[reported.after(places)]


def kinds(recording: Recording, ticks: Ticks, contract: Contract) -> npt.NDArray[np.int8]:
    """Return what sent each command, :class:`Kind` (n,)."""
    safe = same_rows(ticks.values, contract.safe)
    answered = ticks.timing != NONE
    if contract.robot:
        acted = answered | (ticks.observation != NONE)
        kind = np.where(acted, Kind.POLICY, np.where(safe, Kind.SAFE, Kind.RAMP))
        kind = _ramps_of_safe_poses(kind.astype(np.int8), ticks.foreign)
        if set(recording.reported("parameter.ramp_time")[1]) == {"0.0"}:
            # Nothing ramps: a recorder that was too slow has lost what the policy said of these.
            kind[kind == Kind.RAMP] = Kind.POLICY
    else:
        stamped = ticks.stamps != 0
        timed = bool(len(recording.timing.stamps))
        silent = safe & ~answered if timed else safe & ~stamped
        kind = np.where(silent, Kind.SAFE, Kind.POLICY).astype(np.int8)
    kind[ticks.foreign] = Kind.FOREIGN
    return kind


def _ramps_of_safe_poses(kind: npt.NDArray[np.int8], foreign: Flags) -> npt.NDArray[np.int8]:
    """Count safe actions within a ramp, or between it and the policy, to the ramp.

    From safe a robot comes to the policy through standby, which commands nothing, and a ramp: its
    poses may be equal to the safe action.
    """
    own = np.flatnonzero(~foreign)
    safe = kind[own] == Kind.SAFE
    edges = np.flatnonzero(np.diff(np.concatenate([[0], safe.astype(int), [0]])))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        before = kind[own[begin - 1]] if begin else Kind.SAFE
        after = kind[own[end]] if end < len(own) else Kind.SAFE
        if before == Kind.RAMP and after in {Kind.RAMP, Kind.POLICY}:
            kind[own[begin:end]] = Kind.RAMP
    return kind


def backends(recording: Recording, ticks: Ticks, places: Nanos) -> npt.NDArray[np.object_]:
    """Return who answered each tick, as the answer says, else the answer before it."""
    timed = ticks.timing != NONE
    frames = recording.timing.frames
    if timed.all() and len(frames) and (frames == frames[0]).all() and frames[0]:
        return np.full(len(places), str(frames[0]), object)
    names = np.full(len(places), "", object)
    names[timed] = recording.timing.frames[ticks.timing[timed]]
    reported = Reported(recording, "backend")
    first = reported.values[0] if reported.values else "integer"
    known = np.maximum.accumulate(np.where(names != "", np.arange(len(names)), -1))
    return np.where(known >= 0, names[np.maximum(known, 0)], first)


def begins(found: Replay) -> Flags:
    """Find the ticks before which the policy node was started anew, (n,)."""
    begins = np.zeros(len(found.kind), bool)
    senders = found.recording.commands.frames[found.ticks.command]
    own = np.flatnonzero((found.kind != Kind.FOREIGN) & ~found.ticks.lost)
    if (senders[own] != "").all():
        begins[own[1:]] = senders[own[1:]] != senders[own[:-1]]
        return begins
    # Commands of older nodes do not say which process sent them.
    sessions = Reported(found.recording, "session")
    places, times = found.places, found.times
    for index in range(1, len(sessions.values)):
        if sessions.values[index] == sessions.values[index - 1]:
            continue
        low = np.searchsorted(places, sessions.places[index - 1])
        high = np.searchsorted(places, sessions.places[index], "right")
        window = np.arange(max(low, 1), min(high + 1, len(times)))
        if len(window):  # starting takes longer than any answer
            begins[window[np.argmax(times[window] - times[window - 1])]] = True
    return begins


def rates(found: Replay) -> tuple[Doubles, Doubles]:
    """Return ``rate_limit`` by the reports before and behind each tick."""
    count = len(found.kind)
    reported = Reported(found.recording, "parameter.rate_limit")
    if not reported.values:
        given = found.settings.rate_limit
        known = np.full(count, given or 0.0)
        return known, known
    values = np.array([float(value) for value in reported.values])
    return values[reported.before(found.places)], values[reported.after(found.places)]
