"""Why a command is another one: what would have given it.

Each hypothesis is computed and compared bit for bit. At first it has to give the command of the
first tick that differs; where several do, the one that explains most of the ticks behind it counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from qpolicy_ros.policy import make_engine
from qpolicy_ros.policy.model import Float32
from qpolicy_ros.replay.answers import make_answers
from qpolicy_ros.replay.assembly import same, same_rows
from qpolicy_ros.replay.limits import Limits
from qpolicy_ros.replay.replayed import Replay
from qpolicy_ros.replay.ticks import Indexes

Why = tuple[str, str]

_MOST = 0.5  # share of equal commands behind a tick from which on it is no other policy
_WINDOW = 60  # ticks that differ and are looked at together
_OLDER = 8  # observations before and behind a tick that may have been answered instead
_FACTORS = (-1.0, np.pi / 180, 180 / np.pi, 0.0, 0.5, 2.0, 0.1, 10.0, 0.01, 100.0, 1e-3, 1e3)
_MOST_SWAPS = 1500  # pairs of values to look at
_BY_CHANCE = 3  # ticks a joint that a bound has to explain on the average
_ALIKE = 0.05  # share of equal codes below which it is another policy rather than one wrong bit


class _Guess(NamedTuple):
    """A hypothesis: what was sent, if it holds, at the ticks of the window."""

    kind: str
    text: str
    fits: np.ndarray
    looked_at: int = 0  # ticks of the window, 0 = all


class _Window(NamedTuple):
    """The ticks that are looked at, k of them; the first is the one to explain."""

    replay: Replay
    ticks: Indexes
    sent: Float32
    limits: Limits

    def reach(self, raw: Float32) -> np.ndarray:
        """Whether ``raw`` (k, m) within limits and rates is what was sent, (k,)."""
        clipped = self.limits.clip(raw)
        fits = same_rows(clipped, self.sent)
        rate = self.replay.rate[self.ticks]
        active = self.limits.active(rate) & ~fits
        if active.any():
            rates, before = self.limits.rates(rate), self.replay.before[self.ticks]
            elapsed = self.replay.elapsed[self.ticks]
            guess = np.where(np.isfinite(elapsed), elapsed, self.limits.period_ns)
            rated = self.limits.rated(clipped, before, rates, guess)
            fits = np.where(active, same_rows(rated, self.sent), fits & ~self.limits.active(rate))
        else:
            fits &= ~self.limits.active(rate)
        return np.asarray(fits)


def explain_answer(replay: Replay, tick: int) -> Why:
    """Say why the command of ``tick`` is not the policy's answer within its limits."""
    known = replay.explained.get(tick)
    if known is not None and known[1]:
        return known[0], f"{_differs(replay, tick)}: {known[1]}"
    wrong = replay.acted[~replay.equal[replay.acted] & ~replay.ticks.lost[replay.acted]]
    wrong = wrong[np.isfinite(replay.expected[wrong]).all(axis=1) & (wrong >= tick)]
    ticks = wrong[: 1 if known is not None else _WINDOW]
    window = _Window(replay, ticks, replay.ticks.values[ticks], Limits(replay.contract))
    if known is not None:  # it was among the ticks of another one that nothing explained
        return _engine(window, tick)
    best = _best(window)
    if best is None:
        for each in ticks[1:]:
            replay.explained[int(each)] = ("engine", "")
        return _engine(window, tick)
    for each in ticks[best.fits]:
        replay.explained[int(each)] = (best.kind, f"as at tick {tick}")
    more = int(best.fits.sum()) - 1
    also = f"; it explains {more} of the next {len(ticks) - 1} that differ too" if more else ""
    return best.kind, f"{_differs(replay, tick)}: {best.text}{also}"


def _best(window: _Window) -> _Guess | None:
    """Return the hypothesis that explains most, None if none explains enough."""
    best: _Guess | None = None
    for source, share, least in _SOURCES:
        for guess in source(window):
            fits = guess.fits[: guess.looked_at or None]
            if not guess.fits[0] or fits.mean() < share or fits.sum() < least:
                continue
            if best is None or fits.sum() > 1.2 * best.fits.sum():
                best = guess
        if best is not None and best.fits.all() and len(window.ticks) > 1:
            break
    return best


