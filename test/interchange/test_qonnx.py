"""Run by the qonnx package, the exported graphs compute the engine's codes and actions."""

from __future__ import annotations

import dataclasses
import json
import sys

import numpy as np
import onnx
import pytest
import torch
from actor_builders import random_actor, random_statistics
from odd_policies import ODD, SHIPPED, finite_extremes, odd_artifact
from policy_builders import random_artifact, random_network, random_observations
from rtl_checks import corner_codes, expected_codes

from qpolicy_ros.cli.main import main
from qpolicy_ros.interchange.outgoing import (
    QonnxModel,
    compare,
    input_edges,
    quant_model,
    threshold_model,
)
from qpolicy_ros.interchange.outgoing.onnx_graph import integer_type
from qpolicy_ros.interchange.outgoing.qonnx_quant import fit_lines
from qpolicy_ros.policy import PolicyError, find_policy, load_policy, make_artifact, save_policy
from qpolicy_ros.policy.bounds import network_bounds
from qpolicy_ros.verify.observations import corners
from qpolicy_training.quant.export import export_network
from qpolicy_training.quant.quant_actor import ActorSpec, set_range


def observations_for(network, count):
    inputs = network.mean.size
    rows = [input_edges(network), corners(network), finite_extremes(inputs)]
    return np.concatenate([*rows, random_observations(2, count, inputs)])


def with_network(network):
    """An artifact of ``network`` with a random baseline."""
    inputs, outputs = network.mean.size, len(network.table)
    base = random_artifact(0, inputs, (4,), outputs)
    goldens = np.zeros((1, inputs), np.float32)
    return make_artifact(base.contract, base.baseline, network, {}, goldens)


def trained(spec, seed=2):
    """An artifact of a random actor: its thresholds are steps of lines."""
    ones, zeros = np.ones(spec.actions), np.zeros(spec.actions)
    mean, std = random_statistics(spec.observations)
    return with_network(export_network(random_actor(spec, seed), mean, std, ones, zeros))


ACTORS = {
    "2 bits": ActorSpec(5, 3, (7, 1), 3, 2, 8),
    "3 bits": ActorSpec(17, 6, (64, 64), 8, 3, 8),
    "5 bits": ActorSpec(5, 3, (16,), 5, 5, 5),
    "8 bits": ActorSpec(5, 3, (16, 9), 8, 8, 8),
}


def assert_equal(found):
    assert found
    assert not any(found.values()), found


@pytest.mark.parametrize("name", ODD)
def test_thresholds_of_odd_shapes(name):
    artifact = odd_artifact(name)
    found = compare(
        threshold_model(artifact), artifact.network, observations_for(artifact.network, 500)
    )
    assert set(found) == {f"codes_{i}" for i in range(len(artifact.network.weights) + 1)} | {
        "action"
    }
    assert_equal(found)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_shipped_policy(file, full):
    artifact = load_policy(file)
    observations = np.concatenate(
        [
            artifact.golden.observations,
            observations_for(artifact.network, 10_000 if full else 200),
        ]
    )
    assert_equal(compare(threshold_model(artifact), artifact.network, observations))
    assert_equal(compare(quant_model(artifact), artifact.network, observations))


@pytest.mark.parametrize("name", ACTORS)
def test_quants_of_trained_shapes(name):
    artifact = trained(ACTORS[name])
    found = compare(
        quant_model(artifact), artifact.network, observations_for(artifact.network, 500)
    )
    assert_equal(found)


def test_quants_at_corner_codes_give_the_contract_s_codes():
    artifact = trained(ACTORS["3 bits"])
    codes = corner_codes(artifact.network, 500)
    tensors = QonnxModel(quant_model(artifact)).run(codes)
    assert np.array_equal(tensors["codes_3"], expected_codes(artifact.network, codes))


def test_input_ties_round_half_to_even():
    network = dataclasses.replace(
        random_network(0, 4, input_bits=4), mean=np.zeros(4, "f4"), gain=np.ones(4, "f4")
    )
    ties = np.arange(-9, 9, dtype=np.float32)[:, None] + np.float32([0.5, 0.0, -0.5, 0.25])
    tensors = QonnxModel(threshold_model(with_network(network))).run(ties)
    assert np.array_equal(tensors["codes_0"], np.clip(np.rint(ties), -8, 7))


def test_a_code_that_no_finite_value_has_is_never_reached():
    gain = np.float32([1e-38, 1.0, 1e30, 2.0])
    network = dataclasses.replace(random_network(0, 4), gain=gain)
    found = compare(threshold_model(with_network(network)), network, observations_for(network, 100))
    assert_equal(found)


def test_one_threshold_off_by_one_is_found():
    artifact = odd_artifact("four layers")
    network = artifact.network
    rows = [layer.copy() for layer in network.thresholds]
    sums = np.bincount(rows[1].reshape(-1) - rows[1].min()).argmax() + rows[1].min()
    rows[1][rows[1] == sums] += 1
    changed = dataclasses.replace(network, thresholds=tuple(np.sort(layer) for layer in rows))
    found = compare(threshold_model(artifact), changed, observations_for(network, 500))
    assert found["codes_1"] == 0
    assert found["codes_2"] > 0


