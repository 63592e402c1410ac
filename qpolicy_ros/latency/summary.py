"""The figures of one or several bags, by backend."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.latency.bag import BagError
from qpolicy_ros.latency.bootstrap import Comparison, Resampled, compare, resample
from qpolicy_ros.latency.ticks import STAGES, Ticks
from qpolicy_ros.latency.trace import Micros

#: What figures depend on, as ``policy_node`` reports it on ``/diagnostics``.
CONDITIONS = (
    "cpu",
    "cores",
    "kernel",
    "rmw",
    "ros_distro",
    "executor",
    "scheduler",
    "load_average",
    "version",
    "git_revision",
    "policy",
    "function_hash",
)

_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}


@dataclass(frozen=True)
class Sample:
    """One backend's answers of all bags, warm-up apart.

    Attributes:
        name: the backend.
        parts: latency of each bag, µs, in order of time.
        warm_up: latency of the answers left out, µs.
        periods: from one answer to the next, µs.
        stages: µs by name, of :data:`STAGES`.
        round_trip: µs, those known.
        age: at the action, µs; empty if neither stamps nor the middleware tell.
        drops, duplicates: counts, None if unknown.
    """

    name: str
    parts: list[Micros]
    warm_up: Micros
    periods: Micros
    stages: dict[str, Micros]
    round_trip: Micros
    age: Micros
    drops: int | None
    duplicates: int | None

    @property
    def latency(self) -> Micros:
        """Latencies of all bags, µs."""
        return np.concatenate(self.parts)


@dataclass(frozen=True)
class Report:
    """Everything that is shown.

    Attributes:
        ticks: the answers, one entry a bag.
        samples: one a backend, in order of the first answer.
        resampled: mean, p50 and p99 with their draws, by backend.
        comparisons: of every pair.
        meaning: what latency is.
        deadline: µs.
        deadline_from: where it comes from.
        age_from: what the age at action counts from, empty if unknown.
        warm_up: answers left out, of each backend and run.
        conditions: of :data:`CONDITIONS`, those known.
        notes: what a reader should know.
    """

    ticks: list[Ticks]
    samples: list[Sample]
    resampled: dict[str, dict[str, Resampled]]
    comparisons: list[Comparison]
    meaning: str
    deadline: float
    deadline_from: str
    age_from: str
    warm_up: int
    conditions: dict[str, str]
    notes: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Return the figures for ``--json``; unknown ones are None."""
        return {
            "bags": [_bag(each) for each in self.ticks],
            "conditions": self.conditions,
            "latency": self.meaning,
            "deadline_us": self.deadline,
            "deadline_from": self.deadline_from,
            "warm_up": self.warm_up,
            "backends": {sample.name: self._backend(sample) for sample in self.samples},
            "comparisons": [
                {
                    "statistic": each.statistic,
                    "faster": each.faster,
                    "slower": each.slower,
                    "ratio": each.ratio,
                    "interval": [each.low, each.high],
                    "confidence": each.confidence,
                    "shown": each.shown,
                }
                for each in self.comparisons
            ],
            "swaps": [swap for each in self.ticks for swap in _swaps(each)],
            "resets": sum(len(each.resets) for each in self.ticks),
            "notes": self.notes,
        }

    def _backend(self, sample: Sample) -> dict[str, Any]:
        latency = sample.latency
        resampled = self.resampled[sample.name]
        return {
            "n": len(latency),
            "drops": sample.drops,
            "duplicates": sample.duplicates,
            **_quantiles(latency),
            "deadline_misses": int((latency > self.deadline).sum()),
            "intervals": {f"{name}_us": each.interval for name, each in resampled.items()},
            "period": _period(sample.periods),
            "age_at_action": {"from": self.age_from, **_quantiles(sample.age)}
            if len(sample.age)
            else None,
            "round_trip": {"n": len(sample.round_trip), **_quantiles(sample.round_trip)}
            if len(sample.round_trip)
            else None,
            "stages": {name: _stage(values) for name, values in sample.stages.items()},
            "warm_up": {"n": len(sample.warm_up), **_quantiles(sample.warm_up)}
            if len(sample.warm_up)
            else None,
        }