def quote(values: Float32) -> str:
    """Return a few values of a command."""
    shown = ", ".join(f"{value:.7g}" for value in values[:4])
    return f"[{shown}{', ...' if len(values) > 4 else ''}]"


def _differs(replay: Replay, tick: int) -> str:
    sent, expected = replay.ticks.values[tick], replay.expected[tick]
    joint = int(np.argmax(~same(sent, expected)))
    name = replay.contract.action[joint].name
    return f"{name!r} was commanded {sent[joint]:.9g}, the policy gives {expected[joint]:.9g}"


# Hypotheses


def _limits(window: _Window) -> Iterator[_Guess]:
    replay, limits, sent, ticks = window.replay, window.limits, window.sent, window.ticks
    raw = replay.raw[ticks]
    clipped, before = limits.clip(raw), replay.before[ticks]
    active = limits.active(replay.rate[ticks])
    outside = ~same_rows(limits.clip(sent), sent)
    unclipped = same_rows(raw, sent) & outside
    yield _Guess("safety", "the limits were not applied", unclipped)
    yield _Guess("safety", "it is outside the limits", outside)
    unrated = same_rows(clipped, sent) & active
    yield _Guess("safety", "the rate limit was not applied", unrated)
    if active.any():
        fits, _ = limits.explain(clipped, before, limits.rates(replay.rate[ticks]), sent)
        text = "the rate limit counted another time than the recording says"
        yield _Guess("safety", text, fits & active)
    safe = same_rows(sent, replay.contract.safe)
    yield _Guess("safety", "it is the safe action", safe)
    held = same_rows(sent, before)
    yield _Guess("timing", "it is the command before, sent again", held)
    known = np.isfinite(before).all(axis=1)
    rate, fits = _other_rate(window, clipped, before)
    yield _Guess(
        "safety",
        f"a rate limit of about {rate:.4g} units/s was applied, the recording names "
        f"{replay.rate[ticks[0]]:g}",
        np.where(known, fits, fits.any()),  # nothing is known of what was before a recording
    )
    yield _Guess("safety", "it was limited to other limits", _other_limits(window))


def _other_limits(window: _Window) -> np.ndarray:
    """Find ticks whose joints differ by a bound alone, the same one at every tick."""
    sent, expected = window.sent, window.replay.expected[window.ticks]
    wrong = ~same(sent, expected)
    fits = np.ones(len(sent), bool)
    for above in (True, False):
        short = wrong & (expected > sent if above else expected < sent)
        bound = np.where(short, sent, -np.inf if above else np.inf)
        bound = bound.max(axis=0) if above else bound.min(axis=0)
        fits &= np.where(short, sent == bound, True).all(axis=1)
    least = wrong.sum() > _BY_CHANCE * wrong.any(axis=0).sum()  # each joint more than once or twice
    return np.asarray(fits & least)


def _other_rate(window: _Window, clipped: Float32, before: Float32) -> tuple[float, np.ndarray]:
    """Find one step, common to all joints, that gives what was sent."""
    sent = window.sent
    moved = np.abs(sent.astype(np.float64) - before)
    short = ~same(sent, clipped)
    toward = np.sign(clipped - before) == np.sign(sent - before)
    inside = (np.abs(sent - before) <= np.abs(clipped - before)) & toward
    with np.errstate(invalid="ignore"):
        step = np.where(short, moved, -1.0).max(axis=1)
        even = np.where(short, np.abs(moved - step[:, None]) <= 1e-6 + 1e-6 * np.abs(sent), True)
        reached = np.where(short, True, moved <= step[:, None] + 1e-6)
    fits: np.ndarray = (
        even.all(axis=1) & reached.all(axis=1) & (inside | ~short).all(axis=1) & (step > 0)
    )
    period = window.replay.contract.period
    some = step[fits] / period if fits.any() else np.array([0.0])
    # One joint that falls short proves nothing by itself: the next ticks have to agree.
    if fits.any() and (short[fits].sum(axis=1) < 2).all() and np.ptp(some) > 0.05 * some.max():
        fits = np.zeros(len(sent), bool)
    return float(np.median(some)), fits & (fits.sum() >= _BY_CHANCE)


