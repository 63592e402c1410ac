"""Random policies of odd shapes and bits, in a random form that fits, are exact in simulation.

`make test` takes the seeds of QUICK, `make test-full` all of SEEDS.
"""

from __future__ import annotations

import numpy as np
import pytest
from policy_builders import random_network
from rtl_checks import Bench, corner_codes

from qpolicy_fpga.explore.choose import choose
from qpolicy_fpga.plan.devices import find_part
from qpolicy_ros.common.errors import InputError

SEEDS = range(40)
QUICK = (0, 3)
WIDTHS = (1, 7, 16, 64, 256)
INPUTS = (1, 7, 16, 64, 256)
PART = "xc7a100t"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]


def drawn(seed):
    """A network of one to three hidden layers and forms for it from the front of ``PART``."""
    rng = np.random.default_rng(seed)
    while True:
        hidden = tuple(int(w) for w in rng.choice(WIDTHS, rng.integers(1, 4)))
        inputs, outputs = int(rng.choice(INPUTS)), int(rng.integers(1, 9))
        bits = (int(b) for b in rng.integers(2, 9, 3))
        network = random_network(
            int(rng.integers(1 << 30)), inputs, hidden, outputs, *bits, extreme=seed % 4 == 3
        )
        try:
            _, front = choose(network, find_part(PART), 100.0, "latency", None)
        except InputError:
            continue  # too large for the part
        return network, front[rng.integers(len(front))].forms


@pytest.fixture(scope="module", params=SEEDS)
def bench(request, full, tmp_path_factory):
    if request.param not in QUICK and not full:
        pytest.skip("the other seeds: make test-full")
    made = Bench(*drawn(request.param), tmp_path_factory.mktemp("odd"))
    yield made
    made.simulation.close()


@pytest.fixture
def codes(bench, full):
    return corner_codes(bench.network, 2_000 if full else 200)


def test_codes_equal_the_contract_s(bench, codes):
    assert bench.equal(codes)


def test_frames_take_the_stated_cycles(bench, codes):
    result = bench.simulation.run(codes[:40])
    assert set(result.first_valid - result.accepted) == {bench.core.cycles}
    assert set(np.diff(result.accepted)) == {bench.core.interval}


def test_back_pressure_and_a_reset_in_mid_flight_change_nothing(bench, codes):
    bench.simulation.run(codes, stop_after=2 * bench.core.cycles // 3 + 5, fetch=90)
    bench.simulation.reset()
    assert bench.equal(codes[:200], offer=100, fetch=70, seed=3)
