"""Networks that PyTorch wrote: TorchScript, torch.export, checkpoints; weights alone in .npz."""

from __future__ import annotations

import os

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch_states import INPUTS, OUTPUTS, WIDTHS, Runs, layers  # noqa: E402

from qpolicy_ros.common.errors import InputError  # noqa: E402
from qpolicy_ros.interchange.incoming.equality import compare  # noqa: E402
from qpolicy_ros.interchange.incoming.source import Options, read_source  # noqa: E402


class Exporter(nn.Module):
    """What rsl_rl exports: a normaliser and an actor."""

    def __init__(self, activation=nn.ELU):
        super().__init__()
        torch.manual_seed(0)
        self.actor = nn.Sequential(nn.Linear(INPUTS, 8), activation(), nn.Linear(8, OUTPUTS))
        self.register_buffer("mean", torch.randn(1, INPUTS))
        self.register_buffer("std", torch.rand(1, INPUTS) + 0.5)

    def forward(self, x):
        return self.actor((x - self.mean) / (self.std + 0.01))

    @torch.jit.export
    def reset(self):
        pass


class Gaussian(nn.Module):
    """A head for mean and spread, layer normalisation, tanh and a scale."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Sequential(nn.Linear(INPUTS, 8), nn.LayerNorm(8), nn.GELU())
        self.head = nn.Linear(8, 2 * OUTPUTS)
        self.register_buffer("scale", torch.tensor([1.0, 3.0]))

    def forward(self, x):
        mean, _ = torch.chunk(self.head(self.inner(x)), 2, dim=-1)
        return torch.tanh(mean) * self.scale + 0.5


class Recurrent(nn.Module):
    """A network with a memory."""

    def __init__(self):
        super().__init__()
        self.memory, self.head = nn.GRU(INPUTS, 8), nn.Linear(8, OUTPUTS)
        self.register_buffer("state", torch.zeros(1, 1, 8))

    def forward(self, x):
        y, state = self.memory(x.unsqueeze(0), self.state)
        self.state[:] = state
        return self.head(y.squeeze(0))


def scripted(module, path):
    torch.jit.script(module.eval()).save(str(path))
    return path


def traced(module, path):
    torch.jit.trace(module.eval(), torch.zeros(1, INPUTS)).save(str(path))
    return path


def exported(module, path):
    torch.export.save(torch.export.export(module.eval(), (torch.zeros(1, INPUTS),)), str(path))
    return path


@pytest.mark.parametrize("write", [scripted, traced, exported], ids=lambda write: write.__name__)
@pytest.mark.parametrize("module", [Exporter, Gaussian], ids=lambda module: module.__name__)
def test_a_module_is_read(write, module, tmp_path):
    suffix = "pt2" if write is exported else "pt"
    incoming = read_source(write(module(), tmp_path / f"a.{suffix}"))
    assert (incoming.width, incoming.outputs) == (INPUTS, OUTPUTS)
    assert compare(incoming, 200).holds


@pytest.mark.parametrize(
    "activation", [nn.ReLU, nn.LeakyReLU, nn.SELU, nn.SiLU, nn.Softplus, nn.Tanh, nn.ReLU6]
)
def test_an_activation_of_pytorch_is_known(activation, tmp_path):
    incoming = read_source(scripted(Exporter(activation), tmp_path / "a.pt"))
    assert compare(incoming, 100).holds


def test_a_memory_is_refused_by_its_name(tmp_path):
    with pytest.raises(InputError, match=r"aten::gru: is a GRU, which a policy file cannot hold"):
        read_source(scripted(Recurrent(), tmp_path / "a.pt"))


def test_torchscript_that_touches_files_is_not_run(tmp_path):
    class Evil(nn.Module):
        def forward(self, x):
            return x + torch.from_file("/tmp/qpolicy_evil", True, 4)

    path = scripted(Evil(), tmp_path / "a.pt")
    with pytest.raises(InputError, match="aten::from_file does more than compute"):
        read_source(path)
    assert not os.path.exists("/tmp/qpolicy_evil")  # noqa: PTH110


# Checkpoints


def rsl_rl_new():
    actor = layers("mlp", (0, 2, 4), WIDTHS)
    actor |= {
        "obs_normalizer._mean": torch.ones(1, INPUTS),
        "distribution.std_param": torch.ones(2),
    }
    actor["obs_normalizer._std"] = torch.full((1, INPUTS), 2.0)
    return {"actor_state_dict": actor, "critic_state_dict": {}, "iter": 7, "infos": None}


def rsl_rl_old():
    state = layers("actor", (0, 2, 4), WIDTHS) | layers("critic", (0, 2), [INPUTS, 4, 1])
    return {"model_state_dict": state | {"std": torch.ones(2)}, "iter": 7}


def clean_rl_ppo():
    return layers("actor_mean", (0, 2, 4), WIDTHS) | {"actor_logstd": torch.zeros(1, 2)}


def clean_rl_sac():
    state = layers("x", (1, 2, 3), WIDTHS)
    names = {"x.1": "fc1", "x.2": "fc2", "x.3": "fc_mean"}
    state = {names[key[:3]] + key[3:]: value for key, value in state.items()}
    return ({**state, "action_scale": torch.tensor([[2.0, 1.0]])}, {}, {})


@pytest.mark.parametrize(
    ("make", "kind", "activation", "last"),
    [
        (rsl_rl_new, "rsl_rl", "elu", "linear"),
        (rsl_rl_old, "rsl_rl", "elu", "linear"),
        (clean_rl_ppo, "CleanRL", "tanh", "linear"),
        (clean_rl_sac, "CleanRL", "relu", "tanh"),
    ],
)
def test_a_checkpoint_is_read(make, kind, activation, last, tmp_path):
    torch.save(make(), tmp_path / "model.pt")
    incoming = read_source(tmp_path / "model.pt")
    steps = [step[0] for step in incoming.network.steps]
    assert (incoming.kind, steps[1], steps[-1]) == (kind, activation, last)
    assert compare(incoming, 200).holds


def test_rsl_rl_s_normaliser_is_taken(tmp_path):
    torch.save(rsl_rl_new(), tmp_path / "model.pt")
    network = read_source(tmp_path / "model.pt").network
    assert network.mean == pytest.approx(1.0)
    assert network.std == pytest.approx(2.01)


def test_the_activation_of_the_run_s_own_configuration_is_taken(tmp_path):
    torch.save(rsl_rl_old(), tmp_path / "model.pt")
    (tmp_path / "params").mkdir()
    text = "policy: {activation: selu}\nnoise: !!python/tuple [1, 2]\n"
    (tmp_path / "params" / "agent.yaml").write_text(text)
    incoming = read_source(tmp_path / "model.pt")
    assert incoming.network.steps[1] == ("selu",)
    assert read_source(tmp_path / "model.pt", Options(activation="relu")).network.steps[1] == (
        "relu",
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"model_state_dict": {}, "x": Runs()}, r"holds code \(posix.mkdir\), which is not run"),
        (nn.Linear(2, 2), r"holds code \(torch.nn.modules.linear.Linear\), which is not run"),
        ({"a": torch.ones(2)}, "holds a: no actor that is known here"),
        (torch.ones(2), "holds a Tensor, not a state dictionary"),
        ({"memory_a.rnn.weight_ih_l0": torch.ones(2, 2)}, "memory_a.rnn: is a recurrent layer"),
        ({"cnn.0.weight": torch.ones(2, 2, 3, 3)}, "cnn.0: is a convolution"),
        (
            {"actor.0.weight": torch.ones(4, 3), "actor.2.weight": torch.ones(2, 5)},
            "actor.2: takes 5 values where 4 come",
        ),
    ],
)
def test_a_checkpoint_that_is_none_is_refused(content, text, tmp_path):
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(InputError, match=text):
        read_source(tmp_path / "model.pt")
    assert not os.path.exists("/tmp/qpolicy_evil_pickle")  # noqa: PTH110


# Weights alone


def npz(path, **changes):
    rng = np.random.default_rng(0)
    arrays = {
        "weight.0": rng.normal(size=(8, INPUTS)), "bias.0": rng.normal(size=8),
        "weight.1": rng.normal(size=(OUTPUTS, 8)), "bias.1": rng.normal(size=OUTPUTS),
        "activation": "silu", "output": "tanh",
        "mean": np.ones(INPUTS), "std": np.full(INPUTS, 2.0), "scale": np.array([2.0, 3.0]),
    }  # fmt: skip
    arrays |= changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def test_weights_in_npz_are_read(tmp_path):
    incoming = read_source(npz(tmp_path / "a.npz"))
    assert [step[0] for step in incoming.network.steps] == ["linear", "silu", "linear", "tanh"]
    assert incoming.network.scale.tolist() == [2.0, 3.0]
    assert compare(incoming, 200).holds


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"weight.0": None}, "takes|is missing|values"),
        ({"activation": None}, "activation: is missing: what is between the layers"),
        ({"activation": "maxout"}, "'maxout' is not known; give one of relu"),
        ({"output": "softmax"}, "'softmax' is not known"),
        ({"mean": np.ones(3), "std": np.ones(3)}, "mean: has 3 values, the network takes 6"),
        ({"bias.0": np.ones(3)}, "has 3 biases for 8"),
        ({"weight.0": np.array([Runs()], object)}, "has an array of objects"),
    ],
)
def test_weights_that_do_not_fit_are_refused(changes, text, tmp_path):
    with pytest.raises(InputError, match=text):
        read_source(npz(tmp_path / "a.npz", **changes))


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.pt", b"PK\x03\x04junk", "is a damaged zip file"),
        ("a.bin", b"hello, this is no policy", "is of no known format"),
        ("a.pt", b"", "is empty"),
        (
            "a.safetensors",
            b"x" * 20,
            "is no policy of another tool; a policy file is served as it is",
        ),
    ],
)
def test_what_is_none_of_these_is_refused(name, content, text, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=text):
        read_source(tmp_path / name)
