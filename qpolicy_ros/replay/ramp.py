"""The way from where a robot stands to the policy's default pose, computed again."""

from __future__ import annotations

import math

import numpy as np

from qpolicy_ros.policy.model import Float32
from qpolicy_ros.replay.assembly import same, same_rows
from qpolicy_ros.replay.limits import Limits
from qpolicy_ros.replay.replayed import Replay
from qpolicy_ros.replay.ticks import Flags, Indexes

_RAMP, _POLICY, _FOREIGN = 1, 0, 3  # of ``expected.Kind``
_SURE = 3  # first commands of a ramp that fit, by which its beginning is known
_MOST_LOST = 6  # commands of a ramp that a recorder may lose in a row
_LOOKED_AT = 60  # joint messages before a ramp that may be its beginning


def check_ramps(found: Replay) -> Flags:
    """Return which commands of ramps are those of a straight way, (n,); fill in what they are."""
    equal = np.zeros(len(found.kind), bool)
    own = np.flatnonzero(found.kind != _FOREIGN)
    ramp = found.kind[own] == _RAMP
    edges = np.flatnonzero(np.diff(np.concatenate([[0], ramp.astype(int), [0]])))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        block = own[begin:end]
        follows = end < len(own) and found.kind[own[end]] == _POLICY
        expected, fits = _best(found, block, complete=follows, cut=begin == 0)
        found.expected[block], equal[block] = expected, fits
    return equal


def _best(found: Replay, block: Indexes, *, complete: bool, cut: bool) -> tuple[Float32, Flags]:
    """Return the way that fits most commands of a block, and which it fits."""
    contract, sent = found.contract, found.ticks.values[block]
    period = contract.period
    seconds = float(found.parameter("ramp_time", "nan"))
    best = np.full(sent.shape, np.nan, np.float32), np.zeros(len(block), bool)
    for pose in _poses(found, block):
        way = np.abs(contract.default - pose, dtype=np.float64) / contract.rate
        lengths = []
        if not math.isnan(seconds):
            lengths.append(max(1, math.ceil(max(seconds, float(way.max())) / period)))
        if complete:
            lengths.append(len(block))
        for steps in dict.fromkeys(lengths):
            expected, fits = _way(found, block, pose, steps)
            if not fits.all() and fits[0] and not found.lockstep:
                expected, fits = _with_gaps(found, block, pose, steps)
            if fits.sum() > best[1].sum() or not best[1].any():
                best = expected, fits
            if fits.all():
                return best
    if cut and not best[1][:_SURE].all():
        # The recording begins on the way, so nothing says where it began: within limits is enough.
        fits = same_rows(Limits(contract).clip(sent), sent)
        return sent, fits
    return best


def _poses(found: Replay, block: Indexes) -> list[Float32]:
    """Return where the robot may have stood, the likeliest first."""
    contract, sensor = found.contract, found.recording.sensors.get("joint_states")
    if found.parameter("position_commands") == "False" or sensor is None:
        return [contract.safe]
    usable = np.flatnonzero(sensor.usable & np.isfinite(sensor.positions).all(axis=1))
    place = found.places[block[0]]
    end = int(np.searchsorted(sensor.places[usable], place)) + 2
    near = usable[max(0, end - _LOOKED_AT) : end][::-1]
    return [sensor.positions[index].astype(np.float32) for index in near]


def _way(found: Replay, block: Indexes, pose: Float32, steps: int) -> tuple[Float32, Flags]:
    """Return the commands of a ramp of ``steps`` from ``pose``, and which of them were sent."""
    contract, limits = found.contract, Limits(found.contract)
    sent = found.ticks.values[block]
    share = np.array([np.float32(k / steps) for k in range(1, len(block) + 1)], np.float32)
    poses = pose + share[:, None] * (contract.default - pose)
    poses[steps - 1 :] = contract.default
    expected = limits.clip(poses.astype(np.float32))
    fits = same_rows(expected, sent)
    rates = limits.rates(found.rate[block])
    if not limits.active(found.rate[block]).any() or fits.all():
        return expected, fits
    before = np.concatenate([limits.clip(pose)[None], sent[:-1]])
    solved, _ = limits.explain(expected, before, rates, sent)
    return np.where(solved[:, None], sent, expected), solved


def _with_gaps(found: Replay, block: Indexes, pose: Float32, steps: int) -> tuple[Float32, Flags]:
    """As :func:`_way`, where the recorder may have lost commands: each may be a few steps on."""
    contract, limits = found.contract, Limits(found.contract)
    sent, rates = found.ticks.values[block], limits.rates(found.rate[block])
    expected, fits = np.full(sent.shape, np.nan, np.float32), np.zeros(len(block), bool)
    before, step = limits.clip(pose), 0
    for row in range(len(block)):
        for lost in range(_MOST_LOST):
            share = np.float32(min(step + 1 + lost, steps) / steps)
            aim = pose + share * (contract.default - pose)
            aim = contract.default if step + 1 + lost >= steps else aim
            aim = limits.clip(aim.astype(np.float32))[None]
            expected[row] = aim[0] if not lost else expected[row]
            reach = rates[[row]] * (lost + 1)  # unrecorded commands came between: how far at most
            if (
                same(aim, sent[[row]]).all()
                or limits.explain(aim, before[None], reach, sent[[row]])[0][0]
            ):
                expected[row], fits[row], step = sent[row], True, step + 1 + lost
                break
        else:
            return expected, fits
        before = sent[row]
    return expected, fits