def _outputs(window: _Window) -> Iterator[_Guess]:
    """Joints mixed up, or turned round, behind the policy."""
    replay, sent = window.replay, window.sent
    expected = replay.expected[window.ticks]
    names = [action.name for action in replay.contract.action]
    for first, second in combinations(range(len(names)), 2):
        order = list(range(len(names)))
        order[first], order[second] = second, first
        mixed = expected[:, order]  # before the limits or behind them
        fits = same_rows(window.limits.clip(mixed), sent) | same_rows(mixed, sent)
        fits &= expected[:, first] != expected[:, second]
        yield _Guess(
            "contract", f"the commands of {names[first]!r} and {names[second]!r} are swapped", fits
        )
    wrong = ~same(expected, sent)
    for factor in [factor for factor in _FACTORS if factor]:
        scaled = (expected * np.float32(factor)).astype(np.float32)
        for joint in np.flatnonzero(wrong.any(axis=0)):
            only = wrong.sum(axis=1) == wrong[:, joint]
            near = np.abs(scaled[:, joint] - sent[:, joint]) <= 1e-6 * np.abs(sent[:, joint])
            yield _Guess(
                "contract",
                f"the command of {names[joint]!r} is multiplied by {factor:g}",
                only & near & wrong[:, joint],
            )
        near = np.abs(scaled - sent) <= 1e-6 * np.abs(sent)
        yield _Guess("contract", f"all commands are multiplied by {factor:g}", near.all(axis=1))


def _neighbours(window: _Window) -> Iterator[_Guess]:
    """The answer to an observation of before or after."""
    replay, acted = window.replay, window.replay.acted
    rows = np.searchsorted(acted, window.ticks)
    older = np.zeros(len(rows), bool)
    for step in [s for n in range(1, _OLDER + 1) for s in (-n, n)]:
        other = np.clip(rows + step, 0, len(acted) - 1)
        fits = window.reach(replay.raw[acted[other]]) & (other == rows + step)
        count = "1 tick" if abs(step) == 1 else f"{abs(step)} ticks"
        whose = f"{count} {'before' if step < 0 else 'after'}"
        older = older | fits if step < 0 else older
        yield _Guess(
            "sensor", f"it is the answer to the observation of {whose}: a message was stale", fits
        )
    text = "it is the answer to an observation of some ticks before: a message was stale"
    yield _Guess("sensor", text, older)


def _inputs(window: _Window) -> Iterator[_Guess]:  # noqa: C901 one loop a kind
    """Two values swapped, or one in another unit, before the policy."""
    replay, ticks = window.replay, window.ticks[:24]
    narrow = _Window(replay, ticks, window.sent[:24], window.limits)
    policy = int(replay.policy[ticks[0]])
    if replay.backend[ticks[0]] == "fp32" or policy < 0:
        return
    answers = make_answers(replay.policies[policy], "integer", "auto", lambda _: None)
    seen = replay.observations[ticks]
    names = [channel.name for channel in replay.contract.observation]

    def guess(changed: Float32) -> np.ndarray:
        fits = np.zeros(len(window.ticks), bool)
        finite = np.isfinite(changed).all()
        if finite and narrow.reach(_repeat(answers(changed[:1]), len(ticks)))[0]:
            fits[: len(ticks)] = narrow.reach(answers(changed))
        return fits

    pairs = list(combinations(range(len(names)), 2))
    if len(pairs) > _MOST_SWAPS:
        pairs = [pair for pair in pairs if pair[1] - pair[0] <= 12][:_MOST_SWAPS]
    for first, second in _promising(narrow, answers, seen, pairs):
        changed = seen.copy()
        changed[:, [first, second]] = seen[:, [second, first]]
        text = f"the values of {names[first]!r} and {names[second]!r} were swapped"
        yield _Guess("contract", text, guess(changed), len(ticks))
    for column, name in enumerate(names):
        for factor in _FACTORS:
            changed = seen.copy()
            changed[:, column] = (seen[:, column] * factor).astype(np.float32)
            if factor == 0.0 and not seen[:, column].any():
                continue
            text = f"the value of {name!r} was multiplied by {factor:g}"
            yield _Guess("contract", text, guess(changed), len(ticks))
    for factor in _FACTORS:
        if factor:
            text = f"all values were multiplied by {factor:g}"
            yield _Guess(
                "contract", text, guess((seen * np.float32(factor)).astype(np.float32)), len(ticks)
            )


