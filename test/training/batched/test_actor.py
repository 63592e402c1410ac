"""The stacked quantised actor computes what the torch actor computes, and so do its gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

jax = pytest.importorskip("jax", reason="the extra `batched` is not installed")

import jax.numpy as jnp  # noqa: E402

from qpolicy_training.batched import actor as actors  # noqa: E402
from qpolicy_training.batched.convert import quant_actor  # noqa: E402
from qpolicy_training.batched.layout import FIRST, Layout, run_of  # noqa: E402
from qpolicy_training.batched.plan import StudentRun  # noqa: E402
from qpolicy_training.batched.results import cut  # noqa: E402
from qpolicy_training.quant.fast_quant import fast_forward  # noqa: E402

RUNS = [
    StudentRun("hopper", "paper", 0, 0, 16, 6, 2),
    StudentRun("ant", "selected", 0, 0, 64, 4, 3),
    StudentRun("humanoid", "best", 0, 0, 32, 8, 4),
]
LAYOUT = Layout((11, 27, 376), (3, 8, 17))
BATCH = 48


@pytest.fixture(scope="module")
def stack() -> tuple[actors.Params, actors.Bits, list[jax.Array]]:
    """Three students of different tasks, widths and bits, with fitted ranges."""
    rng = np.random.default_rng(0)
    bits = actors.Bits(
        *(
            jnp.asarray([getattr(r, n) for r in RUNS], jnp.float32)
            for n in ("b_in", "b_core", "b_out")
        )
    )
    params = actors.init_actors(rng, LAYOUT, [r.width for r in RUNS])
    x = rng.standard_normal((3, BATCH, 376)).astype(np.float32)
    for run, size in enumerate(LAYOUT.observations):
        x[run, :, size:] = 0.0
    xs = LAYOUT.split(jnp.asarray(x))
    params = actors.requantise(params, bits, jnp.ones(3, bool), xs)

    def untie(w: jax.Array) -> jax.Array:  # clipping leaves several weights of largest magnitude
        return w * jnp.asarray(rng.uniform(0.99, 1.01, w.shape), jnp.float32)

    params[FIRST] = tuple(untie(w) for w in params[FIRST])
    return params | {n: untie(params[n]) for n in ("hidden", "last")}, bits, xs


def torch_actor(params: actors.Params, run: int) -> torch.nn.Module:
    size = LAYOUT.observations[run]
    own = run_of(params, LAYOUT, run) | {"mean": np.zeros(size), "std": np.ones(size)}
    return quant_actor(RUNS[run], cut(own, RUNS[run]))


def inputs(xs: list[jax.Array], run: int) -> torch.Tensor:
    return torch.from_numpy(np.array(run_of({FIRST: tuple(xs)}, LAYOUT, run)[FIRST]))[
        :, : LAYOUT.observations[run]
    ]


@pytest.mark.parametrize("run", range(3))
def test_outputs_are_those_of_the_torch_actor(stack, run):
    params, bits, xs = stack
    mean, features = actors.quantised(params, bits, xs)
    wanted, hidden = fast_forward(torch_actor(params, run), inputs(xs, run))
    m, width = LAYOUT.actions[run], RUNS[run].width
    ours = np.concatenate((np.asarray(mean)[run, :, :m], np.asarray(features)[run, :, :width]), 1)
    theirs = torch.cat((wanted, hidden), 1).detach().numpy()
    # Float operations come in another order: where a sum falls on a threshold a code may differ.
    differs = np.abs(ours - theirs).max(1) > 1e-4 * np.abs(theirs).max()
    assert differs.mean() <= 0.05


@pytest.mark.parametrize("run", range(3))
def test_gradients_are_those_of_the_torch_actor(stack, run):
    params, bits, xs = stack
    m, width, n = LAYOUT.actions[run], RUNS[run].width, LAYOUT.observations[run]
    rng = np.random.default_rng(run)
    torch_module = torch_actor(params, run)

    @jax.jit
    @jax.grad
    def gradient(
        params: actors.Params, xs: list[jax.Array], g: jax.Array, f: jax.Array
    ) -> jax.Array:
        mean, features = actors.quantised(params, bits, xs)
        return (mean[run, 0, :m] * g).sum() + (features[run, 0, :width] * f).sum()

    for row in range(6):
        g = rng.standard_normal(m).astype(np.float32)
        f = rng.standard_normal(width).astype(np.float32)
        ours = run_of(gradient(params, [x[:, row : row + 1] for x in xs], g, f), LAYOUT, run)
        mean, features = fast_forward(torch_module, inputs(xs, run)[row : row + 1])
        total = (mean[0] * torch.from_numpy(g)).sum() + (features[0] * torch.from_numpy(f)).sum()
        theirs = [x.numpy() for x in torch.autograd.grad(total, torch_module.flat_parameters())]
        mine = [
            *ours["range"], ours["first"][:n, :width].T, ours["hidden"][:width, :width].T,
            ours["last"][:width, :m].T, ours["bias"][0][:width], ours["bias"][1][:width],
            ours["bias"][2][:m],
        ]  # fmt: skip
        for value, wanted in zip(mine, theirs, strict=True):
            scale = max(float(np.abs(wanted).max()), 1e-3)
            np.testing.assert_allclose(value, wanted, rtol=1e-3, atol=1e-3 * scale)


def test_padding_receives_no_gradient(stack):
    params, bits, xs = stack
    mask = jnp.asarray(LAYOUT.action_mask())[:, None]

    def loss(params: actors.Params) -> jax.Array:
        return (jnp.tanh(actors.quantised(params, bits, xs)[0]) * mask).sum()

    grads = jax.grad(loss)(params)
    assert not np.any(grads[FIRST][0][0, 11:])
    assert not np.any(grads["hidden"][0, 16:])
    assert not np.any(grads["hidden"][0, :, 16:])
    assert not np.any(grads["last"][0, :, 3:])


def test_only_changed_runs_are_requantised(stack):
    params, bits, xs = stack
    lower = actors.Bits(bits.input, jnp.asarray([2.0, 2.0, 4.0]), bits.output)
    new = actors.requantise(params, lower, jnp.asarray([False, True, False]), xs)
    for run, same in ((0, True), (1, False), (2, True)):
        assert np.array_equal(new["hidden"][run], params["hidden"][run]) is same
        assert np.array_equal(new["range"][run], params["range"][run]) is same
