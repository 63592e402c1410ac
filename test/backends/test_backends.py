"""Backends behind one table: right answers, refused options, golden check."""

from __future__ import annotations

import numpy as np
import pytest
from policy_builders import make_contract, random_artifact, random_observations

from qpolicy_ros.backends import BACKENDS, BackendError, check_golden, create_backend
from qpolicy_ros.policy import (
    ActionChannel,
    Contract,
    ObservationError,
    PolicyError,
    engine_kinds,
    make_artifact,
    make_engine,
)
from qpolicy_ros.policy.baseline import baseline_actions, fp32_tolerance


@pytest.fixture(scope="module")
def artifact():
    return random_artifact(inputs=17, hidden=(16, 16), outputs=6)


@pytest.mark.parametrize("name", BACKENDS)
def test_backend_passes_its_golden_check(name, artifact):
    backend = create_backend(name, artifact)

    check_golden(backend, artifact)
    backend.close()


@pytest.mark.parametrize("name", BACKENDS)
def test_backend_carries_its_name(name, artifact):
    assert create_backend(name, artifact).name == name


@pytest.mark.parametrize("engine", [*engine_kinds(), "auto"])
def test_integer_equals_the_engine(engine, artifact):
    backend = create_backend("integer", artifact, {"engine": engine})
    reference = make_engine(artifact.network, "numpy")

    for observation in random_observations(1, 50, 17):
        np.testing.assert_array_equal(backend.act(observation), reference.act(observation))


def test_integer_says_which_engine_works(artifact):
    assert create_backend("integer", artifact, {"engine": "numpy"}).engine == "numpy"


def test_fp32_is_the_baseline_within_its_bound(artifact):
    backend = create_backend("fp32", artifact)
    observations = random_observations(1, 50, 17)

    found = np.array([backend.act(observation) for observation in observations])

    expected = baseline_actions(artifact.baseline, observations)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert found.dtype == np.float32