def summarise(ticks: Sequence[Ticks], warm_up: int, deadline: float = 0.0) -> Report:
    """Return the report of one or more bags.

    Args:
        ticks: one entry a bag.
        warm_up: answers of each backend and run to set apart.
        deadline: µs; 0 takes the control period of the bags.

    Raises:
        BagError: the bags are of two artifacts, or nothing is left without the warm-up.
    """
    notes = [f"{each.trace.bag.path}: {note}" for each in ticks for note in each.notes]
    _check_one_artifact(ticks)
    meanings = {each.meaning for each in ticks}
    if len(meanings) > 1:
        wrong = f"latency is {' here, '.join(sorted(meanings))} there"
        path = ticks[-1].trace.bag.path
        raise BagError.at(path, "latency", wrong, "analyse these bags one by one")
    deadline, origin = _deadline(ticks, deadline, notes)
    by_stamp = all(each.age is not None for each in ticks)
    sent = meanings == {"observation sent to action published"}
    age_from = "the observation's stamp" if by_stamp else "the observation's sending"
    samples = []
    for name in dict.fromkeys(str(name) for each in ticks for name in _firsts(each)):
        sample = _sample(name, ticks, warm_up, by_stamp=by_stamp, sent=sent)
        if sum(map(len, sample.parts)):
            samples.append(sample)
        else:
            notes.append(f"{name}: all of its {len(sample.warm_up)} answers are warm-up")
    if not samples:
        path, count = ticks[0].trace.bag.path, sum(len(each.times) for each in ticks)
        wrong = f"all of the {count} answers are warm-up (the first {warm_up} of each backend)"
        raise BagError.at(path, "warm-up", wrong, "record longer, or give a smaller --warm-up")
    resampled = {sample.name: resample(sample.parts) for sample in samples}
    return Report(
        ticks=list(ticks),
        samples=samples,
        resampled=resampled,
        comparisons=[
            each for statistic in ("p50", "p99") for each in compare(resampled, statistic)
        ],
        meaning=meanings.pop(),
        deadline=deadline,
        deadline_from=origin,
        age_from=age_from if by_stamp or sent else "",
        warm_up=warm_up,
        conditions=_conditions(ticks, notes),
        notes=notes,
    )


def _firsts(ticks: Ticks) -> npt.NDArray[np.str_]:
    """Return the backends in order of their first answers."""
    names, index = np.unique(ticks.backends, return_index=True)
    return names[np.argsort(index)]


def _sample(
    name: str, ticks: Sequence[Ticks], warm_up: int, *, by_stamp: bool, sent: bool
) -> Sample:
    parts, early, periods, ages, trips = [], [], [], [], []
    stages: dict[str, list[Micros]] = {}
    losses: dict[str, int | None] = {"drops": 0, "duplicates": 0}
    for each in ticks:
        own = (each.backends == name) & np.isfinite(each.latency)
        kept = own & (each.rank >= warm_up)
        if not own.any():
            continue
        parts.append(each.latency[kept])
        early.append(each.latency[own & ~kept])
        if each.clock:
            follows = kept[1:] & kept[:-1] & (each.run[1:] == each.run[:-1])
            periods.append(np.diff(each.times)[follows] / 1000.0)
        if by_stamp and each.age is not None:
            ages.append(each.age[kept])
        elif sent:
            ages.append(each.latency[kept])
        trips.append(each.round_trip[kept & np.isfinite(each.round_trip)])
        for stage, values in each.stages.items():
            stages.setdefault(stage, []).append(values[kept])
        for key, total in losses.items():
            counts = getattr(each, key)
            known = counts is not None and total is not None
            losses[key] = total + counts.get(name, 0) if known else None
    nothing = [np.empty(0)]
    return Sample(
        name=name,
        parts=[part for part in parts if len(part)],
        warm_up=np.concatenate(early or nothing),
        periods=np.concatenate(periods or nothing),
        stages={stage: np.concatenate(stages[stage]) for stage in STAGES if stage in stages},
        round_trip=np.concatenate(trips or nothing),
        age=np.concatenate(ages or nothing),
        drops=losses["drops"],
        duplicates=losses["duplicates"],
    )


