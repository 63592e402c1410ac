"""The backend is swapped by setting a parameter while the node serves."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters

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


def memory(node):
    """Resident memory of the node's process, bytes."""
    fields = Path(f"/proc/{node.process.pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def test_swaps_in_a_row_lose_no_tick_and_no_memory(serve, watcher, policies, full):
    """One swap a tick, 500 ticks a second where the machine can: each answer is a backend's own."""
    swaps, warm_up = (1000, 200) if full else (100, 20)
    artifact = load_policy(policies["hopper"])
    observations = np.resize(artifact.golden.observations, (swaps + warm_up, 11))
    backends = {name: create_backend(name, artifact) for name in ("integer", "fp32")}
    node = serve(lockstep=True)
    watcher.wait_for_policy(observations[0].tolist())
    results, served, before = [], [], 0
    with watcher.client(SetParameters, "policy_node/set_parameters") as client:
        start = time.monotonic()
        for tick, observation in enumerate(observations):
            due = start + tick * 0.002
            while time.monotonic() < due:
                pass
            if tick == warm_up:
                before = memory(node)
            results.append(client.call_async(swap_to("fp32" if tick % 2 else "integer")))
            watcher.tell(observation.tolist(), stamp=tick + 1)  # once: a lost tick stays lost
            watcher.until(partial(watcher.answers, tick + 1))
            watcher.until(results[-1].done)  # services keep ten replies: more would be lost
            answer = list(watcher.answers(tick + 1)[0].position)
            served.append({n for n, b in backends.items() if b.act(observation).tolist() == answer})
    assert all(result.result().results[0].successful for result in results)
    assert all(len(names) == 1 for names in served)  # never a mixture, never something else
    assert set.union(*served) == {"integer", "fp32"}
    report = watcher.diagnostics()
    assert int(report["swaps"]) >= swaps
    assert len(watcher.messages["action_stamped"]) == len(observations)
    assert memory(node) - before < 2 << 20


def swap_to(backend):
    value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=backend)
    return SetParameters.Request(parameters=[Parameter(name="backend", value=value)])


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


def test_an_option_of_a_ready_backend_is_refused_not_ignored(serve, watcher):
    node = serve()
    watcher.wait_for_policy()
    result = watcher.set_parameter("integer.engine", "numpy")
    assert not result.successful
    assert result.reason.startswith("integer.engine: backend 'integer' is ready and keeps")
    result = watcher.set_parameter("integer.engine", "warp")
    assert not result.successful
    assert result.reason.endswith("choose one of auto, c, numpy")
    assert watcher.set_parameter("fpga.device", "/dev/ttyUSB7").successful  # ~/load takes it
    assert watcher.set_parameter("backend", "fp32").successful
    assert len([line for line in node.output.splitlines() if "integer -> fp32" in line]) == 1
