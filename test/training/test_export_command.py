"""The module's file and `qpolicy export`."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.numpy
import torch
from actor_builders import random_actor, random_statistics
from policy_builders import make_contract, random_artifact

from qpolicy_ros.cli.export import Args, main
from qpolicy_ros.policy import PolicyError, load_policy, make_artifact, make_engine, save_policy
from qpolicy_training.cli import export as cli_export
from qpolicy_training.quant.equality import Comparison
from qpolicy_training.quant.export import build_artifact
from qpolicy_training.quant.qat_file import QatPolicy, load_qat, qat_path, save_qat
from qpolicy_training.quant.quant_actor import ActorSpec, QuantActor
from qpolicy_training.quant.snapped import snap

SPEC = ActorSpec(4, 2, (16, 7), 6, 3, 8)


@pytest.fixture
def qat() -> QatPolicy:
    mean, std = random_statistics(4)
    observations = np.random.default_rng(1).normal(size=(8, 4)).astype(np.float32)
    return QatPolicy("toy", random_actor(SPEC), mean, std, observations, {"seed": 1})


@pytest.fixture
def baseline():
    return random_artifact(inputs=4, outputs=2, integer=False)


@pytest.fixture
def folder(tmp_path, qat, baseline):
    save_qat(qat, tmp_path / "paper.qat.safetensors")
    save_policy(baseline, tmp_path / "fp32.safetensors")
    return tmp_path


def test_module_survives_its_file(tmp_path, qat):
    save_qat(qat, tmp_path / "a.qat.safetensors")
    loaded = load_qat(tmp_path / "a.qat.safetensors")
    assert loaded.actor.spec == SPEC
    assert (loaded.task, loaded.provenance) == ("toy", {"seed": 1})
    x = torch.randn(100, 4)
    assert torch.equal(loaded.actor(x)[0], qat.actor(x)[0])
    for field in ("mean", "std", "observations"):
        assert np.array_equal(getattr(loaded, field), getattr(qat, field))
    assert [p.name for p in tmp_path.iterdir()] == ["a.qat.safetensors"]


def test_path_beside_the_policy():
    assert str(qat_path("config/hopper/paper.safetensors")) == "config/hopper/paper.qat.safetensors"


def test_module_in_its_statistics_phase_is_not_saved(tmp_path, qat):
    unfinished = QatPolicy("toy", QuantActor(SPEC), qat.mean, qat.std, qat.observations, {})
    with pytest.raises(PolicyError, match="statistics"):
        save_qat(unfinished, tmp_path / "a.qat.safetensors")
    assert not list(tmp_path.iterdir())


def rewrite(path, change_tensors=None, change_meta=None):
    with safetensors.safe_open(path, "np") as file:
        meta = json.loads(file.metadata()["qpolicy"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if change_tensors:
        change_tensors(tensors)
    if change_meta:
        change_meta(meta)
    safetensors.numpy.save_file(tensors, path, {"qpolicy": json.dumps(meta)})


@pytest.mark.parametrize(
    ("tensors", "meta", "message"),
    [
        (lambda t: t.pop("actor.weight.1"), None, "actor.weight.1: is missing"),
        (lambda t: t.update(mean=t["mean"][:2].copy()), None, "mean: float32 .2,., expected"),
        (lambda t: t.update({"actor.bias.0": np.full(16, np.nan, "f4")}), None, "not finite"),
        (None, lambda m: m.update(format="other"), "format: 'other'"),
        (None, lambda m: m["spec"].update(b_core=1), "spec: is not valid .b_core: 1 bits"),
        (None, lambda m: m["spec"].update(hidden=[10**9]), r"hidden\[0\]: 1000000000: an integer"),
        (None, lambda m: m["spec"].update(hidden=[4096]), "actor.weight.0: float32"),
        (None, lambda m: m["spec"].update(hidden=[16.0]), r"hidden\[0\]: 16.0: an integer"),
        (None, lambda m: m["spec"].update(hidden=[2] * 10**5), "a list of at most 16 widths"),
        (None, lambda m: m["spec"].update(hidden="16"), "a list of at most 16 widths"),
        (None, lambda m: m["spec"].update(b_in=True), "b_in: True: an integer"),
        (None, lambda m: m["spec"].update(power_of_two=1), "power_of_two: 1: true or false"),
        (None, lambda m: m["spec"].update(other=1), "spec: is not valid"),
        (None, lambda m: m.update(task="\ud800"), r"task: .* is not a name"),
        (None, lambda m: m.update(provenance=[]), "provenance: .* is not an object"),
        (None, lambda m: m.pop("spec"), "spec: is missing"),
    ],
)
def test_a_damaged_module_is_refused_by_file_and_field(folder, tensors, meta, message):
    path = folder / "paper.qat.safetensors"
    rewrite(path, tensors, meta)
    with pytest.raises(PolicyError, match=message) as error:
        load_qat(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_policy_file_is_not_a_module(folder):
    with pytest.raises(PolicyError, match="format: None"):
        load_qat(folder / "fp32.safetensors")


def test_a_module_file_is_not_a_policy(folder):
    with pytest.raises(PolicyError, match=r"paper\.qat\.safetensors"):
        load_policy(folder / "paper.qat.safetensors")


def test_build_artifact_computes_the_module(qat, baseline):
    artifact = build_artifact(qat.actor, qat.mean, qat.std, baseline, {"seed": 1}, qat.observations)
    codes = snap(qat.actor, qat.mean, qat.std).codes(qat.observations)[-1]
    assert np.array_equal(artifact.golden.codes, codes)
    assert artifact.contract == baseline.contract


def test_build_artifact_refuses_the_baseline_of_another_shape(qat):
    other = random_artifact(inputs=5, outputs=2)
    with pytest.raises(PolicyError, match="4 inputs and 2 outputs"):
        build_artifact(qat.actor, qat.mean, qat.std, other, {}, qat.observations)


def test_export_writes_a_policy_that_equals_the_module(folder, qat, capsys):
    out = folder / "paper.safetensors"
    assert main(Args(folder, out, observations=500, json=True)) == 0
    report = json.loads(capsys.readouterr().out)
    artifact = load_policy(out)
    assert report["equal"]
    assert report["function_hash"] == artifact.function_hash
    assert (report["hidden"], report["b_core"]) == ([16, 7], 3)
    assert set(report["mismatches"].values()) == {0}
    codes = make_engine(artifact.network).codes_batch(qat.observations)[-1]
    assert np.array_equal(codes, snap(qat.actor, qat.mean, qat.std).codes(qat.observations)[-1])


def test_export_says_in_words_what_it_compared(folder, capsys):
    assert main(Args(folder, folder / "paper.safetensors", observations=10)) == 0
    text = capsys.readouterr().out
    assert "every code equals the torch module" in text
    assert "ppm" in text


def test_export_writes_nothing_where_a_code_differs(folder, capsys, monkeypatch):
    difference = Comparison(1, {"hidden 0": 1})
    monkeypatch.setattr(cli_export, "compare_accumulators", lambda *_: difference)
    out = folder / "paper.safetensors"
    assert main(Args(folder, out, observations=10)) == 1
    assert not out.exists()
    assert "not written" in capsys.readouterr().out


def test_export_names_the_folder_that_holds_no_module(tmp_path):
    with pytest.raises(PolicyError, match="holds 0 files"):
        main(Args(tmp_path, tmp_path / "paper.safetensors"))


def test_export_refuses_the_baseline_of_another_task(folder, baseline):
    hopper = make_artifact(
        make_contract(4, 2, "hopper"), baseline.baseline, None, {}, baseline.golden.observations
    )
    save_policy(hopper, folder / "fp32.safetensors")
    with pytest.raises(PolicyError, match="policy of 'hopper', the module was trained for 'toy'"):
        main(Args(folder, folder / "paper.safetensors"))
