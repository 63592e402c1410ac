"""What the policy node must have commanded at each tick, computed from what was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.policy import PolicyArtifact
from qpolicy_ros.policy.baseline import fp32_tolerance
from qpolicy_ros.policy.model import Float32
from qpolicy_ros.policy.sources import CMD_VEL
from qpolicy_ros.replay.answers import Say, make_answers
from qpolicy_ros.replay.assembly import Assembly, Use, held_ns, same_rows
from qpolicy_ros.replay.limits import Doubles, Limits
from qpolicy_ros.replay.ramp import check_ramps
from qpolicy_ros.replay.recording import Recording
from qpolicy_ros.replay.replayed import Kind, Replay, Reported, Settings
from qpolicy_ros.replay.sensors import Nanos
from qpolicy_ros.replay.serving import backends, begins, kinds, rates, serving_policies
from qpolicy_ros.replay.ticks import EPISODES_APART, NONE, Flags, Indexes, Ticks

_SECOND_NS = 1_000_000_000
_AT_ONCE = 5  # commands behind a report that may have been sent before it


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
    policy, policy_after = serving_policies(recording, policies, places, settings)
    found = Replay(
        recording=recording,
        ticks=ticks,
        policies=policies,
        settings=settings,
        kind=kinds(recording, ticks, contract),
        policy=policy,
        backend=backends(recording, ticks, places),
        begins=np.zeros(count, bool),
        observations=np.full((count, len(contract.observation)), np.nan, np.float32),
        assembled=None,
        acted=np.empty(0, np.intp),
        raw=np.full((count, width), np.nan, np.float32),
        before=np.full((count, width), np.nan, np.float32),
        rate=np.zeros(count),
        elapsed=np.full(count, np.nan),
        expected=np.full((count, width), np.nan, np.float32),
        equal=np.zeros(count, bool),
        notes=list(recording.notes),
    )
    if ticks.early:
        observed = f"{ticks.early} observation{'s'[: ticks.early > 1]}"
        found.notes.append(f"the answers to {observed} from before the recording are left out")
    found.begins = begins(found)
    found.acted = np.flatnonzero(found.kind == Kind.POLICY)
    seen = ticks.observation != NONE
    found.observations[seen] = recording.observations.values[ticks.observation[seen]]
    found.rate, rate_after = rates(found)
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


def episode_gaps(found: Replay, stamps: Nanos) -> Flags:
    """Where a simulated robot's next episode may begin: its node forgets histories at that gap."""
    period = round(found.contract.period * 1e9)
    gaps = np.diff(stamps) == EPISODES_APART * period
    return np.asarray(gaps & (found.lockstep and found.contract.robot))


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
    fresh[1:] |= episode_gaps(found, found.stamps[acted])
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
