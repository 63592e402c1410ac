"""What the policy node must have commanded at each tick, computed from what was recorded."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.latency.bag import BagError
from qpolicy_ros.policy import Contract, PolicyArtifact
from qpolicy_ros.policy.baseline import fp32_tolerance
from qpolicy_ros.policy.model import Float32
from qpolicy_ros.policy.sources import CMD_VEL
from qpolicy_ros.replay.answers import Say, make_answers
from qpolicy_ros.replay.assembly import Assembled, Assembly, Use, held_ns, same_rows
from qpolicy_ros.replay.limits import Doubles, Limits
from qpolicy_ros.replay.ramp import check_ramps
from qpolicy_ros.replay.recording import Recording
from qpolicy_ros.replay.sensors import Nanos
from qpolicy_ros.replay.ticks import NONE, Flags, Indexes, Ticks

_SECOND_NS = 1_000_000_000
_AT_ONCE = 5  # commands behind a report that may have been sent before it


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


def expect(
    recording: Recording,
    ticks: Ticks,
    policies: Sequence[PolicyArtifact],
    settings: Settings,
    say: Say = lambda _: None,
) -> Replay:
    """Compute every command again.

    Args:
        recording: of one policy node.
        ticks: of the recording.
        policies: those that may have served; all with the same contract.
        settings: what the user decides.
        say: told how many more answers have been computed.

    Raises:
        BagError: the recording says nothing of a policy, or of another one only.
        PolicyError: the engine does not work here.
    """
    contract = policies[0].contract
    count, width = len(ticks.command), len(contract.action)
    places = ticks.places
    policy, policy_after = _serving(recording, policies, places, settings)
    found = Replay(
        recording,
        ticks,
        policies,
        settings,
        _kinds(recording, ticks, contract),
        policy,
        _backends(recording, ticks, places),
        np.zeros(count, bool),
        np.full((count, len(contract.observation)), np.nan, np.float32),
        None,
        np.empty(0, np.intp),
        np.full((count, width), np.nan, np.float32),
        np.full((count, width), np.nan, np.float32),
        np.zeros(count),
        np.full(count, np.nan),
        np.full((count, width), np.nan, np.float32),
        np.zeros(count, bool),
        list(recording.notes),
    )
    found.begins = _begins(found)
    found.acted = np.flatnonzero(found.kind == Kind.POLICY)
    seen = ticks.observation != NONE
    found.observations[seen] = recording.observations.values[ticks.observation[seen]]
    found.rate, rate_after = _rates(found)
    elapsed = recording.stage("elapsed")
    if elapsed is not None:
        timed = ticks.timing != NONE
        found.elapsed[timed] = np.rint(elapsed[ticks.timing[timed]] * 1000.0)
    _remember(found)
    if contract.robot:
        _assemble(found)
    _answer(found, found.acted, say)
    _limit(found, found.acted)
    _fill_in(found)
    _retry(found, policy_after, rate_after, say)
    found.expected[found.kind == Kind.SAFE] = contract.safe
    safe = found.kind == Kind.SAFE
    found.equal[safe] = True
    found.equal[found.kind == Kind.RAMP] = check_ramps(found)[found.kind == Kind.RAMP]
    return found


def _serving(
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


def _kinds(recording: Recording, ticks: Ticks, contract: Contract) -> npt.NDArray[np.int8]:
    safe = same_rows(ticks.values, contract.safe)
    answered = ticks.timing != NONE
    if contract.robot:
        acted = answered | (ticks.observation != NONE)
        kind = np.where(acted, Kind.POLICY, np.where(safe, Kind.SAFE, Kind.RAMP))
        kind = _ramps_of_safe_poses(kind.astype(np.int8), ticks.foreign)
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


def _backends(recording: Recording, ticks: Ticks, places: Nanos) -> npt.NDArray[np.object_]:
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


def _begins(found: Replay) -> Flags:
    """Find the ticks before which the policy node was started anew."""
    begins = np.zeros(len(found.kind), bool)
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


def _rates(found: Replay) -> tuple[Doubles, Doubles]:
    """Return ``rate_limit`` by the reports before and behind each tick."""
    count = len(found.kind)
    reported = Reported(found.recording, "parameter.rate_limit")
    if not reported.values:
        given = found.settings.rate_limit
        known = np.full(count, given or 0.0)
        return known, known
    values = np.array([float(value) for value in reported.values])
    return values[reported.before(found.places)], values[reported.after(found.places)]


def _remember(found: Replay) -> None:
    """Find the command before each one; a node that has just started has sent the safe action."""
    own = np.flatnonzero(found.kind != Kind.FOREIGN)
    found.before[own[1:]] = found.ticks.values[own[:-1]]
    found.before[found.begins] = found.contract.safe


def _assemble(found: Replay) -> None:
    """Put a robot's observations together again; take them where the policy's is missing."""
    acted, ticks, recording = found.acted, found.ticks, found.recording
    assembly = Assembly(found.contract)
    before = np.concatenate([[-1], acted[:-1]])
    own = found.kind != Kind.FOREIGN
    between = np.cumsum(own & (found.kind != Kind.POLICY))
    fresh = np.ones(len(acted), bool)
    fresh[1:] = (between[acted[1:]] != between[acted[:-1]]) | found.begins[acted[1:]]
    certain = fresh.copy()
    if len(acted):  # a recording may begin while the policy serves
        certain[0] = bool((own[: acted[0]]).any()) or bool(found.begins[acted[0]])
    last = np.where((before >= 0)[:, None], ticks.values[before], np.float32(np.nan))
    found.assembled = assembly.assemble(
        found.observations[acted],
        found.times[acted],
        fresh,
        certain,
        last.astype(np.float32),
        recording.sensors,
        _uses(found, acted),
    )
    lost = np.flatnonzero(ticks.observation[acted] == NONE)
    whole = lost[found.assembled.known[lost].all(axis=1)]
    found.observations[acted[whole]] = found.assembled.values[whole]
    # Started without a ramp, the rates count from where the robot stood.
    first = acted[fresh & ((acted == 0) | (found.kind[acted - 1] != Kind.RAMP))]
    for tick in first:
        pose = _pose(found, int(np.searchsorted(acted, tick)))
        if pose is not None:
            found.before[tick] = pose


def _pose(found: Replay, row: int) -> Float32 | None:
    """Return where a robot stood that was started without a ramp."""
    contract, sensors = found.contract, found.recording.sensors
    limits = Limits(contract)
    if found.parameter("position_commands") == "False" or "joint_states" not in sensors:
        return limits.clip(contract.safe)
    assert found.assembled is not None
    index = int(found.assembled.messages["joint_states"][row])
    if index < 0:
        return None
    pose = sensors["joint_states"].positions[index]
    return limits.clip(pose.astype(np.float32)) if np.isfinite(pose).all() else None


def _uses(found: Replay, acted: Indexes) -> dict[str, Use]:
    """Return what the ticks say about each topic."""
    recording, timing = found.recording, found.ticks.timing[acted]
    timed = timing != NONE
    timeout = 0.0
    if found.parameter("lockstep") != "True":
        timeout = float(found.parameter("timeout", "0")) * _SECOND_NS
    uses = {}
    for name in recording.sensors:
        ages, stamps = np.full(len(acted), np.nan), None
        age, apart = recording.stage(f"age.{name}"), recording.stage(f"stamp.{name}")
        if age is not None:
            ages[timed] = np.rint(age[timing[timed]] * 1000.0)
        if apart is not None and timed.all() and np.isfinite(apart[timing]).all():
            stamps = found.stamps[acted] + np.rint(apart[timing] * 1000.0).astype(np.int64)
        if name == CMD_VEL:
            stamps = None
        uses[name] = Use(stamps, ages, held_ns(found.contract, name, timeout))
    return uses


def _answer(found: Replay, chosen: Indexes, say: Say) -> None:
    """Compute the policy's answers at the ticks ``chosen``."""
    finite = np.isfinite(found.observations[chosen]).all(axis=1)
    chosen = chosen[finite & (found.policy[chosen] >= 0)]
    for index in np.unique(found.policy[chosen]):
        for backend in dict.fromkeys(found.backend[chosen].tolist()):
            own = chosen[(found.policy[chosen] == index) & (found.backend[chosen] == backend)]
            if len(own):
                artifact = found.policies[index]
                answers = make_answers(artifact, backend, found.settings.engine, say)
                found.raw[own] = answers(found.observations[own])


