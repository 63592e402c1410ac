"""What the policy node takes: signed policies, and codes that its policy has seen."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import rclpy
from policy_builders import random_artifact
from rclpy.lifecycle import TransitionCallbackReturn

from qpolicy_ros.common.errors import InputError, ObservationError, PolicyError
from qpolicy_ros.nodes.policy_node import PolicyNode
from qpolicy_ros.nodes.runtime import Stop
from qpolicy_ros.nodes.serving.loading import Loading
from qpolicy_ros.nodes.serving.record import Record
from qpolicy_ros.nodes.serving.server import PolicyServer
from qpolicy_ros.nodes.serving.status import Status
from qpolicy_ros.policy import load_policy, make_engine
from qpolicy_ros.policy.seen import save_seen, seen_codes, seen_path
from qpolicy_ros.policy.signing import sign_file

pytest.importorskip("cryptography")
from signing_keys import write_keys


@pytest.fixture
def policy(policies, tmp_path):
    """A policy of its own, which a test may sign."""
    file = tmp_path / "p.safetensors"
    file.write_bytes(policies["hopper"].read_bytes())
    return file


@pytest.fixture
def configure(place):
    """Configure a node in this process; return what went wrong, or nothing."""
    nodes = []

    def configure(**parameters):
        given = [a for name, value in parameters.items() for a in ("-p", f"{name}:={value}")]
        rclpy.init(args=["--ros-args", *given], domain_id=place.domain)
        nodes.append(PolicyNode(Stop()))
        if nodes[-1].trigger_configure() == TransitionCallbackReturn.SUCCESS:
            return ""
        return nodes[-1]._failure

    yield configure
    for node in nodes:
        node.close()
        node.destroy_node()
    rclpy.shutdown()


def test_a_policy_that_a_trusted_key_signed_serves(configure, policy, tmp_path):
    key, public = write_keys(tmp_path, "own")
    sign_file(policy, key)
    assert configure(policy=policy, trusted_keys=f"['{public}']") == ""


@pytest.mark.parametrize(("signed", "text"), [(False, "is not signed"), (True, "none of the")])
def test_any_other_policy_is_refused_by_name(configure, policy, tmp_path, signed, text):
    if signed:
        sign_file(policy, write_keys(tmp_path, "stranger")[0])
    public = write_keys(tmp_path, "own")[1]
    failure = configure(policy=policy, trusted_keys=f"['{public}']")
    assert failure.startswith(f"{policy}: signature: ")
    assert text in failure


def test_a_key_that_is_none_is_refused(configure, policy, tmp_path):
    (tmp_path / "x.pub").write_text("hello")
    failure = configure(policy=policy, trusted_keys=f"['{tmp_path / 'x.pub'}']")
    assert failure.startswith(f"{tmp_path / 'x.pub'}: key: is no key")


def test_load_takes_no_unsigned_policy(policy, policies, tmp_path):
    public = write_keys(tmp_path, "own")[1]
    serving = load_policy(policies["hopper"])
    done = threading.Event()
    loading = Loading(serving, str(policy), ["integer"], {}, done.set, [str(public)])
    assert done.wait(120)
    assert "is not signed" in loading.error


def saw(policy, shift=0):
    """Write what the golden observations' codes cover, and return the server's artifact."""
    artifact = load_policy(policy)
    codes = make_engine(artifact.network).codes_batch(artifact.golden.observations[:1])[0]
    save_seen(seen_codes(codes + shift, "a test"), artifact, seen_path(policy))
    return artifact


def test_unseen_codes_are_counted_or_refused(policy):
    artifact = saw(policy)
    known, other = artifact.golden.observations[:2]
    server = PolicyServer(artifact, "integer")
    server.supervise("count")
    assert np.array_equal(server.act(known), artifact.golden.actions[0])
    assert server.supervisor.facts() == {"unseen": 0}
    assert np.array_equal(server.act(other), artifact.golden.actions[1])
    assert server.supervisor.facts()["unseen"] == 1
    server.supervise("refuse")
    server.act(known)
    with pytest.raises(ObservationError, match="were seen"):
        server.act(other)
    assert server.record.refused["unseen"] == 1
    assert server.record.last_reason.startswith("unseen: ")


def test_another_policy_brings_its_own_codes(policy):
    artifact = saw(policy)
    server = PolicyServer(artifact, "integer")
    server.supervise("refuse")
    other = random_artifact(9, hidden=(16, 16), contract=artifact.contract)
    with pytest.raises(InputError, match="make it with `qpolicy seen`"):
        server.install(other, {"integer": server.ready["integer"]})
    assert server.artifact is artifact
    server.supervise("count")
    server.install(other, {"integer": server.ready["integer"]})
    assert server.supervisor is None


def test_refusing_without_a_file_is_an_error(configure, policies):
    failure = configure(policy=policies["hopper"], unseen="refuse")
    assert "make it with `qpolicy seen`" in failure


def test_a_wrong_word_is_an_error(policy):
    with pytest.raises(PolicyError, match="choose off, count or refuse"):
        PolicyServer(load_policy(policy), "integer").supervise("maybe")


def test_the_diagnostics_say_which_values_were_unseen(policy):
    artifact = saw(policy)
    server = PolicyServer(artifact, "integer")
    server.supervise("count")
    server.act(artifact.golden.observations[1])
    _, _, values = Status(Record()).report("active", "", server, None, {})
    assert values["unseen"] == 1
    assert sum(name.startswith("unseen.") for name in values) >= 1
