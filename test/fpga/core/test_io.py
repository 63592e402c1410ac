"""`--with-io`: sensor words to action words in fabric, the integer engine's bit for bit.

`make test` takes the two shapes of QUICK, `make test-full` all.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from policy_builders import make_contract, random_artifact, random_network

from qpolicy_fpga import generate
from qpolicy_fpga.design import build
from qpolicy_fpga.emit.io import emit_io, part_beside
from qpolicy_fpga.explore.choose import choose
from qpolicy_fpga.plan import fixed_point
from qpolicy_fpga.plan.devices import find_part
from qpolicy_fpga.plan.fixed_point import HIGHEST, LOWEST, action_words, input_products
from qpolicy_fpga.plan.random_networks import SHAPES, trained_like
from qpolicy_fpga.simulate.core import lint
from qpolicy_fpga.simulate.words import WordSimulation, count_cycles, expected_words
from qpolicy_ros.policy import PolicyError, find_policy, load_policy, make_artifact, make_engine
from qpolicy_ros.policy.numpy_engine import NumpyEngine

# inputs, hidden, outputs, b_in, b_core, b_out
SMALL = {
    "one beat": (11, (8,), 3, 6, 2, 8),
    "words in two beats": (17, (6, 5), 2, 3, 2, 5),
    "beats of the core, the last one short": (100, (4,), 2, 8, 3, 4),
    "an odd number of codes a beat": (90, (3,), 1, 3, 3, 8),
}
QUICK = ("one beat", "an odd number of codes a beat")


pytestmark = pytest.mark.slow


class WithIo:
    """A generated core with its front and back, in simulation."""

    def __init__(self, network, folder):
        self.network = network
        artifact = baseline_artifact(network)
        self.folder = folder
        self.manifest = generate(artifact, "xc7a100t", 100.0, "latency", folder, with_io=True)
        self.io = io = self.manifest.io
        self.files = [folder / name for name in self.manifest.files + io.files]
        self.simulation = WordSimulation(folder, self.manifest)

    def run(self, words, **how):
        """Action words for sensor words (frames, n)."""
        return self.simulation.run(words, **how)

    def expected(self, words):
        """What the integer engine makes of the values that the words stand for."""
        values = np.ldexp(words.astype(np.float64), -np.array(self.io.sensor_fractions))
        assert np.array_equal(values, values.astype(np.float32))
        return expected_words(self.network, self.io, words)


def baseline_artifact(network):
    """An artifact around a network; its FP32 baseline is not asked."""
    sizes = len(network.mean), network.hidden, network.weights[-1].shape[0]
    other = random_artifact(1, *sizes)
    return make_artifact(
        contract=make_contract(sizes[0], sizes[2]), network=network, baseline=other.baseline,
        provenance={}, golden_observations=other.golden.observations,
    )  # fmt: skip


@pytest.fixture(scope="module", params=SMALL, ids=[name.replace(" ", "-") for name in SMALL])
def device(request, full, tmp_path_factory):
    if request.param not in QUICK and not full:
        pytest.skip("the other shapes: make test-full")
    network = random_network(5, *SMALL[request.param])
    made = WithIo(network, tmp_path_factory.mktemp("io"))
    yield made
    made.simulation.close()


@pytest.fixture
def words(device, full):
    rng = np.random.default_rng(0)
    size = device.network.mean.size
    ends = [np.full(size, LOWEST), np.full(size, HIGHEST), np.zeros(size, int)]
    drawn = rng.integers(LOWEST, HIGHEST + 1, (20_000 if full else 500, size))
    return np.concatenate([ends, drawn])


def test_action_words_equal_the_engine_s(device, words):
    assert np.array_equal(device.run(words).codes, device.expected(words))


def test_back_pressure_changes_nothing(device, words):
    result = device.run(words, offer=150, fetch=60)
    assert np.array_equal(result.codes, device.expected(words))


def test_a_reset_in_mid_flight_leaves_nothing_behind(device, words):
    device.run(words, stop_after=17)
    device.simulation.reset()
    assert np.array_equal(device.run(words[:50]).codes, device.expected(words[:50]))


def test_the_stated_cycles_and_interval(device, words):
    device.simulation.reset()
    result = device.run(words)
    assert result.first_valid[0] - result.accepted[0] == device.io.cycles
    assert set(np.diff(result.first_valid[20:])) == {device.io.initiation_interval}


def test_the_benchmark_counts_the_same_cycles(device):
    assert count_cycles(device.folder, device.manifest, device.network) == device.io.cycles


@pytest.mark.parametrize("field", ["cycles", "initiation_interval"])
def test_the_benchmark_notices_a_wrong_count(device, field):
    more = replace(device.io, **{field: getattr(device.io, field) + 1})
    wrong = replace(device.manifest, io=more)
    with pytest.raises(PolicyError, match="in simulation, not"):
        count_cycles(device.folder, wrong, device.network)


def test_the_verilog_is_lint_clean(device):
    assert lint(device.files, "qpolicy_io") == ""


@pytest.mark.parametrize("name", ["hopper/paper", "humanoid/paper"])
def test_no_lane_looks_beyond_its_sum(name):
    network = load_policy(find_policy(name)).network
    text = emit_io(network, build(network, forms_beside(network), 100.0).core).files
    for lane in re.split(r"\bendmodule\b", text["qpolicy_quantiser.v"]):
        for width in re.findall(r"reg signed \[(\d+):0\] sum;", lane):
            assert all(int(high) <= int(width) for high in re.findall(r"sum\[(\d+)", lane))


def forms_beside(network):
    """Forms of a core that leaves room for front and back."""
    part = part_beside(network, find_part("xc7a15t"))
    return choose(network, part, 100.0, "latency", None)[0].forms


@pytest.mark.parametrize("task", SHAPES)
def test_products_equal_the_engine_next_to_every_threshold(task):
    """Just below a code's least word and at it: with monotony that is every word."""
    network = trained_like(task)
    products = input_products(network)
    engine = NumpyEngine(network)
    fractions = np.array([product.fraction for product in products])
    thresholds = fixed_point.word_thresholds(engine, network, fractions)
    for words in (*thresholds.T, *(thresholds.T - 1), np.full(len(products), LOWEST)):
        shown = np.clip(words, LOWEST, HIGHEST)
        values = np.ldexp(shown.astype(np.float64), -fractions).astype(np.float32)
        ours = [int(p.values(word)) for p, word in zip(products, shown, strict=True)]
        assert np.array_equal(np.clip(ours, *network.input_range), engine.input_codes(values))