def _limit(found: Replay, chosen: Indexes) -> None:
    """Apply limits and rates at the ticks ``chosen``, and compare."""
    limits = Limits(found.contract)
    sent = found.ticks.values[chosen]
    clipped = limits.clip(found.raw[chosen])
    found.expected[chosen] = clipped
    found.equal[chosen] = same_rows(clipped, sent)
    rated = limits.active(found.rate[chosen])
    chosen, clipped, sent = chosen[rated], clipped[rated], sent[rated]
    if not len(chosen):
        return
    rates, before = limits.rates(found.rate[chosen]), found.before[chosen]
    elapsed = found.elapsed[chosen]
    known = np.isfinite(elapsed)
    guess = np.where(known, elapsed, limits.period_ns)
    expected = limits.rated(clipped, before, rates, guess)
    equal = same_rows(expected, sent)
    open_ = np.flatnonzero(~equal & ~known & np.isfinite(before).all(axis=1))
    if len(open_):
        fits, time = limits.explain(clipped[open_], before[open_], rates[open_], sent[open_])
        solved = open_[fits]
        equal[solved] = True
        expected[solved] = sent[solved]
        found.elapsed[chosen[solved]] = time[fits]
    # Nothing says what was commanded before the first command of a recording.
    blind = ~np.isfinite(before).all(axis=1)
    inside = same_rows(limits.clip(sent), sent)
    equal[blind], expected[blind] = inside[blind], sent[blind]
    found.expected[chosen], found.equal[chosen] = expected, equal


