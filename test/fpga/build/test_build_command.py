"""`qpolicy fpga build` and `verify --build`: what a wrong call is answered with."""

from __future__ import annotations

import pytest
from policy_builders import random_artifact

from qpolicy_ros.cli.main import main
from qpolicy_ros.policy import save_policy


@pytest.fixture
def policy(tmp_path):
    artifact = random_artifact(3, 3, (4,), 2, input_bits=3, core_bits=2, output_bits=4)
    save_policy(artifact, tmp_path / "tiny.safetensors")
    return str(tmp_path / "tiny.safetensors")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--board", "ulx3s"], "'ulx3s' is none; did you mean ulx3s-"),
        (["--board", "ulx3s-25f", "--pin", "rx"], "--pin: 'rx'; give SIGNAL=PIN"),
        (["--board", "ulx3s-25f", "--pin", "rx=L4"], "L4 is used twice"),
        (["--board", "ulx3s-25f", "--seeds", "0"], "seeds: 0; give 1 to 100"),
        (["--board", "ulx3s-25f", "--clock-mhz", "1e4"], "too fast"),
        (["--board", "arty-a7-35t"], "neither Vivado nor nextpnr-xilinx"),
    ],
)
def test_a_wrong_build_is_one_line_and_makes_nothing(
    policy, tmp_path, capsys, monkeypatch, options, says
):
    pytest.importorskip("pyosys")
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("qpolicy_fpga.build.toolbox.find", lambda name: (name, name))
    if "arty" in options[1]:
        monkeypatch.setattr("qpolicy_fpga.build.toolbox.is_there", lambda *_: False)
    assert main(["fpga", "build", policy, "--out", str(tmp_path / "out"), *options]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if "rror" in line]
    assert len(error) == 1
    assert says in error[0]
    assert not list(tmp_path.glob("out/*.v"))


def test_a_full_precision_policy_has_nothing_to_build(tmp_path, capsys):
    artifact = random_artifact(3, 3, (4,), 2, integer=False)
    save_policy(artifact, tmp_path / "fp32.safetensors")
    arguments = [
        str(tmp_path / "fp32.safetensors"),
        "--board",
        "icebreaker",
        "--out",
        str(tmp_path),
    ]
    assert main(["fpga", "build", *arguments]) == 2
    assert "quantise the policy first" in capsys.readouterr().err


def test_a_build_of_several_policies_is_refused(capsys):
    assert main(["verify", "hopper", "ant", "--quick", "--build", "out"]) == 2
    assert "belongs to one policy" in capsys.readouterr().err
