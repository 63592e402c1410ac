"""What the baseline computes between its layers is what PyTorch computes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from policy_builders import make_contract, random_baseline, random_observations

from qpolicy_ros.backends import create_backend
from qpolicy_ros.policy import PolicyError, load_policy, make_artifact, save_policy
from qpolicy_ros.policy.activations import activate, bound, layer_norm
from qpolicy_ros.policy.baseline import baseline_actions

torch = pytest.importorskip("torch")
functional = torch.nn.functional

PEERS = {
    ("relu",): functional.relu,
    ("leaky_relu", 0.2): lambda x: functional.leaky_relu(x, 0.2),
    ("elu", 1.5): lambda x: functional.elu(x, 1.5),
    ("selu",): functional.selu,
    ("silu",): functional.silu,
    ("gelu",): functional.gelu,
    ("gelu_tanh",): lambda x: functional.gelu(x, approximate="tanh"),
    ("tanh",): torch.tanh,
    ("sigmoid",): torch.sigmoid,
    ("softplus", 2.0): lambda x: functional.softplus(x, 2.0),
    ("clip", -0.5, 2.0): lambda x: x.clamp(-0.5, 2.0),
}
VALUES = np.concatenate(
    [np.linspace(-12, 12, 4801), [-1e30, -1e4, -200.0, 200.0, 1e4, 1e30, 0.0, -0.0]]
).astype(np.float32)


@pytest.mark.parametrize("step", PEERS, ids=lambda step: step[0])
def test_an_activation_is_pytorchs(step):
    ours = activate(step, VALUES.copy())
    peers = PEERS[step](torch.tensor(VALUES)).numpy()
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, peers, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("step", PEERS, ids=lambda step: step[0])
def test_no_value_exceeds_its_bound(step):
    largest = bound(step, np.abs(VALUES.astype(np.float64)))
    assert (np.abs(activate(step, VALUES.copy())) <= largest * (1 + 1e-6) + 1e-6).all()


def test_layer_normalisation_is_pytorchs():
    rng = np.random.default_rng(0)
    x, scale, shift = (rng.normal(2, 3, s).astype(np.float32) for s in [(5, 16), 16, 16])
    peer = functional.layer_norm(
        *map(torch.tensor, (x,)), (16,), *map(torch.tensor, (scale, shift))
    )
    np.testing.assert_allclose(layer_norm(x, 1e-5, scale, shift), peer.numpy(), atol=1e-5)


def mixed_baseline():
    """Layer normalisation before one activation, a clipped output."""
    one = np.linspace(0.5, 2, 8, dtype=np.float32)
    return replace(
        random_baseline(1),
        steps=(
            ("linear",), ("layer_norm", 1e-5), ("silu",), ("linear",), ("elu", 1.0),
            ("linear",), ("clip", -1.0, 1.0),
        ),
        norm_scales=(one,),
        norm_shifts=(one / 4,),
    )  # fmt: skip


def test_the_backend_computes_the_steps_of_the_definition(tmp_path):
    artifact = make_artifact(make_contract(), mixed_baseline(), None, {}, [[0.0] * 4])
    save_policy(artifact, tmp_path / "a.safetensors")
    artifact = load_policy(tmp_path / "a.safetensors")
    observations = random_observations(0, 50, 4)
    backend = create_backend("fp32", artifact)
    ours = np.array([backend.act(observation) for observation in observations])
    np.testing.assert_allclose(ours, baseline_actions(artifact.baseline, observations), atol=1e-6)


def test_the_steps_are_part_of_the_function():
    hashes = {
        make_artifact(make_contract(), baseline, None, {}, [[0.0] * 4]).function_hash
        for baseline in (
            random_baseline(1),
            replace(random_baseline(1), steps=(*[("linear",), ("silu",)] * 2, ("linear",))),
            replace(random_baseline(1), steps=(*[("linear",), ("elu", 1.0)] * 2, ("linear",))),
        )
    }
    assert len(hashes) == 3


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ([("linear",), ("lstm",)], r"steps\[1\]: 'lstm' is not one of linear, layer_norm"),
        ([("linear",), ("elu",)], r"steps\[1\]: elu has 0 numbers, not 1"),
        ([("linear",), ("clip", 1.0, 1.0)], "not ascending"),
        ([("linear",)], "1 layers, but 3"),
        ([("linear",)] * 3 + [("layer_norm", 1e-5)], "norm_scale: 0, but 1 layer_norm"),
    ],
)
def test_steps_that_cannot_be_are_refused(steps, text):
    baseline = replace(random_baseline(), steps=tuple(steps))
    with pytest.raises(PolicyError, match=text):
        make_artifact(make_contract(), baseline, None, {}, [[0.0] * 4])