def _fill_in(found: Replay) -> None:
    """Let what must have been commanded stand for commands that the recorder lost."""
    lost = np.flatnonzero(found.ticks.lost & (found.kind == Kind.POLICY))
    for tick in lost:  # in their order: the next one may be lost too
        _limit(found, np.array([tick]))
        found.ticks.values[tick] = found.expected[tick]
        found.equal[tick] = False
        behind = np.flatnonzero(found.kind[tick + 1 : tick + 4] != Kind.FOREIGN)
        if len(behind):
            after = int(tick + 1 + behind[0])
            found.before[after] = found.expected[tick]
            if found.kind[after] == Kind.POLICY:
                _limit(found, np.array([after]))


def _retry(found: Replay, policy_after: Indexes, rate_after: Doubles, say: Say) -> None:
    """Between two reports that differ, let the later one count from some tick on."""
    tolerance = fp32_tolerance(found.contract)
    near = 0
    for tick in _wrong(found):
        if found.backend[tick] == "fp32":
            apart = np.abs(found.expected[tick] - found.ticks.values[tick])
            if (apart <= tolerance).all():
                found.equal[tick] = True
                near += 1
    if near:
        found.notes.append(
            f"{near} answers of fp32 are equal within {tolerance:g} only: float sums hang on the "
            "machine"
        )
    _try_other(found, policy_after, rate_after, say)
    _try_other(found, found.policy, _rates_just_before(found), say)


def _rates_just_before(found: Replay) -> Doubles:
    """Return ``rate_limit`` before it last changed, for the first ticks behind that report.

    A recorder may take a report before a command that was sent earlier.
    """
    reported = Reported(found.recording, "parameter.rate_limit")
    if not reported.values:
        return found.rate
    values = np.array([float(value) for value in reported.values])
    index = np.arange(len(values))
    changed = np.concatenate([[True], values[1:] != values[:-1]])
    since = np.maximum.accumulate(np.where(changed, index, 0))[reported.before(found.places)]
    behind = np.arange(len(since)) - np.searchsorted(found.places, reported.places[since])
    return np.where(behind < _AT_ONCE, values[np.maximum(since - 1, 0)], found.rate)


def _try_other(found: Replay, policy_after: Indexes, rate_after: Doubles, say: Say) -> None:
    """Compute what differs with another policy and rate; keep them where they fit."""
    wrong = _wrong(found)
    changed = wrong[
        (rate_after[wrong] != found.rate[wrong]) | (policy_after[wrong] != found.policy[wrong])
    ]
    if not len(changed):
        return
    kept = (
        found.rate[changed].copy(),
        found.policy[changed].copy(),
        found.raw[changed].copy(),
        found.expected[changed].copy(),
    )
    found.rate[changed], found.policy[changed] = rate_after[changed], policy_after[changed]
    _answer(found, changed, say)
    _limit(found, changed)
    failed = ~found.equal[changed]
    columns: tuple[npt.NDArray[Any], ...] = (found.rate, found.policy, found.raw, found.expected)
    for column, values in zip(columns, kept, strict=True):
        column[changed[failed]] = values[failed]


def _wrong(found: Replay) -> Indexes:
    return np.asarray(found.acted[~found.equal[found.acted] & ~found.ticks.lost[found.acted]])
