"""The proofs hold for every kind of generated layer, and fail where the hardware is wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from policy_builders import random_network

from qpolicy_fpga.design import build, describe
from qpolicy_fpga.plan.form import Form
from qpolicy_fpga.plan.random_networks import evenly_spaced
from qpolicy_ros.policy import PolicyError
from qpolicy_ros.verify import bounds, formal

# (inputs, hidden, outputs, b_in, b_core, b_out), forms: each kind of tail, fold and weights.
SHAPES = {
    "unrolled, table": ((5, (4,), 2, 3, 2, 4), [Form(1, 3), Form(1, 2)]),
    "serial planes, folded": ((5, (7,), 2, 3, 4, 5), [Form(1, 1), Form(4, 2)]),
    "weights in block RAM": ((9, (33,), 2, 6, 3, 5), [Form(33, 6, ram=True), Form(2, 3)]),
    "block RAM in parts": (
        (6, (34, 8), 2, 5, 3, 8),
        [Form(34, 2, ram=True), Form(4, 1), Form(1, 1)],
    ),
    "wide weights, search": ((9, (7,), 4, 4, 6, 8), [Form(4, 2), Form(2, 6)]),
    "uneven planes": ((7, (8,), 3, 5, 5, 3), [Form(2, 3), Form(3, 4)]),
    "codes as they come": ((7, (10,), 3, 4, 3, 5), [Form(4, 4), Form(1, 3, stream=True)]),
    "codes as they come, weights looked up": (
        (5, (34,), 2, 4, 3, 4),
        [Form(34, 4, ram=True), Form(1, 3, stream=True)],
    ),
    "codes copied for groups of trees": ((4, (14,), 2, 4, 2, 4), [Form(1, 2), Form(1, 2)]),
    "beats as they come": ((70, (5,), 2, 8, 3, 4), [Form(1, 8, stream=True), Form(1, 3)]),
    "neurons that are tables": (
        (3, (4, 3), 2, 2, 2, 4),
        [Form(1, 2, lookup=True), Form(1, 2, lookup=True), Form(1, 2)],
    ),
}


def write(folder, shape, forms, empty=None, network=None):
    network = network or random_network(7, *shape)
    if empty is not None:
        for weight, thresholds in zip(network.weights, network.thresholds, strict=True):
            weight[empty] = 0
            thresholds[empty] = np.sort(np.arange(thresholds.shape[1]) % 2)
    design = build(network, forms, 100.0)
    for name, text in design.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return network, describe(network, design, "xc7a15t", 100.0)


def layers(network, folder, manifest):
    indices = range(len(manifest.layers))
    return [formal.FormalLayer(network, folder, manifest, index) for index in indices]


def outcomes(made, scratch, *, whole=False):
    scratch.mkdir(exist_ok=True)
    jobs = [job for layer in made for job in layer.jobs(scratch, whole=whole)]
    return formal.prove(jobs, lambda _: None)


@pytest.mark.parametrize("name", SHAPES)
def test_every_piece_of_every_neuron_is_proven(name, tmp_path):
    network, manifest = write(tmp_path, *SHAPES[name])
    made = layers(network, tmp_path, manifest)
    assert all(layer.dots().passed for layer in made if not layer.lookup)
    found = outcomes(made, tmp_path / "scratch")
    assert set(found.values()) == {"proved"}
    texts = [layer.text for layer in made]
    assert bounds.check_bounds(network, texts, manifest.layers).passed


def test_whole_neurons_are_proven_at_once(tmp_path):
    network, manifest = write(tmp_path, *SHAPES["unrolled, table"])
    found = outcomes(layers(network, tmp_path, manifest), tmp_path / "scratch", whole=True)
    whole = [outcome for proof, outcome in found.items() if proof.kind == "whole"]
    assert whole == ["proved"] * 6


def test_a_neuron_without_weights_is_proven(tmp_path):
    # Its sum has one bit, fewer than an input code.
    network, manifest = write(tmp_path, *SHAPES["unrolled, table"], empty=1)
    found = outcomes(layers(network, tmp_path, manifest), tmp_path / "scratch", whole=True)
    assert set(found.values()) == {"proved"}


@pytest.fixture
def unrolled(tmp_path):
    return (tmp_path, *write(tmp_path, *SHAPES["unrolled, table"]))


def edit(file, pattern, replace):
    text = file.read_text()
    changed = re.sub(pattern, replace, text, count=1)
    assert changed != text
    file.write_text(changed)


def test_a_flipped_bit_of_an_adder_s_table_is_found(unrolled):
    folder, network, manifest = unrolled

    def flip(found):
        return f"{found[1]}{int(found[2], 16) ^ 1:0{len(found[2])}x}"

    edit(folder / "qpolicy_layer0.v", r"(TABLE\(64'h)([0-9a-f]+)", flip)
    made = layers(network, folder, manifest)
    assert made[0].dots().wrong == 1
    found = outcomes(made[:1], folder / "scratch", whole=True)
    assert "refuted" in {value for proof, value in found.items() if proof.kind == "whole"}


def test_a_flipped_bit_of_a_looked_up_weight_is_found(tmp_path):
    network, manifest = write(tmp_path, *SHAPES["codes as they come, weights looked up"])

    def flip(found):
        return f"{int(found[1], 16) ^ 1:016x}){found[2]}"

    edit(tmp_path / "qpolicy_layer1.v", r"([0-9a-f]{16})\)(.*phase_next)", flip)
    assert layers(network, tmp_path, manifest)[1].dots().wrong == 1


def test_an_accumulator_that_is_not_cleared_is_found(tmp_path):
    network, manifest = write(tmp_path, *SHAPES["codes as they come"])
    edit(tmp_path / "qpolicy_layer1.v", r"first \? \d+'d0 : held", "held")
    found = outcomes(layers(network, tmp_path, manifest)[1:], tmp_path / "scratch")
    assert list(found.values()).count("refuted") == 1


@pytest.fixture
def multiplied(tmp_path):
    network = evenly_spaced(6, (32,), 2, 4, 5, 8)
    forms = [Form(16, 1), Form(1, 5, stream=True)]
    return (tmp_path, *write(tmp_path, None, forms, network=network))


def test_codes_by_multiplication_are_proven(multiplied):
    folder, network, manifest = multiplied
    assert manifest.layers[1].tail == "scale"
    made = layers(network, folder, manifest)
    assert set(outcomes(made[1:], folder / "scratch").values()) == {"proved"}


def test_a_wrong_offset_is_found(multiplied):
    folder, network, manifest = multiplied

    def other(found):
        return f"product}} + {found[1]}'d{int(found[2]) ^ 1 << 21};"

    edit(folder / "qpolicy_layer1.v", r"product\} \+ (\d+)'d(\d+);", other)
    found = outcomes(layers(network, folder, manifest)[1:], folder / "scratch")
    assert list(found.values()).count("refuted") == 1


def test_a_wrong_entry_of_a_code_table_is_found(unrolled):
    folder, network, manifest = unrolled

    def other(found):
        return f"{found[1]}{int(found[2]) ^ 1};"

    edit(folder / "qpolicy_layer1.v", r"(entry = 4'd)(\d+);", other)
    found = outcomes(layers(network, folder, manifest)[1:], folder / "scratch")
    assert list(found.values()).count("refuted") == 1


def test_bit_planes_of_the_wrong_code_are_found(unrolled):
    folder, network, manifest = unrolled
    edit(folder / "qpolicy_layer0.v", r"codes\[1\]", "codes[4]")
    found = outcomes(layers(network, folder, manifest)[:1], folder / "scratch")
    assert found[formal.Proof("planes", 0, 0, 1)] == "refuted"


def test_a_wrong_weight_in_block_ram_is_found(tmp_path):
    network, manifest = write(tmp_path, *SHAPES["weights in block RAM"])

    def flip(found):
        return f"{found[1]}{int(found[2], 16) ^ 1:x};"

    edit(tmp_path / "qpolicy_layer0.v", r"(block0 <= \d+'h)([0-9a-f]+);", flip)
    assert layers(network, tmp_path, manifest)[0].dots().wrong == 1


def test_a_word_that_stands_twice_in_block_ram_is_refused(tmp_path):
    # The first one counts. Put together with the second, all of it would seem to be there.
    network, manifest = write(tmp_path, *SHAPES["weights in block RAM"])
    edit(tmp_path / "qpolicy_layer0.v", r"( +6'd1: block0 <= )", r"\g<1>36'h0;\n\g<1>")
    with pytest.raises(PolicyError, match="have an address twice"):
        layers(network, tmp_path, manifest)


@pytest.mark.parametrize("register", ["r0", "block0"])
def test_a_register_that_cuts_a_bit_off_is_refused(register, tmp_path):
    network, manifest = write(tmp_path, *SHAPES["weights in block RAM"])

    def narrower(found):
        return f"[{int(found[1]) - 1}:0] {register};"

    edit(tmp_path / "qpolicy_layer0.v", rf"\[(\d+):0\] {register};", narrower)
    with pytest.raises(PolicyError, match="of another width"):
        layers(network, tmp_path, manifest)


def test_a_word_that_is_not_passed_on_as_it_is_is_refused(tmp_path):
    network, manifest = write(tmp_path, *SHAPES["weights in block RAM"])
    edit(tmp_path / "qpolicy_layer0.v", r"<= block0;", "<= ~block0;")
    with pytest.raises(PolicyError, match="have a block that is not in the word"):
        layers(network, tmp_path, manifest)


def test_a_threshold_that_the_policy_does_not_have_is_found(unrolled):
    folder, network, manifest = unrolled
    row = network.thresholds[0][2].copy()
    network.thresholds[0][2] = np.sort(row - 1)
    found = outcomes(layers(network, folder, manifest)[:1], folder / "scratch")
    assert found[formal.Proof("tail", 0, 2, 1)] == "refuted"


def test_verilog_of_another_hand_is_refused(unrolled):
    folder, network, manifest = unrolled
    edit(folder / "qpolicy_layer0.v", r"assign sum\[", "assign  sum[")
    with pytest.raises(PolicyError, match="no sum of the known form"):
        layers(network, folder, manifest)


def test_a_sum_that_is_too_narrow_is_found(unrolled):
    folder, network, manifest = unrolled
    made = layers(network, folder, manifest)
    for weight in network.weights:
        weight[:] = np.where(weight == 0, 1, weight)
    network.weights[0][:] = 1
    part = bounds.check_bounds(network, [layer.text for layer in made], manifest.layers)
    assert not part.passed


@pytest.mark.parametrize(("constant", "outcome"), [("4'd0", "proved"), ("4'd1", "refuted")])
def test_a_temporary_folder_may_have_a_space(tmp_path, constant, outcome):
    pytest.importorskip("pyosys")
    folder = tmp_path / "t m ü"
    folder.mkdir()
    source = folder / "sum.v"
    source.write_text("module sum(input [3:0] x, output [3:0] y); assign y = x + x; endmodule")
    miter = (
        "module miter(input [3:0] x, output ok); wire [3:0] y; sum s(x, y); "
        f"assign ok = y == (x << 1) + {constant}; endmodule"
    )
    group = {"files": [str(source)], "top": "sum", "free": [], "shown": [], "timeout": 30}
    jobs, results = folder / "jobs.json", folder / "results.jsonl"
    jobs.write_text(json.dumps([{**group, "miters": [["a", miter]]}]))
    command = [sys.executable, "-m", "qpolicy_ros.verify.yosys_worker", str(jobs), str(results)]
    subprocess.run(command, check=True, env={**os.environ, "TMPDIR": str(folder)})
    assert json.loads(results.read_text()) == ["a", outcome]
