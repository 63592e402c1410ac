"""The C header computes the engines' codes and actions, bit for bit."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess

import numpy as np
import pytest
from odd_policies import ODD, SHIPPED, finite_extremes, odd_artifact
from policy_builders import make_contract, random_artifact, random_network, random_observations
from rtl_checks import corner_codes, expected_codes

from qpolicy_ros.cli.main import main
from qpolicy_ros.interchange.outgoing import CompiledHeader, c_header
from qpolicy_ros.policy import (
    ObservationError,
    PolicyError,
    find_policy,
    load_policy,
    make_artifact,
    make_engine,
    save_policy,
)


def check(artifact, count, *, packed=False):
    network = artifact.network
    header = CompiledHeader(artifact, packed=packed)
    codes = corner_codes(network, count)
    assert np.array_equal(header.infer_batch(codes), expected_codes(network, codes))
    inputs = network.mean.size
    observations = np.concatenate([random_observations(2, count, inputs), finite_extremes(inputs)])
    engine = make_engine(network)
    quantised, actions = header.act_batch(observations)
    assert np.array_equal(quantised, engine.codes_batch(observations)[0])
    assert np.array_equal(actions, engine.act_batch(observations))


@pytest.mark.parametrize("name", ODD)
def test_odd_shapes(name):
    check(odd_artifact(name), 2000)


@pytest.mark.parametrize("name", ODD)
def test_packed_weights_compute_the_same(name):
    check(odd_artifact(name), 500, packed=True)


def test_packed_weights_take_their_bits(tmp_path, capsys):
    artifact = random_artifact(0, 11, (20,), 3)
    save_policy(artifact, tmp_path / "a.safetensors")
    out, bits = tmp_path / "a.h", artifact.network.core_bits
    arguments = ["export", str(tmp_path / "a.safetensors"), "--out", str(out)]
    assert main([*arguments, "--format", "c", "--packed"]) == 0
    row = -(-11 * bits // 8)
    assert f"_weights0[20 * {row} + 1]" in out.read_text()
    capsys.readouterr()
    assert main([*arguments, "--format", "qonnx", "--packed"]) == 2
    assert "--packed: qonnx has its own way; give --format c" in capsys.readouterr().err


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_shipped_policy(file, full):
    check(load_policy(file), 200_000 if full else 5000)


def test_input_codes_round_half_to_even():
    network = dataclasses.replace(
        random_network(0, 4, input_bits=4), mean=np.zeros(4, "f4"), gain=np.ones(4, "f4")
    )
    base = random_artifact(0, 4)
    artifact = make_artifact(base.contract, base.baseline, network, {}, np.zeros((1, 4), "f4"))
    ties = np.arange(-9, 9, dtype=np.float32)[:, None] + np.float32([0.5, 0.0, -0.5, 0.25])
    quantised, _ = CompiledHeader(artifact).act_batch(ties)
    assert np.array_equal(quantised, np.clip(np.rint(ties), -8, 7))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused(value):
    header = CompiledHeader(random_artifact(0, 4))
    with pytest.raises(ObservationError, match="value 2"):
        header.act(np.float32([0, 0, value, 0]))


def test_the_command_writes_the_header(tmp_path, capsys):
    policy, out = tmp_path / "toy.safetensors", tmp_path / "toy.h"
    artifact = random_artifact(contract=make_contract(task="toy-2"))
    save_policy(artifact, policy)
    assert main(["export", str(policy), "--format", "c", "--out", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["symbol"] == "qpolicy_toy_2"
    assert out.read_text() == c_header(artifact)


@pytest.mark.parametrize("name", ["2fast", "a-b", "übung", "a b"])
def test_a_symbol_that_c_does_not_know_is_refused(name):
    with pytest.raises(PolicyError, match="not a C identifier"):
        c_header(random_artifact(), name)


def test_an_fp32_policy_is_refused_by_name(tmp_path, capsys):
    source = str(find_policy("hopper/fp32"))
    assert main(["export", source, "--format", "c", "--out", str(tmp_path / "a.h")]) == 2
    assert "no integer network" in capsys.readouterr().err


def test_the_source_is_not_overwritten(tmp_path, capsys):
    source = tmp_path / "a.safetensors"
    source.write_bytes(b"policy")
    assert (
        main(["export", str(source), "--format", "c", "--out", f"{tmp_path}/./a.safetensors"]) == 2
    )
    assert "is the source itself; give another file" in capsys.readouterr().err
    assert source.read_bytes() == b"policy"


def test_a_symbol_for_a_policy_file_is_refused(tmp_path, capsys):
    assert main(["export", "x", "--symbol", "a", "--out", str(tmp_path / "a")]) == 2
    assert "--symbol" in capsys.readouterr().err


def compiled(folder, *lines):
    """Compile a unit of these lines; return what the compiler says, empty for success."""
    unit = folder / "unit.c"
    unit.write_text("\n".join(lines) + "\nint main(void) { return 0; }\n")
    done = subprocess.run(
        ["cc", "-std=c99", "-Wall", "-Wno-unused-function", "-fsyntax-only", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_two_policies_in_one_unit_both_work_or_stop_the_compiler(tmp_path):
    one, other = random_artifact(1, 4, (5,), 2), random_artifact(2, 4, (5,), 2)
    (tmp_path / "one.h").write_text(c_header(one))
    (tmp_path / "other.h").write_text(c_header(other))
    (tmp_path / "renamed.h").write_text(c_header(other, "another"))
    assert compiled(tmp_path, '#include "one.h"', '#include "one.h"') == ""
    assert compiled(tmp_path, '#include "one.h"', '#include "renamed.h"') == ""
    says = compiled(tmp_path, '#include "one.h"', '#include "other.h"')
    assert "export one of them with another --symbol" in says