def _quantiles(values: Micros) -> dict[str, float | None]:
    """Return mean, quantiles and maximum of µs."""
    if not len(values):
        return dict.fromkeys(("mean_us", *(f"{name}_us" for name in _QUANTILES), "max_us"))
    found = np.quantile(values, list(_QUANTILES.values()))
    return {
        "mean_us": float(values.mean()),
        **{f"{name}_us": float(value) for name, value in zip(_QUANTILES, found, strict=True)},
        "max_us": float(values.max()),
    }


def _stage(values: Micros) -> dict[str, float | None]:
    """Return the figures of a stage, of the answers that know it."""
    known = values[np.isfinite(values)]
    unknown = len(values) - len(known)
    return _quantiles(known) | ({"unknown": unknown} if unknown else {})


def _period(periods: Micros) -> dict[str, float] | None:
    """Return what the time from answer to answer is and how much it varies, µs."""
    if not len(periods):
        return None
    median = float(np.median(periods))
    apart = np.abs(periods - median)
    return {
        "median_us": median,
        "jitter_std_us": float(periods.std()),
        "jitter_p99_us": float(np.quantile(apart, 0.99)),
        "jitter_max_us": float(apart.max()),
    }


def _bag(ticks: Ticks) -> dict[str, Any]:
    bag = ticks.trace.bag
    return {
        "path": str(bag.path),
        "storage": bag.storage,
        "version": bag.version or None,
        "messages": bag.count,
        "answers": len(ticks.times),
        "duration_s": float(ticks.times.max() - ticks.times.min()) / 1e9,
        "clock": ticks.clock or None,
        "resent": ticks.resent,
        "actions_without_timing": ticks.untimed,
    }


def _swaps(ticks: Ticks) -> list[dict[str, Any]]:
    return [
        {
            "bag": str(ticks.trace.bag.path),
            "time_s": float(ticks.times[index] - ticks.times.min()) / 1e9,
            "from": str(ticks.backends[index - 1]),
            "to": str(ticks.backends[index]),
        }
        for index in ticks.swaps
    ]


def _check_one_artifact(ticks: Sequence[Ticks]) -> None:
    """Refuse to mix answers of two policies."""
    seen: dict[str, str] = {}
    for each in ticks:
        for report in each.trace.reports:
            value = report.values.get("function_hash")
            if value:
                seen.setdefault(value, str(each.trace.bag.path))
            if len(seen) > 1:
                (first, place), (second, other) = list(seen.items())[:2]
                where = "one bag" if place == other else f"{place} and {other}"
                wrong = f"two artifacts in {where}: {first[:12]} and {second[:12]}"
                remedy = "analyse one policy at a time"
                raise BagError.at(other, "function_hash", wrong, remedy)


def _deadline(ticks: Sequence[Ticks], given: float, notes: list[str]) -> tuple[float, str]:
    if given > 0:
        return given, "--deadline-us"
    reported = {each.trace.condition("period_ms") for each in ticks} - {""}
    try:
        periods = {float(value) * 1000.0 for value in reported}
    except ValueError:
        periods = set()
    if periods:
        return min(periods), "the policy's control period"
    found = [each.period for each in ticks if np.isfinite(each.period)]
    if found:
        return min(found), "the period of the observations' stamps"
    notes.append("no control period in the bag: give --deadline-us to count misses")
    return float("inf"), "unknown"


def _conditions(ticks: Sequence[Ticks], notes: list[str]) -> dict[str, str]:
    """Return the conditions; where bags differ, all values."""
    found = {}
    for name in CONDITIONS:
        values = dict.fromkeys(each.trace.condition(name) for each in ticks)
        known = [value for value in values if value]
        if name == "policy":
            # Where it lay on the robot says little elsewhere.
            known = ["/".join(PurePath(value).parts[-2:]) for value in known]
        if known:
            found[name] = "; ".join(known)
        if len(known) > 1:
            notes.append(f"the bags differ in {name}")
    if not found:
        notes.append("no /diagnostics of policy_node in the bag: conditions are unknown")
    return found


def to_json(report: Report) -> str:
    """Return the figures as one JSON object; what is unknown or infinite is null."""
    return json.dumps(_finite(report.figures()), allow_nan=False)


def _finite(value: Any) -> Any:
    """Return ``value`` with None for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
