"""`qpolicy info`: the keys that scripts rely on, and the figures."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from policy_builders import make_contract, random_baseline, random_network, random_observations

from qpolicy_ros.cli import info
from qpolicy_ros.policy import PolicyError, make_artifact, save_policy

RETURNS = {"integer": {"mean": 2500.5, "std": 12.25, "episodes": 100}}


@pytest.fixture
def files(tmp_path):
    """A policy with a network and one without."""
    for name, network in (("paper", random_network(inputs=20)), ("fp32", None)):
        artifact = make_artifact(
            make_contract(20, 2),
            random_baseline(inputs=20),
            network,
            {"command": "qpolicy export", "seed": 3, "returns": RETURNS},
            random_observations(0, 3, 20),
        )
        save_policy(artifact, tmp_path / f"{name}.safetensors")
    return tmp_path


def facts(path, capsys):
    assert info.main(info.Args(str(path), json=True)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    return json.loads(lines[0])


def test_json_of_an_integer_policy(files, capsys):
    path = files / "paper.safetensors"

    found = facts(path, capsys)

    expected = {
        "task": "toy",
        "hidden": [8, 8],
        "b_in": 4,
        "b_core": 3,
        "b_out": 5,
        "weights": 20 * 8 + 8 * 8 + 8 * 2,
        "bytes": path.stat().st_size,
        "returns": RETURNS,
    }
    assert {key: found[key] for key in expected} == expected
    assert len(found["function_hash"]) == len(found["file_hash"]) == 64


def test_json_of_an_fp32_policy_has_no_bits(files, capsys):
    found = facts(files / "fp32.safetensors", capsys)

    assert [found["b_in"], found["b_core"], found["b_out"]] == [None, None, None]
    assert found["hidden"] == [8, 8]


@pytest.mark.parametrize(
    "text",
    [
        "toy (no simulation)",
        "10 ms (100 Hz)",
        "20: value_0, value_1",
        "and 12 more",
        "motor_1 [-1, 1]",
        "20-8-8-2",
        "input 4, core 3, output 5",
        "240 of 3 bits (90 bytes packed)",
        "240 multiply-accumulates an action",
        "integer mean      2500.5",
        "qpolicy export",
    ],
)
def test_report_for_a_reader(files, capsys, text):
    info.main(info.Args(str(files / "paper.safetensors")))

    assert text in capsys.readouterr().out


def test_report_of_an_fp32_policy_says_so(files, capsys):
    info.main(info.Args(str(files / "fp32.safetensors")))

    assert "FP32 only; no integer network" in capsys.readouterr().out


def test_bad_file_is_an_error(files):
    path = files / "paper.safetensors"
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(PolicyError, match="truncated"):
        info.main(info.Args(str(path)))


def test_importing_it_needs_neither_torch_nor_a_simulator():
    code = (
        "import sys, qpolicy_ros.cli.info\n"
        "heavy = {'torch', 'brevitas', 'gymnasium', 'mujoco', 'rclpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_numpy_numbers_in_provenance_are_refused_early():
    with pytest.raises(PolicyError, match="provenance"):
        make_artifact(
            make_contract(),
            random_baseline(),
            None,
            {"seed": np.int64(3)},
            random_observations(0, 1, 4),
        )
