"""Networks that no policy file can hold are run as they are, their memory kept."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
from torch import nn  # noqa: E402

from qpolicy_ros.cli.main import main  # noqa: E402
from qpolicy_ros.common.errors import InputError  # noqa: E402
from qpolicy_ros.interchange.incoming.opaque import load_teacher  # noqa: E402

INPUTS, OUTPUTS = 5, 2
CONTRACT = """
period: 0.02
joints: [hip, knee]
action: {scale: 0.5, offset: [0.1, -0.2], clip: [-2, 2]}
observation:
  - {source: "imu.angular_velocity:*"}
  - {source: "joint_states.position:*"}
"""


class Memory(nn.Module):
    """A recurrent policy as rsl_rl exports it to TorchScript."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.head = nn.GRU(INPUTS, 8), nn.Linear(8, OUTPUTS)
        self.register_buffer("state", torch.zeros(1, 1, 8))

    def forward(self, x):
        y, state = self.rnn(x.unsqueeze(0), self.state)
        self.state[:] = state
        return self.head(y.squeeze(0))

    @torch.jit.export
    def reset(self):
        self.state[:] = 0.0


class Explicit(nn.Module):
    """The same with its state as input and output, as it goes to ONNX."""

    def __init__(self, memory):
        super().__init__()
        self.rnn, self.head = memory.rnn, memory.head

    def forward(self, obs, h_in):
        y, h_out = self.rnn(obs.unsqueeze(0), h_in)
        return self.head(y.squeeze(0)), h_out


@pytest.fixture(params=["onnx", "torchscript"])
def source(request, tmp_path):
    memory = Memory().eval()
    if request.param == "torchscript":
        torch.jit.script(memory).save(str(tmp_path / "a.pt"))
        return tmp_path / "a.pt"
    torch.onnx.export(
        Explicit(memory),
        (torch.zeros(1, INPUTS), torch.zeros(1, 1, 8)),
        str(tmp_path / "a.onnx"),
        input_names=["obs", "h_in"],
        output_names=["actions", "h_out"],
        dynamo=False,
    )
    return tmp_path / "a.onnx"


def written(source, *more):
    """Exit status; the contract and the teacher's file lie beside the source."""
    (source.parent / "contract.yaml").write_text(CONTRACT)
    contract, out = source.parent / "contract.yaml", source.parent / "teacher.json"
    arguments = [str(source), "--contract", str(contract), "--out", str(out), "--teacher-only"]
    return main(["import", *arguments, *more])


def test_its_state_goes_on_until_a_reset(source):
    assert written(source) == 0
    teacher = load_teacher(source.parent / "teacher.json")
    observations = np.random.default_rng(0).normal(size=(10, INPUTS)).astype(np.float32)
    memory = Memory().eval()
    with torch.no_grad():
        expected = np.array(
            [memory(torch.from_numpy(row[None]))[0].numpy() for row in observations]
        )
    expected = expected * 0.5 + [0.1, -0.2]
    np.testing.assert_allclose(teacher.act_sequence(observations), expected, atol=1e-5)
    again = teacher.act(observations[0])
    assert np.abs(again - expected[0]).max() > 1e-4  # it remembers the episode
    teacher.reset()
    np.testing.assert_allclose(teacher.act(observations[0]), expected[0], atol=1e-5)


def test_the_command_says_what_it_wrote(source, capsys):
    assert written(source, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["inputs"], facts["outputs"]) == (INPUTS, OUTPUTS)


def test_without_the_option_it_is_refused(source, capsys):
    (source.parent / "contract.yaml").write_text(CONTRACT)
    out = source.parent / "a.safetensors"
    assert main(["import", str(source), "--out", str(out)]) == 2
    assert "GRU" in capsys.readouterr().err
    assert not out.exists()


def test_another_source_or_a_wrong_contract_is_refused(source, capsys):
    assert written(source) == 0
    fields = json.loads((source.parent / "teacher.json").read_text())
    fields["sha256"] = "0" * 64
    (source.parent / "other.json").write_text(json.dumps(fields))
    with pytest.raises(InputError, match="is not the file that was imported"):
        load_teacher(source.parent / "other.json")
    (source.parent / "wrong.yaml").write_text(CONTRACT.replace("angular_velocity", "orientation"))
    contract, out = source.parent / "wrong.yaml", source.parent / "c.json"
    arguments = [str(source), "--contract", str(contract), "--out", str(out), "--teacher-only"]
    assert main(["import", *arguments]) == 2
    assert "cannot take the contract's 6 values" in capsys.readouterr().err
    assert not out.exists()
