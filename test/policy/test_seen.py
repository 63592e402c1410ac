"""The codes that a policy has seen, and the supervisor that knows them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from policy_builders import random_artifact

from qpolicy_ros.cli.main import main
from qpolicy_ros.common.errors import InputError, ObservationError, PolicyError
from qpolicy_ros.policy import load_policy, make_engine, save_policy
from qpolicy_ros.policy.seen import (
    Supervisor,
    load_seen,
    make_supervisor,
    save_seen,
    seen_codes,
    seen_path,
)


@pytest.fixture
def artifact(tmp_path):
    file = tmp_path / "p.safetensors"
    save_policy(random_artifact(1), file)
    return load_policy(file)


def observe(artifact, codes):
    network = artifact.network
    return (network.mean + np.array(codes) / network.gain).astype(np.float32)


def seen_of(*codes):
    return seen_codes(np.array(codes, np.int32), "a test")


def test_what_was_seen_passes_and_anything_else_is_counted(artifact):
    supervisor = Supervisor(artifact, seen_of([-1, 0, 0, 2], [3, 0, 0, 2]), refuse=False)
    for code in (-1, 2, 3):
        supervisor.look(observe(artifact, [code, 0, 0, 2]))
    assert supervisor.facts() == {"unseen": 0}
    supervisor.look(observe(artifact, [4, 0, 0, 1]))
    supervisor.look(observe(artifact, [-2, 0, 0, 2]))
    assert supervisor.facts() == {"unseen": 2, "unseen.value_0": 2, "unseen.value_3": 1}


def test_the_codes_are_the_engine_s(artifact):
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 10, (300, 4)).astype(np.float32)
    codes = make_engine(artifact.network).codes_batch(rows)[0]
    low, high = np.array([-3, -2, -8, 0]), np.array([3, 7, 1, 5])
    supervisor = Supervisor(artifact, seen_of(low, high), refuse=False)
    for row in rows:
        supervisor.look(row)
    unseen = (codes < low) | (codes > high)
    assert supervisor.counts.tolist() == unseen.sum(axis=0).tolist()
    assert supervisor.observations == unseen.any(axis=1).sum()


@pytest.mark.parametrize("seed", range(5))
def test_the_values_looked_at_first_are_exactly_those_of_codes_seen(seed, artifact):
    """Next to each end the code is another one; what is not finite is looked at closely."""
    rng = np.random.default_rng(seed)
    least, most = artifact.network.input_range
    low = rng.integers(least, most, 4)
    high = np.minimum(low + rng.integers(0, 3, 4), most)
    supervisor = Supervisor(artifact, seen_of(low, high), refuse=False)
    given = []
    supervisor.inside = lambda *ends: given.append(ends) or True
    supervisor.look(np.zeros(4, np.float32))
    ((_, first, last),) = given

    def codes_of(values):
        return make_engine(artifact.network).codes_batch(values[None, :])[0][0]

    assert (codes_of(first) >= low).all()
    assert (codes_of(last) <= high).all()
    beyond = np.finfo(np.float32).max
    before = np.nextafter(first, -beyond)
    after = np.nextafter(last, beyond)
    assert (codes_of(before) < low)[first > -beyond].all()
    assert (codes_of(after) > high)[last < beyond].all()


def test_a_code_at_the_end_of_its_range_covers_all_beyond(artifact):
    supervisor = Supervisor(artifact, seen_of([-8, 0, 0, 0], [7, 0, 0, 0]), refuse=True)
    supervisor.look(observe(artifact, [1e20, 0, 0, 0]))


def test_it_refuses_by_name_and_number(artifact):
    supervisor = Supervisor(artifact, seen_of([0, 0, 0, 0], [2, 0, 0, 0]), refuse=True)
    with pytest.raises(ObservationError, match="has the code 3, and 0 to 2 were seen") as error:
        supervisor.look(observe(artifact, [3, 0, 0, 0]))
    assert (error.value.reason, error.value.index) == ("unseen", 0)


def test_saved_is_loaded(artifact, tmp_path):
    file = tmp_path / "p.seen.json"
    save_seen(seen_of([-1, 0, 0, 2], [3, 0, 0, 2]), artifact, file)
    seen = load_seen(file, artifact)
    assert (seen.low.tolist(), seen.high.tolist()) == ([-1, 0, 0, 2], [3, 0, 0, 2])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"function_hash": "0"}, "is another policy's"),
        ({"observations": 0}, "is no count"),
        ({"codes": {"value_0": [0, 1]}}, "does not name the policy's values"),
        ({"codes": {f"value_{i}": [1, 0] for i in range(4)}}, "is no range of codes"),
        ({"codes": {f"value_{i}": [0, 8] for i in range(4)}}, "is no range of codes"),
        ({"codes": {f"value_{i}": [0, "x"] for i in range(4)}}, "is no range of codes"),
    ],
)
def test_a_wrong_file_is_named(artifact, tmp_path, change, text):
    file = tmp_path / "p.seen.json"
    save_seen(seen_of([0, 0, 0, 0]), artifact, file)
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(PolicyError, match=r"p\.seen\.json: ") as error:
        load_seen(file, artifact)
    assert text in str(error.value)


def test_without_a_file_counting_is_off_and_refusing_an_error(artifact):
    assert make_supervisor(artifact, "count") is None
    assert make_supervisor(artifact, "off") is None
    with pytest.raises(InputError, match="not found; make it with `qpolicy seen`"):
        make_supervisor(artifact, "refuse")
    with pytest.raises(PolicyError, match="choose off, count or refuse"):
        make_supervisor(artifact, "sometimes")


def test_the_command_records_codes(artifact, tmp_path):
    rows = np.stack([observe(artifact, [c, 0, 0, 1]) for c in (-2, 1, 5)])
    np.save(tmp_path / "rows.npy", rows)
    arguments = ["seen", artifact.path, "--observations", str(tmp_path / "rows.npy")]
    assert main(arguments) == 0
    seen = load_seen(seen_path(tmp_path / "p.safetensors"), artifact)
    assert (seen.low.tolist(), seen.high.tolist()) == ([-2, 0, 0, 1], [5, 0, 0, 1])
    np.save(tmp_path / "rows.npy", rows[:, :3])
    assert main(arguments) == 2
