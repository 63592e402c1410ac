"""The paper's shapes and the shipped policies, whole, in simulation.

`make test` takes the Hopper shape and the shipped policies of SHIPPED_QUICK (1,000 observations
of a policy's own rollouts); `make test-full` takes all of them (100,000 observations each).
"""

from __future__ import annotations

import numpy as np
import pytest
from rtl_checks import Bench, corner_codes

from qpolicy_fpga.explore.choose import choose
from qpolicy_fpga.plan.devices import find_part
from qpolicy_fpga.plan.random_networks import SHAPES, trained_like
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.policy import find_policy, load_policy, make_engine

pytestmark = pytest.mark.slow

QUICK = "hopper"
# The smallest and the largest.
SHIPPED_QUICK = ("hopper/paper", "halfcheetah/paper")
SHIPPED = tuple(f"{task}/{variant}" for task in SHAPES for variant in ("paper", "selected"))


@pytest.fixture(scope="module", params=SHAPES)
def task(request, full):
    if not full and request.param != QUICK:
        pytest.skip("make test-full takes this one")
    return request.param


def forms_of(network):
    return choose(network, find_part("xc7a15t"), 100.0, "latency", None)[0].forms


@pytest.mark.timeout(3000)
def test_a_random_policy_of_the_shape_is_exact(task, full, tmp_path):
    network = trained_like(task)
    bench = Bench(network, forms_of(network), tmp_path)
    codes = corner_codes(network, 20_000 if full else 1_000)
    assert bench.equal(codes)
    assert bench.equal(codes[:500], offer=90, fetch=90)
    bench.simulation.close()


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_policy_is_exact_on_its_own_rollouts(name, full, tmp_path):
    if not full and name not in SHIPPED_QUICK:
        pytest.skip("make test-full takes this one")
    try:
        path = find_policy(name)
    except InputError:
        pytest.skip(f"{name} is not shipped yet")
    artifact = load_policy(path)
    task = name.split("/")[0]
    engine = make_engine(artifact.network)
    trace = engine.codes_batch(rollout_observations(task, engine, 100_000 if full else 1_000))
    bench = Bench(artifact.network, forms_of(artifact.network), tmp_path)
    result = bench.simulation.run(trace[0])
    bench.simulation.close()
    np.testing.assert_array_equal(result.codes, trace[-1])


def rollout_observations(task, engine, count):
    """Observations of episodes that the policy plays itself, float32 ``(count, n)``."""
    sim = pytest.importorskip("qpolicy_ros.sim")
    simulation = sim.Simulation(task)
    rows, seed = [], 0
    observation = simulation.reset(seed)
    while len(rows) < count:
        rows.append(observation)
        observation, _, terminated, truncated = simulation.step(engine.act(observation))
        if terminated or truncated:
            seed += 1
            observation = simulation.reset(seed)
    simulation.close()
    return np.array(rows, np.float32)
