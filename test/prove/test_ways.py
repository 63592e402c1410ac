"""Every way of deciding a question gives the answer that looking at every input gives."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from policy_builders import random_network

from qpolicy_ros.prove.branch import NO, YES, BoxTree, branch
from qpolicy_ros.prove.check import check_tree, exhaustive
from qpolicy_ros.prove.codes import code_box, whole_box
from qpolicy_ros.prove.decide import decide
from qpolicy_ros.prove.linear import Bounder
from qpolicy_ros.prove.question import Pair, double, single
from qpolicy_ros.prove.search import search
from qpolicy_ros.prove.solver import cp_sat, milp

SECONDS = 30.0
SHAPES = [((), 2), ((6,), 2), ((5, 5), 3), ((4, 4, 4), 2)]


def box_of(network, rng):
    box = code_box(network, *whole_box(network))
    ends = np.sort(rng.integers(box.low, box.high + 1, (2, len(box.low))), axis=0)
    return dataclasses.replace(box, low=ends[0], high=ends[1])


def a_single(seed):
    """A question about one observation whose bound lies where sums are."""
    rng = np.random.default_rng(seed)
    hidden, bits = SHAPES[seed % len(SHAPES)]
    network = random_network(seed, 3, hidden, 2, input_bits=3, core_bits=bits)
    row = network.weights[-1][0].astype(np.int64)[None]
    question = single(network, box_of(network, rng), row, np.zeros((1, 1), np.int64), "")
    sums = question.sums(rng.integers(question.low, question.high + 1, (64, 3)))
    bound = int(sums.max()) + int(rng.integers(-1, 3))
    return dataclasses.replace(question, bounds=np.array([[bound]], np.int64))


def a_double(seed):
    """A question about two observations that differ by at most one code."""
    rng = np.random.default_rng(seed)
    network = random_network(seed, 2, (5, 4), 2, input_bits=3, core_bits=2)
    box = box_of(network, rng)
    codes = np.arange(8) + box.qmin
    same = np.arange(2)
    inside = (codes >= box.low[:, None]) & (codes <= box.high[:, None])
    pair = Pair(
        same,
        np.ones(2, np.int64),
        np.maximum(-1, box.low[:, None] - codes),
        np.where(inside, np.minimum(1, box.high[:, None] - codes), -9),
        box.qmin,
    )
    row = network.weights[-1][0].astype(np.int64)
    question = double(network, box, pair, (-row, row), np.zeros((1, 2), np.int64), "")
    start, good = question.project(rng.integers(question.low, question.high + 1, (64, 4)))
    sums = question.sums(start[good])
    gap = sums.sum(axis=1).max() + int(rng.integers(0, 3))
    cases = [[int(-level), int(level + gap)] for level in np.unique(-sums[:, 0])]
    return dataclasses.replace(question, bounds=np.array(cases, np.int64))


QUESTIONS = [pytest.param(a_single, seed, id=f"one-{seed}") for seed in range(12)]
QUESTIONS += [pytest.param(a_double, seed, id=f"two-{seed}") for seed in range(8)]


@pytest.mark.parametrize(("make", "seed"), QUESTIONS)
def test_every_way_agrees_with_every_input(make, seed):
    pytest.importorskip("ortools")
    pytest.importorskip("highspy")
    question = make(seed)
    truth = exhaustive(question, SECONDS)
    assert truth.answer in {YES, NO}
    for way in (branch, cp_sat, milp):
        found = way(question, SECONDS)
        assert found.answer == truth.answer, way
        if found.answer == YES:
            kept, good = question.project(found.witness[None])
            assert good[0]
            assert (kept[0] == found.witness).all()
            assert question.margins(kept)[0] >= 0
        elif found.tree is not None:
            assert check_tree(question, found.tree, SECONDS).answer == NO
    assert decide(question, SECONDS).answer == truth.answer


def test_questions_of_both_answers_are_asked():
    for make in (a_single, a_double):
        answers = {exhaustive(make(seed), SECONDS).answer for seed in range(8)}
        assert answers == {YES, NO}


@pytest.mark.parametrize("seed", range(8))
def test_bounds_hold_for_every_input(seed):
    question = a_single(seed)
    bounds = Bounder(question).bounds(question.low[None], question.high[None])
    widths = (question.high - question.low + 1).tolist()
    inputs = np.stack(np.unravel_index(np.arange(np.prod(widths)), widths), axis=1) + question.low
    assert question.sums(inputs).max() <= bounds.most[0, 0]


@pytest.mark.parametrize("seed", range(4))
def test_the_search_finds_only_what_is_there(seed):
    question = a_single(seed)
    found = search(question, 0.1)
    assert (found.answer == YES) <= (exhaustive(question, SECONDS).answer == YES)
    if found.answer == YES:
        assert question.margins(found.witness[None])[0] >= 0


def test_the_checker_finds_a_tree_that_leaves_a_yes_out():
    question = next(q for q in map(a_single, range(20)) if exhaustive(q, 9.0).answer == YES)
    nothing = BoxTree(np.array([-1]), np.array([-1]), np.array([-1]))
    assert check_tree(question, nothing, SECONDS).answer == YES


def test_no_solver_writes_to_standard_output(capfd):
    pytest.importorskip("highspy")
    milp(a_single(1), SECONDS)
    assert capfd.readouterr().out == ""
