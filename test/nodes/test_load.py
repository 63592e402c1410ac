"""``~/load`` builds another backend or policy while the old one serves."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading

import pytest
from policy_builders import make_contract, random_artifact
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from qpolicy_ros.backends import BACKENDS, create_backend
from qpolicy_ros.nodes.serving.loading import Loading
from qpolicy_ros.nodes.serving.server import PolicyServer
from qpolicy_ros.policy import Channel, load_policy, save_policy


@pytest.fixture
def serving(tmp_path):
    save_policy(random_artifact(1), tmp_path / "serving.safetensors")
    return load_policy(tmp_path / "serving.safetensors")


def load(serving, file, backends=("integer",), options=None):
    """Load as the node does; return the finished load."""
    finished = threading.Event()
    loading = Loading(serving, str(file), list(backends), options or {}, finished.set)
    assert finished.wait(60)
    return loading


def test_another_backend_of_the_same_policy(serving):
    server = PolicyServer(serving, "integer")
    server.install(*load(serving, serving.path, ["fp32"]).built)
    server.swap("fp32")
    values = [0.5, -0.25, 1.0, 2.0]
    expected = create_backend("fp32", serving).act(values)
    assert server.answer(JointState(position=values)).tolist() == expected.tolist()
    assert list(server.ready) == ["integer", "fp32"]


def test_another_policy_of_the_same_contract(serving, tmp_path):
    save_policy(random_artifact(2), tmp_path / "other.safetensors")
    server = PolicyServer(serving, "integer", ["fp32"])
    old = dict(server.ready)
    server.install(*load(serving, tmp_path / "other.safetensors", ["integer"]).built)
    values = [0.5, -0.25, 1.0, 2.0]
    expected = create_backend("integer", random_artifact(2)).act(values)
    assert server.answer(JointState(position=values)).tolist() == expected.tolist()
    assert server.artifact.path.endswith("other.safetensors")
    assert list(server.ready) == ["integer"]  # the old policy's other backend is gone
    assert server.ready["integer"] is not old["integer"]


def test_a_policy_of_another_contract_is_refused(serving, tmp_path):
    contract = make_contract()
    channels = (Channel("other"), *contract.observation[1:])
    other = dataclasses.replace(contract, observation=channels)
    save_policy(random_artifact(2, contract=other), tmp_path / "other.safetensors")
    loading = load(serving, tmp_path / "other.safetensors")
    assert loading.built is None
    assert "contract.observation: differs from the serving policy's" in loading.error


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "file: does not exist"), (b"", "file: is empty"), (b"x" * 99, "not a safetensors")],
)
def test_a_policy_that_cannot_be_read_is_refused(serving, tmp_path, content, reason):
    file = tmp_path / "other.safetensors"
    if content is not None:
        file.write_bytes(content)
    assert reason in load(serving, file).error


def test_an_unknown_option_is_refused(serving):
    loading = load(serving, serving.path, ["integer"], {"integer": {"engine": "abacus"}})
    assert loading.built is None
    assert "abacus" in loading.error


def test_a_device_that_is_not_there_is_refused(serving):
    options = {"fpga": {"transport": "uart", "device": "/dev/nothing"}}
    loading = load(serving, serving.path, ["fpga"], options)
    assert loading.built is None
    assert "/dev/nothing" in loading.error


def test_a_backend_that_differs_from_the_golden_vectors_is_refused(serving, monkeypatch):
    class Wrong(BACKENDS["fp32"]):
        def act(self, observation):
            return super().act(observation) + 0.01

    monkeypatch.setitem(BACKENDS, "fp32", Wrong)
    loading = load(serving, serving.path, ["fp32"])
    assert loading.built is None
    assert "golden vector 0" in loading.error


def test_a_cancelled_load_leaves_nothing(serving):
    loading = Loading(serving, serving.path, ["fp32"], {}, lambda: None)
    loading.cancel()
    assert loading.built is None


def test_a_child_that_crashes_is_a_reason(serving, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert load(serving, serving.path).error == "load: the child process failed: ended with 1"


def test_the_child_names_what_is_wrong(tmp_path):
    request = {
        "file": str(tmp_path / "no.safetensors"),
        "backends": ["fp32"],
        "options": {},
        "trusted": [],
    }
    command = [sys.executable, "-m", "qpolicy_ros.nodes.serving.loading", json.dumps(request)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "does not exist" in done.stdout
    assert done.stderr == ""


def call_load(watcher):
    return watcher.call(Trigger, "policy_node/load", Trigger.Request())


def test_load_over_ros_while_it_serves(serve, watcher, policies):
    artifact = load_policy(policies["hopper"])
    observation = artifact.golden.observations[0]
    serve(preload=[], lockstep=True)
    watcher.wait_for_policy(observation.tolist())
    assert not watcher.set_parameter("backend", "fp32").successful
    assert watcher.set_parameter("load.backend", "fp32").successful
    expected = create_backend("integer", artifact).act(observation).tolist()
    stamp = 0
    with watcher.client(Trigger, "policy_node/load") as client:
        future = client.call_async(Trigger.Request())
        while not future.done():  # every observation in the meantime is answered
            stamp += 1
            assert list(watcher.ask(observation.tolist(), stamp=stamp).position) == expected
    assert stamp > 1
    assert future.result().success, future.result().message
    assert watcher.set_parameter("backend", "fp32").successful
    expected = create_backend("fp32", artifact).act(observation).tolist()
    assert list(watcher.ask(observation.tolist(), stamp=stamp + 1).position) == expected


def test_a_failed_load_leaves_the_old_policy_and_says_why(serve, watcher, policies):
    artifact = load_policy(policies["hopper"])
    observation = artifact.golden.observations[0].tolist()
    serve()
    watcher.wait_for_policy(observation)
    before = list(watcher.ask(observation, stamp=1).position)
    for policy, reason in (
        ("/nowhere/x.safetensors", "/nowhere/x.safetensors"),
        (str(policies["halfcheetah"]), "contract.task: differs"),
    ):
        assert watcher.set_parameter("load.policy", policy).successful
        response = call_load(watcher)
        assert not response.success
        assert reason in response.message
    assert list(watcher.ask(observation, stamp=2).position) == before


def test_load_before_configure_is_refused(start, watcher):
    start("policy_node")
    response = call_load(watcher)
    assert (response.success, response.message[:21]) == (False, "load: nothing is conf")
