"""From a property to its verdict: questions asked one after the other within a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.policy import PolicyArtifact, make_engine
from qpolicy_ros.policy.model import Float32, Int64
from qpolicy_ros.prove.branch import NO, YES
from qpolicy_ros.prove.claims import Asked, Claims, recorded
from qpolicy_ros.prove.codes import code_box
from qpolicy_ros.prove.decide import Decision, decide
from qpolicy_ros.prove.property import LARGEST_OF, Property
from qpolicy_ros.prove.question import single
from qpolicy_ros.prove.replay import observations_of, replay
from qpolicy_ros.prove.search import search

PROVED, REFUTED, OPEN = "proved", "refuted", "open"
_WARM_UP = 0.05  # share of a measure's time for its first search
_SOON = 0.1  # s, of a search before any proof
_SHORT, _SHORT_SHARE = 0.5, 0.06  # s, and share of what is left, for a question's first try
_LONGEST = 0.5  # s, of the first search of a range
Say = Callable[[str], None]


@dataclass
class Result:
    """What became of a property.

    Attributes:
        verdict: ``proved``, ``refuted`` or ``open``.
        statements: one row a question, what was asked and how it was answered.
        counterexample: as ``replay.replay`` gives it.
        reached: what is known where there are figures: ranges, radii, the largest change.
        seconds: processor time.
    """

    verdict: str = PROVED
    statements: list[dict[str, Any]] = field(default_factory=list)
    counterexample: dict[str, Any] | None = None
    reached: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


class Prover:
    """Decides one property of one policy.

    Args:
        artifact: with an integer network.
        wanted: the property.
        seconds: processor time in all.
        say: gets a line for each question that is decided.
    """

    def __init__(
        self,
        artifact: PolicyArtifact,
        wanted: Property,
        seconds: float,
        say: Say = lambda _: None,
    ) -> None:
        assert artifact.network is not None
        self.artifact, self._network = artifact, artifact.network
        self._wanted, self._say = wanted, say
        self.box = code_box(self._network, wanted.low, wanted.high)
        self.claims = Claims(artifact, self.box)
        self._begin = time.process_time()
        self._end = self._begin + seconds
        self._result = Result()
        self._starts = self._recorded_codes()

    def run(self) -> Result:
        """Decide.

        Raises:
            InputError: the claim cannot be asked of this policy.
        """
        kind = self._wanted.kind
        if kind == "range":
            self._ranges()
        elif kind == "robust":
            self._robust()
        elif kind == "change" and self._wanted.claim["change"] == LARGEST_OF:
            self._largest_changes()
        else:
            self._all(self.questions())
        self._result.seconds = time.process_time() - self._begin
        return self._result

    def questions(self) -> list[Asked]:
        """What would have to exist for the claim to be false; for claims of yes and no alone."""
        wanted, claims = self._wanted, self.claims
        claim, names = wanted.claim, claims.names
        asked: list[Asked | None] = []
        for action in wanted.actions:
            name, table = names[action], claims.table(action)
            if wanted.kind == "bounds":
                bad = (table < claim["low"]) | (table > claim["high"])
                text = f"{name} never outside [{claim['low']:g}, {claim['high']:g}]"
                asked += claims.outside(action, bad, text)
            elif wanted.kind == "never":
                bad = table < 0 if claim["never"] == "negative" else table > 0
                asked += claims.outside(action, bad, f"{name} never {claim['never']}")
            elif wanted.kind == "change":
                pair = claims.near(claim["within"])
                text = f"{name} changes by at most {claim['change']:g}"
                asked.append(claims.apart((action, action), pair, claim["change"], (-1, 1), text))
            elif wanted.kind == "monotone":
                pair = claims.one_up(claim["in"])
                signs = (1, -1) if claim["monotone"] == "rising" else (-1, 1)
                channel = self.artifact.contract.observation[claim["in"]].name
                text = f"{name} {claim['monotone']} in {channel}"
                asked.append(claims.apart((action, action), pair, 0.0, signs, text))
            elif wanted.kind == "symmetric":
                asked += self._mirrored(action)
        return [each for each in asked if each is not None]

    def _mirrored(self, action: int) -> list[Asked | None]:
        claim, names = self._wanted.claim, self.claims.names
        pair = self.claims.mirror(claim["in"])
        if bool((pair.least > pair.most).all(axis=1).any()):
            wrong = "no observation of the box has its mirror image in it"
            remedy = "widen the box to both sides"
            raise InputError.at(self._wanted.file, "claim.in", wrong, remedy)
        other = action if claim["as"] is None else claim["as"]
        text = f"{names[other]} of the mirrored observation is {names[action]}"
        text += f", {claim['symmetric']}, within {claim['within']:g}"
        ways = ((-1, 1), (1, -1)) if claim["symmetric"] == "even" else ((1, 1), (-1, -1))
        found: list[Asked | None] = []
        for signs in ways:
            asked = self.claims.apart((action, other), pair, claim["within"], signs, text)
            if asked is not None:
                found.append(replace(asked, mirrored=True))
        return found

    def _all(self, asked: list[Asked]) -> None:
        """The claim holds if the answer to each question is no."""
        self._cover(asked)
        # One refuted action is enough: look for it everywhere before anything is proved.
        first = sorted(asked, key=lambda each: not self._soon(each)) if len(asked) > 1 else asked
        # Most questions are easy, and the time is for those that are not: a short round first.
        hard: list[Asked] = []
        for index, each in enumerate(first):
            share = self._left() / (len(first) - index)
            if len(first) > 1:
                share = min(share, max(_SHORT, _SHORT_SHARE * self._left()))
            answer = self._ask(each, share, last=len(first) == 1)
            if answer == YES:
                return
            if answer == OPEN and len(first) > 1:
                hard.append(each)
        for index, each in enumerate(hard):
            if self._ask(each, self._left() / (len(hard) - index), last=True) == YES:
                return

    def _left(self) -> float:
        """Processor time that is left, s."""
        return max(self._end - time.process_time(), 0.0)

    def _soon(self, asked: Asked) -> bool:
        """Whether a short search refutes it."""
        return search(asked.question, _SOON, starts=self._around(asked)).answer == YES

    def _cover(self, asked: list[Asked]) -> None:
        """Say so where nothing is to be asked: no table's entry, or no pair, could break it."""
        if not asked:
            row = {"claim": "no entry of a table, or no pair of codes, could break it"}
            row |= {"answer": PROVED, "by": "tables", "checked_by": "every entry", "work": ""}
            self._result.statements.append({**row, "seconds": 0.0})

    def _ask(self, asked: Asked, seconds: float, *, last: bool) -> str:
        """Decide one question in ``seconds``, note the answer; that it is open where ``last``."""
        decision = decide(asked.question, seconds, self._around(asked))
        answer, counterexample = self._believe(asked, decision)
        if answer == OPEN and not last:
            return answer
        word = {YES: REFUTED, NO: PROVED}.get(answer, OPEN)
        self._note(asked.question.text, word, decision)
        if word == REFUTED:
            self._result.verdict, self._result.counterexample = REFUTED, counterexample
        elif word == OPEN and self._result.verdict == PROVED:
            self._result.verdict = OPEN
        return answer

    def _believe(self, asked: Asked, decision: Decision) -> tuple[str, dict[str, Any] | None]:
        """A yes only if some observation has the witness's codes; then from every engine."""
        if decision.answer != YES or decision.witness is None:
            return decision.answer, None
        found = observations_of(asked, decision.witness, self.box, self.artifact)
        if found is None:
            return OPEN, None
        return YES, replay(asked, found, self.artifact)

    def _note(self, text: str, word: str, decision: Decision) -> None:
        row = {
            "claim": text,
            "answer": word,
            "by": decision.by,
            "checked_by": "every engine" if word == REFUTED else decision.checked_by,
            "work": decision.work,
            "seconds": round(decision.seconds, 3),
        }
        if word == OPEN and decision.most is not None:
            row["sums_at_most"] = list(decision.most)
        self._result.statements.append(row)
        how = f"{row['by']}, checked by {row['checked_by']}" if word != OPEN else row["work"]
        self._say(f"{word:8} {text} ({how}; {decision.seconds:.2f} s)")

    def _ranges(self) -> None:
        """Lowest and highest value of each action, from an input that has it and a proof."""
        wanted = [(action, side) for action in self._wanted.actions for side in (-1, 1)]
        for index, (action, side) in enumerate(wanted):
            left = max(self._end - time.process_time(), 0.0) / (len(wanted) - index)
            name = self.claims.names[action]
            self.claims.rising(action)
            proved, count, bound = self._extreme(action, side, left)
            table = self.claims.table(action)
            row = self._result.reached.setdefault(name, {})
            key = "highest" if side > 0 else "lowest"
            row[key] = float(table[count])
            row[f"{key}_proven"] = float(table[bound])
            if not proved:
                self._result.verdict = OPEN

    def _extreme(self, action: int, side: int, seconds: float) -> tuple[bool, int, int]:
        """Whether the end is exact, the count that an input reaches, the one that none passes."""
        claims, end = self.claims, time.process_time() + seconds
        levels = claims.levels
        last = levels if side > 0 else 0
        term = claims.at_least if side > 0 else claims.at_most
        counts = self._counts(self._starts, action)
        best = int(counts.max() if side > 0 else counts.min())
        name = claims.names[action]
        starts = self._starts
        # What nothing reaches: a first search that climbs as far as it gets.
        asked = claims.outside(action, np.arange(levels + 1) == last, "")[0]
        found = search(asked.question, min(_WARM_UP * seconds, _LONGEST), starts=starts).witness
        while found is not None:
            given = self._counts(found[None], action)[0]
            if (given - best) * side <= 0 or not self._reachable(found):
                break
            best, starts, found = int(given), found[None], None
        while best != last:
            beyond = np.arange(levels + 1) > best if side > 0 else np.arange(levels + 1) < best
            value = claims.table(action)[best]
            word = "above" if side > 0 else "below"
            asked = claims.outside(action, beyond, f"{name} never {word} {value:g}")[0]
            decision = decide(asked.question, max(end - time.process_time(), 0.0), starts)
            if decision.answer == YES and decision.witness is not None:
                best = int(self._counts(decision.witness[None], action)[0])
                starts = decision.witness[None]
                continue
            self._note(asked.question.text, PROVED if decision.answer == NO else OPEN, decision)
            if decision.answer == NO:
                return True, best, best
            bound = last
            if decision.most is not None:
                fits = [c for c in range(levels + 1) if term(action, c)[1] <= decision.most[0]]
                bound = max(fits) if side > 0 else min(fits)
            return False, best, bound
        return True, best, best

    def _robust(self) -> None:
        """No action moves by more than d within a radius; or the largest such radius."""
        claim = self._wanted.claim
        rows = recorded(claim["around"], claim["count"], self.artifact, self._wanted.file)
        inside = (rows >= self._wanted.low) & (rows <= self._wanted.high)
        if not inside.all():
            wrong = f"observation {int(np.argmin(inside.all(axis=1)))} is outside the box"
            raise InputError.at(self._wanted.file, "claim.around", wrong, "leave out the box")
        largest = claim["radius"] == LARGEST_OF
        radii: list[tuple[int, bool]] = []
        every: list[Asked] = []
        for index, observation in enumerate(rows):
            shares = len(rows) - index
            if largest:
                left = max(self._end - time.process_time(), 0.0) / shares
                radii.append(self._largest_radius(index, observation, left))
                continue
            every += self._moves(index, observation, claim["radius"])
        if not largest:
            self._all(every)
        if largest:
            self._result.reached["radius"] = [held for held, _ in radii]
            self._result.reached["smallest_radius"] = min(held for held, _ in radii)
            if not all(exact for _, exact in radii):
                self._result.verdict = OPEN

    def _largest_radius(self, index: int, observation: Float32, seconds: float) -> tuple[int, bool]:
        """The largest radius that holds, and whether the next is refuted."""
        end = time.process_time() + seconds
        widest = self._network.input_range[1] - self._network.input_range[0]
        held = 0
        while held < widest:
            asked = self._moves(index, observation, held + 1)
            asked.sort(key=lambda each: not self._soon(each))
            for number, each in enumerate(asked):
                left = max(end - time.process_time(), 0.0) / (len(asked) - number)
                decision = decide(each.question, left)
                answer, _ = self._believe(each, decision)
                if answer != NO:
                    word = REFUTED if answer == YES else OPEN
                    self._note(each.question.text, word, decision)
                    return held, answer == YES
            held += 1
            text = f"observation {index}: nothing moves further within {held} codes"
            self._say(f"{PROVED:8} {text}")
        return held, True

    def _moves(self, index: int, observation: Float32, radius: int) -> list[Asked]:
        """Questions whether an action leaves ``[a - d, a + d]`` within ``radius`` codes."""
        moved = self._wanted.claim["robust"]
        actions = make_engine(self._network).act(observation).astype(np.float64)
        box = self.claims.around(observation, radius)
        claims = Claims(self.artifact, box)
        asked = []
        for action in self._wanted.actions:
            bad = np.abs(claims.table(action) - actions[action]) > moved
            text = f"observation {index}: {claims.names[action]} moves by at most {moved:g}"
            text += f" within {radius} codes"
            asked += [
                replace(each, first=observation) for each in claims.outside(action, bad, text)
            ]
        return asked

    def _largest_changes(self) -> None:
        """The largest change of each action: one that two observations have, and a proof."""
        claims, within = self.claims, self._wanted.claim["within"]
        pair = claims.near(within)
        for index, action in enumerate(self._wanted.actions):
            shares = len(self._wanted.actions) - index
            end = time.process_time() + max(self._end - time.process_time(), 0.0) / shares
            name, change, exact = claims.names[action], 0.0, False
            starts = None
            while not exact:
                text = f"{name} changes by at most {change:g}"
                asked = claims.apart((action, action), pair, change, (-1, 1), text)
                if asked is None:
                    exact = True
                    break
                decision = decide(asked.question, max(end - time.process_time(), 0.0), starts)
                if decision.answer == YES and decision.witness is not None:
                    found = observations_of(asked, decision.witness, self.box, self.artifact)
                    actions = make_engine(self._network).act_batch(found)[:, action]
                    change = abs(float(actions[1]) - float(actions[0]))
                    starts = decision.witness[None]
                    continue
                exact = decision.answer == NO
                self._note(text, PROVED if exact else OPEN, decision)
                break
            self._result.reached[name] = {"largest_change": change, "exact": exact}
            if not exact:
                self._result.verdict = OPEN

    def _recorded_codes(self) -> Int64:
        """Codes of the golden observations, moved into the box: where searches begin."""
        golden = np.clip(self.artifact.golden.observations, self._wanted.low, self._wanted.high)
        return np.asarray(make_engine(self._network).codes_batch(golden)[0], np.int64)

    def _around(self, asked: Asked) -> Int64:
        """Starting points of a question: recorded observations, a pair's as two of the same."""
        if asked.question.pair is None:
            return self._starts
        return np.concatenate([self._starts, np.zeros_like(self._starts)], axis=1)

    def _counts(self, codes: Int64, action: int) -> Int64:
        """The action's counts for rows of input codes ``(rows, n)``."""
        row = self._network.weights[-1][action].astype(np.int64)
        question = single(self._network, self.box, row[None], np.zeros((1, 1), np.int64), "")
        sums = question.sums(codes)[:, 0]
        thresholds = self._network.thresholds[-1][action]
        return np.asarray((sums[:, None] >= thresholds).sum(axis=1), np.int64)

    def _reachable(self, codes: Int64) -> bool:
        return bool(self.box.reachable(codes[None])[0])