def test_lines_keep_every_step_and_meet_no_tie():
    network = trained(ACTORS["8 bits"]).network
    for index, rows in enumerate(network.thresholds):
        low, high = network_bounds(network)[index]
        lines = fit_lines(rows, low, high, 0)
        for neuron in range(0, len(rows), 3):
            sums = np.arange(low[neuron], high[neuron] + 1)
            finer = lines.scale_places - lines.offset_places
            value = int(lines.scale[neuron]) * sums + (int(lines.offset[neuron]) << finer)
            twice, unit = 2 * value, 2 << lines.scale_places
            inside = (twice > 0) & (twice < rows.shape[1] * unit)
            assert (twice[inside] % unit != unit // 2).all()
            codes = np.clip((twice + unit // 2) // unit, 0, rows.shape[1])
            assert np.array_equal(codes, np.searchsorted(rows[neuron], sums, side="right"))


def test_thresholds_that_no_line_steps_at_are_refused():
    with pytest.raises(PolicyError, match=r"threshold\.0, neuron 0: no line.*--format qonnx"):
        quant_model(odd_artifact("four layers"))


def test_ties_of_powers_of_two_are_refused_as_quants_and_exact_as_thresholds():
    # The thresholds are 3, 6, 11, 14, 19, 22, 27: half to even at every odd multiple of 2.
    actor = random_actor(ActorSpec(2, 1, (1,), 8, 3, 8))
    with torch.no_grad():
        actor.layers[0].weight.copy_(torch.tensor([[1.0, 3.0]]))
        actor.layers[0].bias.zero_()
    for quantiser, largest in zip(actor.quantisers(), (128.0, 28.0, 1.0), strict=True):
        set_range(quantiser, largest, power_of_two=False)
    network = export_network(actor, np.zeros(2), np.ones(2), np.ones(1), np.zeros(1))
    artifact = with_network(network)
    assert_equal(compare(threshold_model(artifact), network, observations_for(network, 500)))
    with pytest.raises(PolicyError, match="no line"):
        quant_model(artifact)


def test_sums_beyond_float32_are_refused():
    network = random_network(0, 1100, (4,), 2, 8, 8, 8, extreme=True)
    with pytest.raises(PolicyError, match=r"integer\.weight\.0: sums reach \d+"):
        threshold_model(with_network(network))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 3, "UINT2"),
        (0, 4, "UINT3"),
        (0, 0, "UINT1"),
        (-1, 0, "INT2"),
        (-4, 3, "INT3"),
        (-5, 3, "INT4"),
        (-4, 4, "INT4"),
    ],
)
def test_integer_types_are_the_smallest(low, high, expected):
    assert integer_type(low, high) == expected


@pytest.mark.parametrize("form", ["qonnx", "qonnx-quant"])
def test_the_command_writes_a_valid_file(form, tmp_path, capsys):
    out = tmp_path / "hopper.onnx"
    arguments = ["export", "hopper/paper", "--format", form, "--out", str(out), "--json"]
    assert main([*arguments, "--observations", "50"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["equal"]
    assert report["observations_compared"] > 50
    model = onnx.load(out)
    onnx.checker.check_model(model)
    artifact = load_policy(find_policy("hopper/paper"))
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties["qpolicy.function_hash"] == artifact.function_hash
    sizes = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    assert sizes == [1, 11]


def test_an_fp32_policy_is_refused_by_name(tmp_path, capsys):
    source = str(find_policy("hopper/fp32"))
    assert main(["export", source, "--format", "qonnx", "--out", str(tmp_path / "a")]) == 2
    assert "no integer network" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option",
    [["--symbol", "a"], ["--baseline", "b"], ["--observations", "0"], ["--seed", "-1"]],
)
def test_a_wrong_option_is_named(option, tmp_path, capsys):
    arguments = ["export", "hopper/paper", "--format", "qonnx", "--out", str(tmp_path / "a")]
    assert main([*arguments, *option]) == 2
    assert option[0] in capsys.readouterr().err


@pytest.mark.parametrize("package", ["onnx", "qonnx"])
def test_a_missing_package_is_named(package, tmp_path, capsys, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    out = tmp_path / "a.onnx"
    assert main(["export", "hopper/paper", "--format", "qonnx", "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert f"{package} is not installed; pip install 'qpolicy_ros[qonnx]'" in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_a_file_that_cannot_be_written_is_named(tmp_path, capsys):
    out = tmp_path / "missing" / "a.onnx"
    arguments = ["export", "hopper/paper", "--format", "qonnx", "--out", str(out)]
    assert main([*arguments, "--observations", "1"]) == 2
    assert f"{out}: file: cannot be written" in capsys.readouterr().err


def test_a_difference_is_reported_and_nothing_written(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("qpolicy_ros.interchange.outgoing.compare", lambda *_: {"codes_1": 3})
    policy, out = tmp_path / "toy.safetensors", tmp_path / "toy.onnx"
    save_policy(random_artifact(), policy)
    assert main(["export", str(policy), "--format", "qonnx", "--out", str(out)]) == 1
    assert "not written: {'codes_1': 3}" in capsys.readouterr().out
    assert not out.exists()
