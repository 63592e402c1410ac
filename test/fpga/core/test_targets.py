"""The paper's five shapes: cycles asked for, and that the chosen forms are estimated to fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qpolicy_fpga.design import build
from qpolicy_fpga.explore import choose
from qpolicy_fpga.parts import find_part
from qpolicy_fpga.results import PAPER
from qpolicy_fpga.samples import trained_like
from qpolicy_ros.policy import PolicyError

TARGETS = {task: paper.target_cycles for task, paper in PAPER.items()}
PART = find_part("xc7a15t")


@pytest.fixture(scope="module", params=TARGETS)
def chosen(request):
    network = trained_like(request.param)
    return request.param, network, *choose(network, PART, 100.0, "latency", None)


def test_a_shape_meets_its_target_within_the_part(chosen):
    task, _, best, _ = chosen
    assert best.cycles <= TARGETS[task]
    assert best.excess(PART) == {}


def test_the_built_core_meets_the_target_near_the_estimate(chosen):
    task, network, best, _ = chosen
    cycles = build(network, best.forms, 100.0).core.cycles
    assert cycles <= TARGETS[task]
    # Trees that were not sampled may need one more register a layer.
    assert best.cycles <= cycles <= best.cycles + len(best.forms)


def test_the_front_trades_cycles_for_look_up_tables(chosen):
    *_, front = chosen
    assert [c.cycles for c in front] == sorted({c.cycles for c in front})
    assert [c.lut for c in front] == sorted({c.lut for c in front}, reverse=True)


def test_area_takes_fewer_look_up_tables_than_latency(chosen):
    _, network, best, _ = chosen
    small, _ = choose(network, PART, 100.0, "area", None)
    assert small.lut < best.lut


def test_a_latency_that_cannot_be_had_is_refused_with_the_fastest_one():
    with pytest.raises(PolicyError, match=r"max_latency: 3 cycles .* takes 7"):
        choose(trained_like("hopper"), PART, 100.0, "latency", 3)


def test_area_within_a_latency():
    best, _ = choose(trained_like("hopper"), PART, 100.0, "area", 12)
    assert best.cycles <= 12


def test_what_does_not_fit_says_by_how_much_and_what_would():
    small = replace(PART, name="small", lut=300)
    with pytest.raises(PolicyError, match=r"fit the small: \d+ lut too many; take the xc7a15t"):
        choose(trained_like("hopper"), small, 100.0, "latency", None)


def test_an_unknown_fit_is_refused():
    with pytest.raises(PolicyError, match="fit: 'speed'"):
        choose(trained_like("hopper"), PART, 100.0, "speed", None)


def test_an_unknown_part_is_refused():
    with pytest.raises(PolicyError, match=r"part: 'xc7k70t' .* xc7a15t"):
        find_part("xc7k70t")
