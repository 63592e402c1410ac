"""The page "Your own policy" as a newcomer types it: a small policy of ours as an ONNX file."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import onnx
import pytest
from balancer import CONTRACT, LIMIT, balancer, baseline, write_balancer
from onnx import TensorProto, helper, numpy_helper
from robot_bags import record_walk

from qpolicy_ros.cli.main import main as command
from qpolicy_ros.demo import show
from qpolicy_ros.policy import load_policy, make_engine

PAGE = Path(__file__).parents[2] / "docs" / "own-policy.md"
# The page's commands take minutes: these are enough for a robot on two wheels.
QUICK = (
    "--hidden 24 24 --b-core 4 --distill.rounds 3 --distill.round-steps 1200 "
    "--distill.round-updates 150 --distill.evaluate-last 1 --distill.finalists 1 --distill.walks 2"
)


def onnx_file(path: Path) -> None:
    """Write the balancer's network as somebody else's tool would."""
    network = baseline()
    nodes, tensors, last = [], [], "obs"
    for index, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        tensors += [
            numpy_helper.from_array(weight, f"w{index}"),
            numpy_helper.from_array(bias, f"b{index}"),
        ]
        inputs = [last, f"w{index}", f"b{index}"]
        nodes.append(helper.make_node("Gemm", inputs, [f"h{index}"], transB=1))
        last = f"h{index}"
        if index == 0:
            nodes.append(helper.make_node("Relu", [last], ["relu"]))
            last = "relu"
    for name, value in (("low", -LIMIT), ("high", LIMIT)):
        tensors.append(helper.make_tensor(name, TensorProto.FLOAT, [], [value]))
    nodes.append(helper.make_node("Clip", [last, "low", "high"], ["action"]))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])
        for name, size in (("obs", 8), ("action", 2))
    ]
    graph = helper.make_graph(nodes, "policy", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


def commands() -> list[str]:
    """The page's first walk-through, one command a line."""
    section = PAGE.read_text(encoding="utf-8").split("## Three ways from here")[1]
    block = re.search(r"```\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return block.group(1).splitlines()


@pytest.fixture
def newcomer(tmp_path, monkeypatch):
    """A folder with what a newcomer has in hand."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path / "runs"))
    onnx_file(tmp_path / "policy.onnx")
    (tmp_path / "contract.yaml").write_text(CONTRACT)
    Path(write_balancer(tmp_path)).rename("robot.xml")
    return tmp_path


def test_the_pages_commands_do_what_they_say(newcomer, capsys):
    """Import, walk, doctor, quantise; verify and fpga generate are the tutorial's."""
    typed = [line for line in commands() if "--bag" not in line]
    typed = [line for line in typed if line.split()[1] not in ("verify", "fpga")]
    assert [line.split()[1] for line in typed] == ["import", "walk", "doctor", "quantize", "walk"]
    for line in typed:
        quick = f" {QUICK}" if " quantize " in line else ""
        assert command(shlex.split(line + quick)[1:]) == 0, (line, capsys.readouterr())
    student = load_policy(newcomer / "mine-3bit.safetensors")
    assert student.network is not None
    assert student.contract.commands == load_policy(newcomer / "mine.safetensors").contract.commands


def test_the_page_names_a_recording_of_the_same_policy(newcomer, capsys):
    line = next(line for line in commands() if "--bag" in line)
    assert command(shlex.split(commands()[0])[1:]) == 0
    record_walk(newcomer / "my_bag", balancer(), "robot.xml", 41.0)
    assert command(shlex.split(f"{line} {QUICK}")[1:]) == 0
    assert "expected action error" in capsys.readouterr().out


def sb3_commands() -> list[str]:
    """The walk-through of a Stable-Baselines3 file."""
    section = PAGE.read_text(encoding="utf-8").split("### From Stable-Baselines3")[1]
    block = re.search(r"```\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return block.group(1).splitlines()


def test_a_stable_baselines3_file_goes_the_pages_way(tmp_path, monkeypatch, capsys):
    """A policy that PPO trained here, from its zip to its Verilog and its C header."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path / "runs"))
    shutil.copy(PAGE.parents[1] / "config" / "imported" / "double_pendulum.zip", tmp_path)
    few = (
        "--distill.rounds 3 --distill.round-steps 500 --distill.round-updates 60 "
        "--distill.evaluate-episodes 1 --episodes 1 --b-core 4"
    )
    typed = sb3_commands()
    verbs = [line.split()[1] for line in typed]
    assert verbs == ["import", "evaluate", "quantize", "evaluate", "fpga", "export"]
    said = {}
    for line in typed:
        quick = line.replace("--episodes 3", "--episodes 1")
        if " quantize " in line:
            quick = f"{line.split(' --distill')[0]} --out pendulum-3bit.safetensors {few}"
        assert command(shlex.split(quick)[1:]) == 0, (line, capsys.readouterr())
        said[line] = capsys.readouterr().out
    assert re.search(r"93[56]\d\.\d ± 0", said[typed[1]]), said[typed[1]]
    student = load_policy(tmp_path / "pendulum-3bit.safetensors")
    assert student.baseline.steps[-1][0] == "clip"
    assert "double_pendulum.zip" in str(load_policy(tmp_path / "pendulum.safetensors").provenance)
    assert "_weight(const uint8_t *row" in (tmp_path / "pendulum.h").read_text()


def test_the_demo_s_second_scene_is_that_policy():
    file = PAGE.parents[1] / "config" / "imported" / "double_pendulum.safetensors"
    scene = load_policy(file)
    assert show._files(())[1] == file
    assert scene.network is not None
    assert scene.provenance["teacher_provenance"]["source"] == "double_pendulum.zip"
    engine = make_engine(scene.network)
    golden = scene.golden
    assert (engine.act_batch(golden.observations) == golden.actions).all()