def test_every_word_of_one_input():
    network = random_network(3, 1, (2,), 1, 8, 2, 2)
    (product,) = input_products(network)
    words = np.arange(LOWEST, HIGHEST + 1)
    values = np.ldexp(words.astype(np.float64), -product.fraction).astype(np.float32)
    codes = make_engine(network, "numpy").codes_batch(values[:, None])[0][:, 0]
    assert np.array_equal(np.clip(product.values(words), *network.input_range), codes)


@pytest.mark.parametrize(
    ("mean", "gain"),
    [(0.0, 1e6), (1.2, 1e6), (-300.0, 0.01), (1e4, 50.0), (0.0, 1e-20), (7.5, 3e9)],
)
def test_inputs_that_hardly_move_or_lie_far_off(mean, gain):
    network = random_network(3, 1, (2,), 1, 8, 2, 2)
    network = replace(network, mean=np.float32([mean]), gain=np.float32([gain]))
    (product,) = input_products(network)
    words = np.random.default_rng(0).integers(LOWEST, HIGHEST + 1, 5000)
    near = round(mean * 2.0**product.fraction)
    words = np.concatenate([words, np.clip(np.arange(near - 500, near + 500), LOWEST, HIGHEST)])
    values = np.ldexp(words.astype(np.float64), -product.fraction).astype(np.float32)
    codes = make_engine(network, "numpy").codes_batch(values[:, None])[0][:, 0]
    assert np.array_equal(np.clip(product.values(words), *network.input_range), codes)


def test_an_input_without_a_product_is_named(monkeypatch):
    monkeypatch.setattr(fixed_point, "_product", lambda *_: None)
    with pytest.raises(PolicyError, match="with-io: input 0: no product of 24 bits"):
        input_products(random_network())


def test_action_words_use_their_bits():
    table = np.linspace(-0.4, 0.4, 32, dtype=np.float32) * np.ones((2, 1), np.float32)
    words = action_words(replace(random_network(), table=table))
    assert words.fractions == (16, 16)
    assert words.words[0, -1] == np.rint(table[0, -1] * 2.0**16)
