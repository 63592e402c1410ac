"""Models that Stable-Baselines3 saved, and the statistics of its VecNormalize."""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch_states import INPUTS, OUTPUTS, WIDTHS, Runs, layers  # noqa: E402

from qpolicy_ros.common.errors import InputError  # noqa: E402
from qpolicy_ros.interchange.incoming.equality import compare  # noqa: E402
from qpolicy_ros.interchange.incoming.source import read_source  # noqa: E402


def box(low, high):
    """A space as Stable-Baselines3's JSON says it."""
    state = {"low": np.array(low, np.float32), "high": np.array(high, np.float32)}
    return {
        ":type:": "<class 'gymnasium.spaces.box.Box'>",
        ":serialized:": base64.b64encode(pickled("gymnasium.spaces.box", "Box", state)).decode(),
        "low": "[-2. ... -2.]",  # as NumPy shortens a long one
        "high": "[2. ... 2.]",
    }


def pickled(module, name, state):
    """A pickle of an object of a class that is not here."""
    body = pickle.dumps(state, protocol=2)[2:-1]
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b")\x81" + body + b"b."


def sb3(path, state, kwargs=None, action=None):
    """A model as Stable-Baselines3 saves it."""
    data = {
        "policy_kwargs": kwargs or {},
        "action_space": action or box([-2.0, -1.0], [2.0, 3.0]),
        "use_sde": False,
    }
    weights = io.BytesIO()
    torch.save(state, weights)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", json.dumps(data))
        archive.writestr("policy.pth", weights.getvalue())
        archive.writestr("_stable_baselines3_version", "2.9.2")
    return path


def sac_state():
    state = layers("actor.latent_pi", (0, 2), WIDTHS[:-1])
    return state | {
        "actor.mu.weight": torch.randn(OUTPUTS, 8),
        "actor.mu.bias": torch.randn(OUTPUTS),
        "actor.log_std.weight": torch.randn(OUTPUTS, 8),
    }


def ppo_state():
    state = layers("mlp_extractor.policy_net", (0, 2), WIDTHS[:-1])
    return state | {"action_net.weight": torch.randn(2, 8), "action_net.bias": torch.randn(2)}


def td3_state():
    return layers("actor.mu", (0, 2, 4), WIDTHS)


@pytest.mark.parametrize(
    ("state", "steps"),
    [
        (sac_state, ["linear", "relu", "linear", "relu", "linear", "tanh"]),
        (td3_state, ["linear", "relu", "linear", "relu", "linear", "tanh"]),
        (ppo_state, ["linear", "tanh", "linear", "tanh", "linear", "clip"]),
    ],
)
def test_a_model_of_stable_baselines_is_read(state, steps, tmp_path):
    incoming = read_source(sb3(tmp_path / "model.zip", state()))
    assert [step[0] for step in incoming.network.steps] == steps
    assert (incoming.low.tolist(), incoming.high.tolist()) == ([-2.0, -1.0], [2.0, 3.0])
    answers = incoming.run(np.full((1, INPUTS), 1e3, np.float32))[0]
    assert all(np.abs(answers - [0.0, 1.0]) <= 2.0001)
    assert compare(incoming, 200).holds


def test_its_activation_is_read(tmp_path):
    kwargs = {"activation_fn": "<class 'torch.nn.modules.activation.SiLU'>"}
    assert read_source(sb3(tmp_path / "a.zip", sac_state(), kwargs)).network.steps[1] == ("silu",)


def vecnormalize(tmp_path, name="VecNormalize"):
    """VecNormalize's pickle, with a random generator in it, as it is in real ones."""
    moments = {"mean": np.arange(INPUTS) * 1.0, "var": np.full(INPUTS, 4.0), "count": 3.0}
    inner = pickled("stable_baselines3.common.running_mean_std", "RunningMeanStd", moments)[2:-1]
    generator = pickle.dumps(np.random.default_rng(0), protocol=2)[2:-1]
    parts = [
        b"(X\x07\x00\x00\x00obs_rms", inner,
        b"X\x06\x00\x00\x00random", generator,
        b"X\x08\x00\x00\x00clip_obsG@\x14\x00\x00\x00\x00\x00\x00",  # 5.0
        b"X\x07\x00\x00\x00epsilonG\x3e\x45\x79\x8e\xe2\x30\x8c\x3a",  # 1e-8
        b"X\x08\x00\x00\x00norm_obs\x88u",
    ]  # fmt: skip
    head = f"cstable_baselines3.common.vec_env.vec_normalize\n{name}\n".encode()
    content = b"\x80\x02" + head + b")\x81}" + b"".join(parts) + b"b."
    (tmp_path / "vecnormalize.pkl").write_bytes(content)


def test_vecnormalize_beside_is_taken(tmp_path):
    vecnormalize(tmp_path)
    incoming = read_source(sb3(tmp_path / "model.zip", sac_state()))
    network = incoming.network
    assert network.mean.tolist() == list(range(INPUTS))
    assert network.std == pytest.approx(2.0)
    assert network.clip == 5.0
    assert compare(incoming, 200).holds


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (pickle.dumps({"obs_rms": Runs()}), r"would run 'posix.mkdir': it holds code, not data"),
        (pickle.dumps({"a": 1}), "has no mean and variance"),
        (b"\x80\x04junk", "is a damaged pickle"),
        (b"", "is a damaged pickle"),
    ],
)
def test_statistics_with_code_are_not_run(content, text, tmp_path):
    (tmp_path / "vecnormalize.pkl").write_bytes(content)
    with pytest.raises(InputError, match=text):
        read_source(sb3(tmp_path / "model.zip", sac_state()))
    assert not os.path.exists("/tmp/qpolicy_evil_pickle")  # noqa: PTH110


@pytest.mark.parametrize(
    ("state", "action", "text"),
    [
        (
            {"features_extractor.cnn.0.weight": torch.ones(2, 2, 3, 3)}, None,
            "features_extractor.cnn.0: is a convolution",
        ),
        ({"lstm_actor.weight_ih_l0": torch.ones(2, 2)}, None, "is an LSTM"),
        ({"q_net.0.weight": torch.ones(2, 2)}, None, "has no actor that is known here"),
        (
            sac_state(), {":type:": "<class 'gymnasium.spaces.discrete.Discrete'>"},
            "a policy here has continuous actions",
        ),
        (sac_state(), box([-np.inf, -1], [1, 1]), "no finite ascending limits"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_held_is_refused(state, action, text, tmp_path):
    with pytest.raises(InputError, match=text):
        read_source(sb3(tmp_path / "model.zip", state, action=action))


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", b"{}")
        archive.writestr("policy.pth", bytes(300 << 20))
    with pytest.raises(InputError, match=r"unpacks to \d+ bytes, at most 268435456 are read"):
        read_source(tmp_path / "a.zip")