def test_fp32_against_float64_arithmetic(artifact):
    baseline, observations = artifact.baseline, random_observations(1, 20, 17)
    hidden = (observations.astype(np.float64) - baseline.mean) / baseline.std
    hidden = np.clip(hidden, -baseline.clip, baseline.clip)
    for weight, bias in zip(baseline.weights[:-1], baseline.biases[:-1], strict=True):
        hidden = np.maximum(weight.astype(np.float64) @ hidden.T + bias[:, None], 0).T
    expected = np.tanh(hidden @ baseline.weights[-1].T.astype(np.float64) + baseline.biases[-1])
    backend = create_backend("fp32", artifact)

    found = [backend.act(observation) for observation in observations]

    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_fp32_clips_its_input(artifact):
    backend = create_backend("fp32", artifact)
    far = artifact.baseline.mean + np.float32(1e6)
    at_clip = artifact.baseline.mean + artifact.baseline.std * np.float32(10)

    np.testing.assert_allclose(backend.act(far), backend.act(at_clip), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", BACKENDS)
def test_same_observation_gives_the_same_bits(name, artifact):
    backend = create_backend(name, artifact)
    one, other = random_observations(1, 2, 17)
    first = backend.act(one)

    backend.act(other)

    np.testing.assert_array_equal(backend.act(one), first)


@pytest.mark.parametrize("name", BACKENDS)
def test_result_belongs_to_the_caller(name, artifact):
    backend = create_backend(name, artifact)
    one, other = random_observations(1, 2, 17)
    kept = backend.act(one)
    copy = kept.copy()

    backend.act(other)

    np.testing.assert_array_equal(kept, copy)


@pytest.mark.parametrize("name", BACKENDS)
def test_observation_is_left_alone(name, artifact):
    observation = random_observations(1, 1, 17)[0]
    copy = observation.copy()

    create_backend(name, artifact).act(observation)

    np.testing.assert_array_equal(observation, copy)


@pytest.mark.parametrize("name", BACKENDS)
def test_input_time_is_reported(name, artifact):
    backend = create_backend(name, artifact)

    backend.act(np.zeros(17, np.float32))

    assert backend.quantise_ns > 0


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize(
    ("observation", "reason"),
    [
        (np.zeros(16, np.float32), "wrong_length"),
        (np.full(17, np.nan, np.float32), "non_finite"),
        (np.full(17, 1e300), "non_finite"),
    ],
    ids=["short", "nan", "beyond float32"],
)
def test_bad_observation_is_refused(name, artifact, observation, reason):
    with pytest.raises(ObservationError) as caught:
        create_backend(name, artifact).act(observation)

    assert caught.value.reason == reason


def test_unknown_backend_names_the_known(artifact):
    with pytest.raises(
        PolicyError, match="backend: 'gpu' is unknown; choose one of fp32, fpga, integer"
    ):
        create_backend("gpu", artifact)


@pytest.mark.parametrize(("name", "known"), [("integer", "engine"), ("fp32", "none")])
def test_unknown_option_is_refused(name, known, artifact):
    with pytest.raises(PolicyError, match=f"'threads' is unknown; known: {known}"):
        create_backend(name, artifact, {"threads": 2})


def test_unknown_engine_is_refused(artifact):
    with pytest.raises(PolicyError, match="'cuda' is unknown; choose auto, c or numpy"):
        create_backend("integer", artifact, {"engine": "cuda"})


def test_integer_refuses_an_fp32_only_policy_by_name():
    with pytest.raises(PolicyError, match=r"'integer' cannot serve this policy.*choose.* 'fp32'"):
        create_backend("integer", random_artifact(integer=False))


def test_fp32_serves_an_fp32_only_policy():
    artifact = random_artifact(integer=False)

    check_golden(create_backend("fp32", artifact), artifact)


class Wrong:
    """A backend whose actions are off by ``error``."""

    quantise_ns = 0

    def __init__(self, inner, error):
        self.name, self._inner, self._error = inner.name, inner, np.float32(error)

    def act(self, observation):
        return self._inner.act(observation) + self._error

    def close(self):
        pass


@pytest.mark.parametrize(
    ("name", "error"), [("integer", 1e-6), ("integer", np.nan), ("fp32", 1e-4), ("fp32", np.nan)]
)
def test_golden_check_notices_a_wrong_action(name, error, artifact):
    backend = Wrong(create_backend(name, artifact), error)

    with pytest.raises(BackendError, match="golden vector 0, action 'motor_0'"):
        check_golden(backend, artifact)


def test_golden_check_of_fp32_has_a_bound(artifact):
    check_golden(Wrong(create_backend("fp32", artifact), 5e-6), artifact)


def test_golden_check_without_integer_vectors_is_an_error(artifact):
    backend = create_backend("integer", artifact)

    with pytest.raises(BackendError, match="no integer golden vectors"):
        check_golden(backend, random_artifact(inputs=17, outputs=6, integer=False))


def test_fp32_bound_grows_with_the_limits():
    small = make_contract()
    large = Contract("toy", "", small.observation, (ActionChannel("m", -50.0, 200.0, 0.0),), 0.01)

    assert fp32_tolerance(small) == pytest.approx(1e-5)
    assert fp32_tolerance(large) == pytest.approx(2e-3)


def test_table_takes_another_backend(monkeypatch, artifact):
    def build(artifact, options):
        assert options == {}
        return Wrong(create_backend("integer", artifact), 0)

    monkeypatch.setitem(BACKENDS, "other", build)

    check_golden(create_backend("other", artifact), artifact)


def test_scale_and_bias_map_the_baseline_into_the_limits():
    base = random_artifact(integer=False)
    moved = type(base.baseline)(
        **{
            **vars(base.baseline),
            "scale": np.array([2.0, 3.0], np.float32),
            "bias": np.array([0.5, -1.0], np.float32),
        }
    )
    artifact = make_artifact(base.contract, moved, None, {}, base.golden.observations)
    observation = base.golden.observations[0]

    plain = create_backend("fp32", base).act(observation)
    found = create_backend("fp32", artifact).act(observation)

    np.testing.assert_allclose(found, plain * [2, 3] + [0.5, -1], rtol=0, atol=1e-5)
