"""From a claim to questions: what would have to exist for the claim to be false."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.policy import PolicyArtifact
from qpolicy_ros.policy.model import Float32, Int64
from qpolicy_ros.policy.numpy_engine import NumpyEngine
from qpolicy_ros.prove.codes import CodeBox
from qpolicy_ros.prove.question import Pair, Question, double, single

_TRIVIAL = np.int64(1) << 40
_MOST_OBSERVATIONS = 10_000

Bad = Callable[["Float32", "Float32"], "npt.NDArray[np.bool_]"]


@dataclass(frozen=True, eq=False)
class Asked:
    """A question, and how to see on actions that its answer is yes.

    Attributes:
        question: over codes.
        bad: actions ``(N, m)`` of the first and of the second observation (the same where there is
            one) to which of the rows break the claim.
        mirrored: whether the second observation is the first's mirror image, value for value.
        first: the first observation where it is given (robustness), float32 ``(n,)``.
    """

    question: Question
    bad: Bad
    mirrored: bool = False
    first: Float32 | None = None


class Claims:
    """Questions about one policy and one box of observations."""

    def __init__(self, artifact: PolicyArtifact, box: CodeBox) -> None:
        assert artifact.network is not None
        self.artifact, self.network, self.box = artifact, artifact.network, box
        self.names = [action.name for action in artifact.contract.action]
        self._table = self.network.table.astype(np.float64)
        self.levels = self._table.shape[1] - 1

    def outside(self, action: int, bad_counts: npt.NDArray[np.bool_], text: str) -> list[Asked]:
        """Is there an observation whose count of ``action`` is one of ``bad_counts`` ``(levels,)``?

        One question for each run of counts; none where no count is bad.
        """
        asked = []
        edges = np.flatnonzero(np.diff(np.concatenate([[0], bad_counts.astype(int), [0]])))
        values = self._table[action][bad_counts]

        def bad(_: Float32, last: Float32) -> Any:
            return np.isin(last[:, action].astype(np.float64), values)

        for start, end in edges.reshape(-1, 2):
            terms = [self.at_least(action, int(start)), self.at_most(action, int(end) - 1)]
            terms = [term for term in terms if term[1] > -_TRIVIAL] or terms[:1]
            rows = np.stack([row for row, _ in terms])
            bounds = np.array([[bound for _, bound in terms]], np.int64)
            asked.append(Asked(single(self.network, self.box, rows, bounds, text), bad))
        return asked

    def at_least(self, action: int, count: int) -> tuple[Int64, int]:
        """``row @ h >= bound`` says that the action's count is at least ``count``."""
        row = self.network.weights[-1][action].astype(np.int64)
        if count <= 0:
            return row, -int(_TRIVIAL)
        return row, int(self.network.thresholds[-1][action, count - 1])

    def at_most(self, action: int, count: int) -> tuple[Int64, int]:
        """The same for "at most"."""
        row = self.network.weights[-1][action].astype(np.int64)
        if count >= self.levels:
            return -row, -int(_TRIVIAL)
        return -row, 1 - int(self.network.thresholds[-1][action, count])

    def table(self, action: int) -> npt.NDArray[np.float64]:
        """The action of each count."""
        return np.asarray(self._table[action])

    def rising(self, action: int) -> npt.NDArray[np.float64]:
        """The action's table.

        Raises:
            InputError: it falls somewhere, so that counts do not say which action is larger.
        """
        table = self._table[action]
        if bool((np.diff(table) < 0).any()):
            wrong = f"the table of {self.names[action]!r} falls somewhere"
            remedy = "claim low and high of it instead"
            raise InputError.at(self.artifact.path, "integer.table", wrong, remedy)
        return np.asarray(table)

    def apart(
        self, actions: tuple[int, int], pair: Pair, limit: float, signs: tuple[int, int], text: str
    ) -> Asked | None:
        """Is ``signs[0] a1 + signs[1] a2 > limit`` for a pair of observations?

        Args:
            actions: of the first and of the second observation.
            pair: what the second is to the first.
            limit: that is claimed to hold.
            signs: 1 or -1 each.
            text: what is asked.

        Returns:
            None where it cannot be, whatever the network.
        """
        tables = [s * self.rising(a) for s, a in zip(signs, actions, strict=True)]
        cases = []
        # The further a count goes the sign's way, the larger the sum: the first that is enough.
        order = range(self.levels + 1) if signs[1] > 0 else range(self.levels, -1, -1)
        second = np.array(list(order))
        reach = tables[1][second]  # ascending
        seen: dict[int, int] = {}
        for count in range(self.levels + 1) if signs[0] < 0 else range(self.levels, -1, -1):
            at = int(np.searchsorted(tables[0][count] + reach, limit, side="right"))
            if at < len(second):
                seen[at] = count  # the last one asks least of the first observation
        terms = [self.at_least, self.at_most]
        first_term, second_term = (terms[sign < 0] for sign in signs)
        for at, count in seen.items():
            bounds = (
                first_term(actions[0], count)[1],
                second_term(actions[1], int(second[at]))[1],
            )
            cases.append(bounds)
        if not cases or bool((pair.least > pair.most).all(axis=1).any()):
            return None  # no entries of the tables are that far apart, or there is no pair at all
        rows = (first_term(actions[0], 0)[0], second_term(actions[1], 0)[0])

        def bad(first: Float32, other: Float32) -> Any:
            total = signs[0] * first[:, actions[0]].astype(np.float64)
            return total + signs[1] * other[:, actions[1]].astype(np.float64) > limit

        question = double(self.network, self.box, pair, rows, np.array(cases, np.int64), text)
        return Asked(question, bad)

    def around(self, observation: Float32, radius: int) -> CodeBox:
        """The box of codes at most ``radius`` from those of ``observation`` ``(n,)``."""
        codes = NumpyEngine(self.network).input_codes(observation).astype(np.int64)
        low = np.maximum(codes - radius, self.box.low)
        high = np.minimum(codes + radius, self.box.high)
        return replace(self.box, low=low, high=high)

    def near(self, steps: list[int]) -> Pair:
        """Pairs of observations whose codes differ by at most ``steps``."""
        codes, some = self._codes()
        step = np.array(steps, np.int64)[:, None]
        least = np.maximum(-step, self.box.low[:, None] - codes)
        most = np.minimum(step, self.box.high[:, None] - codes)
        return self._pair(least, np.where(some, most, least - 1))

    def one_up(self, channel: int) -> Pair:
        """Pairs that differ in one value alone, where the second has the next higher code."""
        codes, some = self._codes()
        zero = np.zeros_like(some, np.int64)
        least, most = zero.copy(), np.where(some, 0, -1)
        given = codes[some[channel]]
        least[channel], most[channel] = 0, -1
        least[channel, given[:-1] - self.box.qmin] = np.diff(given)
        most[channel, given[:-1] - self.box.qmin] = np.diff(given)
        return self._pair(least, most)

    def mirror(self, mirror: dict[int, tuple[int, int]]) -> Pair:
        """Pairs of an observation and its mirror image, as ``mirror`` says for each value."""
        codes, _ = self._codes()
        count = len(self.box.low)
        source, sign = np.arange(count), np.ones(count, np.int64)
        for at, (other, factor) in mirror.items():
            source[at], sign[at] = other, factor
        first, last = self.box.first[source], self.box.last[source]
        flipped = sign[:, None] < 0
        start = np.where(flipped, -last, first)
        end = np.where(flipped, -first, last)
        start = np.maximum(start, self.box.floats[0][:, None])
        end = np.minimum(end, self.box.floats[1][:, None])
        some = start <= end
        engine = NumpyEngine(self.network)
        lows, highs = (
            engine.codes_batch(np.where(some, each, 0.0).T.astype(np.float32))[0].T.astype(np.int64)
            for each in (start, end)
        )
        base = sign[:, None] * codes
        return Pair(
            source.astype(np.int64),
            sign,
            np.where(some, lows - base, 0),
            np.where(some, highs - base, -1),
            self.box.qmin,
        )

    def _codes(self) -> tuple[Int64, npt.NDArray[np.bool_]]:
        codes = np.arange(self.box.first.shape[1]) + self.box.qmin
        some = (codes >= self.box.low[:, None]) & (codes <= self.box.high[:, None])
        return codes, some & (self.box.first <= self.box.last)

    def _pair(self, least: Int64, most: Int64) -> Pair:
        count = len(self.box.low)
        same = np.arange(count, dtype=np.int64)
        return Pair(same, np.ones(count, np.int64), least, most, self.box.qmin)


