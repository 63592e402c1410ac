"""Backends built, checked, swapped and refused, without ROS."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from policy_builders import random_artifact

from qpolicy_ros.backends import BACKENDS, BackendError, create_backend
from qpolicy_ros.nodes.serving.server import PolicyServer
from qpolicy_ros.policy import ObservationError, PolicyError

VALUES = [0.5, -0.25, 1.0, 2.0]


def message(values):
    """An observation in the contract's order, as much of a JointState as is read."""
    return SimpleNamespace(name=[], position=values)


@pytest.fixture
def artifact():
    return random_artifact(3)


@pytest.fixture
def server(artifact):
    return PolicyServer(artifact, "integer", ["fp32"])


def answer_of(backend, artifact):
    return create_backend(backend, artifact).act(np.array(VALUES, np.float32)).tolist()


def test_the_answer_is_the_backends(server, artifact):
    assert server.answer(message(VALUES)).tolist() == answer_of("integer", artifact)


def test_a_swap_changes_the_next_answer(server, artifact):
    server.swap("fp32")
    assert server.backend == "fp32"
    assert server.answer(message(VALUES)).tolist() == answer_of("fp32", artifact)


def test_a_backend_outside_preload_is_refused_and_the_old_one_stays(artifact):
    server = PolicyServer(artifact, "integer")
    with pytest.raises(PolicyError, match=r"'fp32' is not ready: it is not in `preload`"):
        server.swap("fp32")
    assert server.backend == "integer"


def test_an_unknown_backend_is_refused(server):
    with pytest.raises(PolicyError, match="'gpu' is unknown; choose one of integer, fp32"):
        server.swap("gpu")


def test_a_preloaded_backend_that_cannot_be_built_is_refused_with_its_reason():
    server = PolicyServer(random_artifact(integer=False), "fp32", ["integer"])
    assert list(server.ready) == ["fp32"]
    with pytest.raises(PolicyError, match=r"not ready: .*FP32 baseline alone"):
        server.swap("integer")


def test_the_serving_backend_must_be_built():
    with pytest.raises(PolicyError, match="FP32 baseline alone"):
        PolicyServer(random_artifact(integer=False), "integer", ["fp32"])


def test_a_backend_that_fails_its_golden_vectors_is_not_ready(artifact, monkeypatch):
    class Wrong(BACKENDS["fp32"]):
        def act(self, observation):
            return super().act(observation) + np.float32(0.01)

    monkeypatch.setitem(BACKENDS, "fp32", Wrong)
    server = PolicyServer(artifact, "integer", ["fp32"])
    assert "golden vector" in server.failed["fp32"]


def test_refusals_are_counted_by_reason(server):
    for values in (VALUES[:2], [np.nan, *VALUES[1:]], [*VALUES[:3], np.inf]):
        with pytest.raises(ObservationError):
            server.answer(message(values))
    assert server.record.refused == {"wrong_length": 1, "non_finite": 2}


def test_a_value_that_is_not_finite_is_named(server):
    with pytest.raises(ObservationError):
        server.answer(message([*VALUES[:3], np.inf]))
    assert (
        server.record.last_reason == "non_finite: observation value 3: inf is not finite (value_3)"
    )


def test_a_failing_backend_is_counted(server, monkeypatch):
    def fail(_):
        raise BackendError("the board does not answer")

    monkeypatch.setattr(server.ready["integer"], "act", fail)
    with pytest.raises(BackendError):
        server.answer(message(VALUES))
    assert server.record.last_reason == "backend: the board does not answer"


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_an_action_that_is_not_finite_is_never_answered(server, monkeypatch, wrong):
    action = np.array([0.5, wrong], np.float32)
    monkeypatch.setattr(server.ready["integer"], "act", lambda _: action)
    with pytest.raises(BackendError, match="is not finite"):
        server.answer(message(VALUES))
    assert server.record.refused == {"backend": 1}


def test_options_reach_their_backend(artifact):
    server = PolicyServer(artifact, "integer", options={"integer": {"engine": "numpy"}})
    assert server.ready["integer"].engine == "numpy"


def test_a_backend_whose_device_is_lost_is_not_swapped_in(server, monkeypatch):
    monkeypatch.setattr(server.ready["fp32"], "trouble", "uart: no answer", raising=False)
    with pytest.raises(PolicyError, match="'fp32' is not ready: uart: no answer; ready: integer"):
        server.swap("fp32")
    assert server.backend == "integer"


def test_whatever_a_backend_raises_is_its_failure(server, monkeypatch):
    def fail(_):
        raise OSError("bus gone")

    monkeypatch.setattr(server.ready["integer"], "act", fail)
    with pytest.raises(BackendError, match="backend 'integer': OSError: bus gone"):
        server.answer(message(VALUES))
    assert server.record.refused == {"backend": 1}


def test_an_answer_after_the_deadline_is_none(server):
    server.set_deadline(1e-9)
    with pytest.raises(BackendError, match="backend 'integer' took"):
        server.answer(message(VALUES))
    assert (server.record.reason, server.record.refused) == ("deadline", {"deadline": 1})
    server.set_deadline(0.0)
    server.answer(message(VALUES))