def _promising(
    window: _Window,
    answers: Callable[[Float32], Float32],
    seen: Float32,
    pairs: Sequence[tuple[int, int]],
) -> list[tuple[int, int]]:
    """Return the pairs whose swap gives what the first tick sent; all are asked at once."""
    changed = np.repeat(seen[:1], len(pairs), axis=0)
    for row, (first, second) in enumerate(pairs):
        changed[row, [first, second]] = seen[0, [second, first]]
    one = _Window(
        window.replay,
        np.repeat(window.ticks[:1], len(pairs)),
        np.repeat(window.sent[:1], len(pairs), axis=0),
        window.limits,
    )
    fits = one.reach(answers(changed)) if len(pairs) else np.empty(0, bool)
    return [pair for pair, good in zip(pairs, fits, strict=True) if good]


def _repeat(values: Float32, count: int) -> Float32:
    return np.repeat(values[:1], count, axis=0)


def _backends(window: _Window) -> Iterator[_Guess]:
    """The answer of another backend or policy than the recording names."""
    replay, ticks = window.replay, window.ticks
    finite = np.isfinite(replay.observations[ticks]).all(axis=1)
    for index, artifact in enumerate(replay.policies):
        for backend in ("integer", "fp32"):
            named = index == replay.policy[ticks[0]] and backend == (
                "fp32" if replay.backend[ticks[0]] == "fp32" else "integer"
            )
            if named or (backend == "integer" and artifact.network is None):
                continue
            raw = np.full_like(window.sent, np.nan)
            answers = make_answers(artifact, backend, "auto", lambda _: None)
            raw[finite] = answers(replay.observations[ticks[finite]])
            if index == replay.policy[ticks[0]]:
                named_one = replay.backend[ticks[0]]
                text = f"it is the answer of {backend!r}, the recording names {named_one!r}"
                yield _Guess("engine", text, window.reach(raw))
            else:
                text = f"it is the answer of policy {artifact.function_hash[:12]}"
                yield _Guess("contract", text, window.reach(raw))


def _engine(window: _Window, tick: int) -> Why:
    """Nothing else explains it: the integer code itself differs, or it is another policy's."""
    replay = window.replay
    differs = _differs(replay, tick)
    artifact = replay.policies[max(int(replay.policy[tick]), 0)]
    if replay.backend[tick] == "fp32" or artifact.network is None:
        return "engine", f"{differs}: {replay.backend[tick]} computed something else"
    table = window.limits.clip(artifact.network.table.T).T
    joints = np.flatnonzero(~same(window.sent[0], replay.expected[tick]))
    rated = bool(window.limits.active(replay.rate[[tick]])[0])
    foreign = [j for j in joints if not (table[j] == window.sent[0, j]).any()]
    if foreign and not rated:
        name = replay.contract.action[foreign[0]].name
        if _alike(window) < _MOST:
            return "contract", f"{differs}: a value that this policy cannot give for {name!r}"
        return "engine", f"{differs}: no output code gives this value for {name!r}"
    if foreign:
        return "safety", f"{differs}: no rate limit that the recording names gives it"
    if _alike(window) < _ALIKE:
        return "contract", f"{differs}: hardly a command behind it fits, it is another policy's"
    joint = int(joints[0])
    codes = make_engine(artifact.network).trace(replay.observations[tick])[-1]
    other = int(np.argmax(table[joint] == window.sent[0, joint])) + artifact.network.output_min
    return "engine", f"{differs}: output code {other} instead of {int(codes[joint])}"


def _alike(window: _Window) -> float:
    """Return which share of the joints of the ticks from the first one on fits."""
    replay, tick = window.replay, int(window.ticks[0])
    behind = replay.acted[replay.acted >= tick][:200]
    equal = same(replay.ticks.values[behind], replay.expected[behind])
    return float(equal.mean()) if len(behind) >= 20 else 1.0


#: Where hypotheses come from; which share of the ticks that differ, and how many, one must explain.
#: What chooses among hundreds has to explain more than one tick, or chance would.
_SOURCES: tuple[tuple[Callable[[_Window], Iterator[_Guess]], float, int], ...] = (
    (_outputs, 0.9, 2),
    (_limits, 0.5, 1),
    (_neighbours, 0.5, 1),
    (_inputs, 0.9, 3),
    (_backends, 0.9, 2),
)