def recorded(around: Any, count: int, artifact: PolicyArtifact, file: str) -> Float32:
    """The observations that a robustness claim is about, float32 ``(count, n)``.

    Args:
        around: ``golden``, a ``.npy`` file of float observations ``(k, n)`` beside the property, or
            a list of observations.
        count: how many of them, the first ones.
        artifact: the policy.
        file: of the property, for its folder and for errors.

    Raises:
        InputError: no such file, not ``(k, n)`` finite numbers, or fewer than ``count``.
    """
    inputs = len(artifact.contract.observation)
    remedy = f"give 'golden', a .npy file of (k, {inputs}) floats, or a list of observations"
    if around == "golden":
        values: Any = artifact.golden.observations
    elif isinstance(around, str):
        path = Path(file).parent / around
        try:
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            wrong = f"{path}: cannot be read: {reason}"
            raise InputError.at(file, "claim.around", wrong, remedy) from error
    else:
        values = around
    try:
        rows = np.array(values, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError.at(file, "claim.around", "holds no numbers", remedy) from error
    rows = rows[None] if rows.ndim == 1 and len(rows) == inputs else rows
    good = rows.ndim == 2 and rows.shape[1] == inputs and bool(np.isfinite(rows).all())
    if not good:
        wrong = f"shape {rows.shape}, or a value that is not finite"
        raise InputError.at(file, "claim.around", wrong, remedy)
    if len(rows) < count:
        wrong = f"{count}, and there are {len(rows)} observations"
        raise InputError.at(file, "claim.count", wrong, f"give at most {len(rows)}")
    return rows[:count]
