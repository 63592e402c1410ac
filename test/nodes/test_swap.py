"""The backend is swapped by setting a parameter while the node serves."""

from __future__ import annotations

import numpy as np
import pytest

from qpolicy_ros.backends import create_backend
from qpolicy_ros.policy import load_policy


@pytest.fixture
def expected(policies):
    """The action of a backend for the observation that every test here sends."""
    artifact = load_policy(policies["hopper"])

    def act(backend):
        return create_backend(backend, artifact).act(artifact.golden.observations[0]).tolist()

    act.observation = artifact.golden.observations[0].tolist()
    return act


def test_live_swap(serve, watcher, expected):
    serve(backend="integer")
    watcher.wait_for_policy(expected.observation)
    assert list(watcher.ask(expected.observation, stamp=1).position) == expected("integer")
    assert watcher.set_parameter("backend", "fp32").successful
    assert list(watcher.ask(expected.observation, stamp=2).position) == expected("fp32")
    assert watcher.diagnostics()["backend"] == "fp32"


def test_a_swap_under_way_loses_no_observation(serve, watcher, expected):
    """Reliable observations in a row, a swap in the middle: each is answered."""
    serve(backend="integer", lockstep=True)
    watcher.wait_for_policy(expected.observation)
    backends = {tuple(expected("integer")): "integer", tuple(expected("fp32")): "fp32"}
    served = []
    for stamp in range(1, 201):
        served.append(backends[tuple(watcher.ask(expected.observation, stamp=stamp).position)])
        if stamp == 100:
            assert watcher.set_parameter("backend", "fp32").successful
    assert served == ["integer"] * 100 + ["fp32"] * 100


@pytest.mark.parametrize(
    ("preload", "wanted", "reason"),
    [
        ("[integer]", "fp32", "'fp32' is not ready: it is not in `preload`; ready: integer"),
        ("[integer]", "gpu", "'gpu' is unknown; choose one of integer, fp32"),
    ],
)
def test_a_refused_swap_leaves_the_old_backend(serve, watcher, expected, preload, wanted, reason):
    serve(backend="integer", preload=Literal(preload))
    watcher.wait_for_policy(expected.observation)
    result = watcher.set_parameter("backend", wanted)
    assert not result.successful
    assert reason in result.reason
    assert list(watcher.ask(expected.observation).position) == expected("integer")


def test_an_fp32_file_serves_fp32_and_refuses_integer(serve, watcher, policies):
    serve(policy=str(policies["fp32"]), backend="fp32")
    watcher.wait_for_policy()
    result = watcher.set_parameter("backend", "integer")
    assert not result.successful
    assert "holds an FP32 baseline alone" in result.reason


def test_preload_is_read_only(serve, watcher):
    serve()
    watcher.wait_for_policy()
    assert not watcher.set_parameter("preload", "fp32").successful


def test_the_policy_is_fixed_while_it_is_loaded(serve, watcher, policies):
    serve()
    watcher.wait_for_policy()
    result = watcher.set_parameter("policy", str(policies["halfcheetah"]))
    assert not result.successful
    assert "clean up first" in result.reason


class Literal:
    """A parameter value that is YAML already."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


def test_numpy_engine_by_parameter(serve, watcher, expected):
    serve(integer__engine="numpy")
    watcher.wait_for_policy(expected.observation)
    answer = np.array(watcher.ask(expected.observation).position)
    assert answer.tolist() == expected("integer")
