"""One question decided: refuters first, then proofs, then a second way for what was proved."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from qpolicy_ros.policy.model import Int64
from qpolicy_ros.prove.branch import NO, OPEN, YES, Outcome, branch
from qpolicy_ros.prove.check import check_tree, exhaustive
from qpolicy_ros.prove.question import Question
from qpolicy_ros.prove.search import search
from qpolicy_ros.prove.solver import cp_sat, milp

SEARCH, BRANCH, SAT = "search", "branch and bound", "CP-SAT"
_AT_ONCE, _QUICK, _SOON = 0.05, 0.2, 2.0  # s of the short tries
# Shares of the time that is left when a way begins.
_SEARCH, _BRANCH, _CP_SAT = 0.04, 0.35, 0.6
_CHECK_SAT, _CHECK_MILP = 0.3, 0.4


@dataclass(frozen=True)
class Decision:
    """What is known of a question.

    Attributes:
        answer: ``yes`` (with a witness), ``no`` (proved and checked) or ``open``.
        by: the way that found it: ``search``, ``branch and bound``, ``CP-SAT`` or ``every input``.
        checked_by: the second way, ``""`` where none ended.
        work: how much was done, in words.
        witness: an input that is a yes.
        most: proven upper bounds of the directions, where there are any.
        seconds: processor time.
    """

    answer: str
    by: str
    checked_by: str
    work: str
    witness: Int64 | None
    most: tuple[int, ...] | None
    seconds: float


def decide(question: Question, seconds: float, starts: npt.NDArray[Any] | None = None) -> Decision:
    """Decide within about ``seconds`` of processor time.

    Args:
        question: to be decided.
        seconds: processor time, proof and check together.
        starts: inputs that the search begins from, ``(rows, N)``.
    """
    begin = time.process_time()
    most: tuple[int, ...] | None = None

    def left() -> float:
        return max(begin + seconds - time.process_time(), 0.0)

    def made(answer: str, by: str, work: str, checked: str = "", witness: Any = None) -> Decision:
        used = time.process_time() - begin
        return Decision(answer, by, checked, work, witness, most, used)

    def searched(seconds: float) -> Outcome:
        return search(question, seconds, starts=starts)

    def branched(seconds: float) -> Outcome:
        return branch(question, seconds)

    # Most questions are easy one way or the other: short tries first, then the long ones.
    ways: list[tuple[str, Callable[[], float], Callable[[float], Outcome]]] = [
        (BRANCH, lambda: min(_AT_ONCE, left()), branched),
        (SEARCH, lambda: min(_QUICK, _SEARCH * left()), searched),
        (BRANCH, lambda: min(_SOON, _SEARCH * left()), branched),
        (SEARCH, lambda: _SEARCH * left(), searched),
        (BRANCH, lambda: _BRANCH * left(), branched),
        (SAT, lambda: _CP_SAT * left(), lambda seconds: cp_sat(question, seconds)),
    ]
    done: dict[str, str] = {}
    for name, seconds_of, way in ways:
        outcome = way(seconds_of())
        most = outcome.most or most
        if outcome.answer == YES:
            return made(YES, name, outcome.work, witness=outcome.witness)
        if outcome.answer == NO:
            checked, work = _second(question, name, outcome, left)
            work = f"{outcome.work}; {work}" if work else outcome.work
            if checked == "":
                return made(OPEN, name, f"{work}; proved, but no second way ended")
            if checked == YES:  # two ways disagree: a fault of ours, never a proof
                return made(OPEN, name, f"{work}; the second way found a yes")
            return made(NO, name, work, checked)
        done[name] = f"{name}: {outcome.work}"
    return made(OPEN, "", "; ".join(done.values()))


def _second(
    question: Question, by: str, proof: Outcome, left: Callable[[], float]
) -> tuple[str, str]:
    """The name of a second way that says no too (``""`` if none ended), and its work."""
    ways: list[tuple[str, Callable[[], Outcome]]] = [
        ("every input", lambda: exhaustive(question, left()))
    ]
    tree = proof.tree
    if by != SAT:
        ways.append((SAT, lambda: cp_sat(question, min(_CHECK_SAT * left(), 15.0))))
    else:
        ways.append(("HiGHS", lambda: milp(question, _CHECK_MILP * left())))
        ways.append((BRANCH, lambda: branch(question, left())))
    if tree is not None:
        ways.append(("tree checker", lambda: check_tree(question, tree, left())))
    for name, way in ways:
        outcome = way()
        if outcome.answer == NO:
            return name, outcome.work
        if outcome.answer == YES:
            return YES, f"{name}: {outcome.work}"
    return "", ""
