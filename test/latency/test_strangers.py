"""Bags that strangers recorded: clocks that were set, logs beside files, two robots, odd names."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from bags import (
    JOINT_STATE,
    PERIOD,
    STAGES,
    WALL,
    Message,
    answers,
    joint_state,
    report,
    reported,
    write_bag,
    write_humble,
)

from qpolicy_ros.cli.main import main
from qpolicy_ros.latency.bag import open_bag
from qpolicy_ros.latency.ticks import read_ticks
from qpolicy_ros.latency.trace import DIAGNOSTICS, read_trace
from qpolicy_ros.nodes.recording.mcap_writer import McapWriter

COUNT = 300


def figures(path, capsys, *options):
    """What ``--json`` says; a number that JSON does not have fails."""
    assert main(["latency", str(path), "--json", *options]) == 0

    def refuse(text):
        raise AssertionError(f"{text} in JSON")

    return json.loads(capsys.readouterr().out, parse_constant=refuse)


def write(path: Path, rows):
    """Write an MCAP file of (topic, log, publish, data)."""
    path.mkdir()
    writer = McapWriter(path / "bag_0.mcap", "test")
    names = ("observation", "action_stamped", "timing")
    channels = {name: writer.add_channel(f"/{name}", JOINT_STATE, "", "") for name in names}
    for topic, log, publish, data in rows:
        writer.write(channels[topic], log, publish, 0, data)
    writer.close()
    return path


def answer(stamp, wall, latency):
    """Topic, delay and content of the three messages of an answer."""
    stages = [latency / 4, latency / 8, 0.0, latency / 4, latency / 2, latency * 3 / 4]
    return (
        ("observation", wall, joint_state(stamp, ["x"], [1.0])),
        ("action_stamped", wall + round(latency * 1000), joint_state(stamp, ["u"], [0.5])),
        (
            "timing",
            wall + round(latency * 1000) + 1000,
            joint_state(stamp, STAGES, stages, "integer"),
        ),
    )


def two_runs():
    """A simulation that is started anew: simulated arrival, sending by the wall clock."""
    for run in range(2):
        for index in range(COUNT):
            stamp = PERIOD * (index + 1)
            wall = WALL + (run * 7500 + index) * PERIOD
            for topic, sent, data in answer(stamp, wall, 500.0 + 1000.0 * run):
                yield topic, stamp, sent, data


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_simulation_started_anew_is_one_reset(tmp_path, capsys, storage):
    if storage == "mcap":
        path = write(tmp_path / "bag", two_runs())
    else:
        rows = [Message(f"/{t}", JOINT_STATE, log, data) for t, log, _, data in two_runs()]
        path = write_humble(tmp_path / "bag", rows)
    found = figures(path, capsys)
    backend = found["backends"]["integer"]
    assert found["resets"] == 1
    assert (backend["n"], backend["duplicates"], backend["drops"]) == (400, 0, 0)
    assert backend["mean_us"] == pytest.approx(1000.0)
    if storage == "mcap":
        assert backend["period"]["median_us"] == pytest.approx(PERIOD / 1000)
        assert backend["period"]["jitter_max_us"] < 1000


@pytest.mark.parametrize("step", [10**9, 10**8], ids=["1 s", "0.1 s"])
def test_a_wall_clock_set_back_is_one_reset(tmp_path, capsys, step):
    rows = []
    for index in range(2 * COUNT):
        wall = WALL + index * PERIOD - (step if index >= COUNT else 0)
        rows += [(t, at + 1000, at, d) for t, at, d in answer(PERIOD * (index + 1), wall, 500.0)]
    found = figures(write(tmp_path / "bag", rows), capsys)
    backend = found["backends"]["integer"]
    assert found["resets"] == 1
    assert backend["n"] == 2 * COUNT - 200
    assert (backend["duplicates"], backend["drops"]) == (0, 0)
    assert backend["period"]["median_us"] == pytest.approx(PERIOD / 1000)
    assert backend["period"]["jitter_max_us"] < 1000


@pytest.mark.parametrize("every", [200, 5], ids=["few", "many"])
def test_stages_that_are_unknown_are_left_out_and_counted(tmp_path, capsys, every):
    messages = [reported()]
    for index in range(1000):
        age = np.nan if index % every == 0 else 100.0
        stages = [age, age / 2, 1.0, 100.0, 100.0, 300.0]
        stamp, wall = PERIOD * (index + 1), WALL + index * PERIOD
        messages += [
            Message("/observation", JOINT_STATE, wall, joint_state(stamp, ["x"], [1.0])),
            Message(
                "/action_stamped", JOINT_STATE, wall + 400_000, joint_state(stamp, ["u"], [0.5])
            ),
            Message(
                "/timing",
                JOINT_STATE,
                wall + 401_000,
                joint_state(stamp, STAGES, stages, "integer"),
            ),
        ]
    path = write_bag(tmp_path / "bag", messages)
    stages = figures(path, capsys)["backends"]["integer"]["stages"]
    assert stages["queue"]["mean_us"] == stages["queue"]["p50_us"] == 50.0
    assert stages["transport"]["mean_us"] == 50.0
    if every == 5:
        assert stages["queue"]["unknown"] == 180
    assert main(["latency", str(path), "--out", str(tmp_path / "out")]) == 0
    assert "nan" not in capsys.readouterr().out
    assert "NaN" not in (tmp_path / "out" / "latency.html").read_text()


def test_a_robots_wait_for_the_tick_is_a_stage_of_its_own(tmp_path, capsys):
    messages = [reported()]
    for index in range(COUNT):
        stages = [9000.0, np.nan, 1.0, 100.0, 100.0, 300.0]
        stamp, wall = PERIOD * (index + 1), WALL + index * PERIOD
        data = joint_state(stamp, STAGES, stages, "integer")
        messages.append(Message("/timing", JOINT_STATE, wall, data))
    stages = figures(write_bag(tmp_path / "bag", messages), capsys)["backends"]["integer"]["stages"]
    assert stages["wait"]["mean_us"] == 9000.0
    assert "queue" not in stages
    assert "transport" not in stages


@pytest.mark.parametrize("checkpoint", [True, False], ids=["half", "nothing"])
def test_the_write_ahead_log_of_a_killed_recorder_is_read(tmp_path, checkpoint):
    messages = [reported(), *answers([500.0] * 1000)]
    whole = write_humble(tmp_path / "whole", messages)
    live, bag = tmp_path / "live.db3", tmp_path / "bag"
    shutil.copy(whole / "whole_0.db3", live)
    file = sqlite3.connect(live, isolation_level=None)
    rows = file.execute("SELECT topic_id, timestamp, data FROM messages").fetchall()
    file.execute("PRAGMA journal_mode=WAL")
    file.execute("PRAGMA wal_autocheckpoint=0")
    file.execute("DELETE FROM messages")
    half = len(rows) // 2
    insert = "INSERT INTO messages(topic_id, timestamp, data) VALUES (?, ?, ?)"
    file.executemany(insert, rows[:half])
    if checkpoint:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    file.executemany(insert, rows[half:])
    bag.mkdir()
    for each in tmp_path.glob("live.db3*"):
        shutil.copy(each, bag / each.name)
    file.close()
    before = {each.name: each.read_bytes() for each in bag.iterdir()}
    assert len(read_ticks(read_trace(open_bag(bag))).times) == 1000
    assert {each.name: each.read_bytes() for each in bag.iterdir()} == before


@pytest.mark.parametrize("first", ["bag.mcap", "bag_0.mcap"])
def test_a_split_that_metadata_does_not_list_is_read_and_named(tmp_path, first):
    path = write_bag(tmp_path / "bag", [reported(), *answers([500.0] * COUNT)])
    (path / "bag.mcap").rename(path / first)
    text = (path / "metadata.yaml").read_text()
    (path / "metadata.yaml").write_text(text.replace("bag.mcap", first))
    later = answers([900.0] * COUNT, start=WALL + COUNT * PERIOD, stamp=(COUNT + 1) * PERIOD)
    other = write_bag(tmp_path / "later", later)
    shutil.copy(other / "later.mcap", path / "bag_1.mcap")
    shutil.copy(other / "later.mcap", path / "copy of bag.mcap")
    bag = open_bag(path)
    assert len(read_ticks(read_trace(bag)).times) == 2 * COUNT
    assert any("bag_1.mcap" in note for note in bag.notes)
    assert any("copy of bag.mcap" in note and "left out" in note for note in bag.notes)


def of_robot(number: int, home: str) -> Message:
    """A status of one of two robots, as today's nodes send it."""
    values = {"function_hash": f"{number:02x}" * 32, "cpu": f"CPU {number}", "period_ms": "20"}
    data = report(
        values, name=f"{home.strip('/')}/policy_node: policy", hardware=f"{home}/policy_node"
    )
    return Message("/diagnostics", DIAGNOSTICS, WALL + number, data)


def test_two_robots_in_one_graph_are_told_apart(tmp_path, capsys):
    both = [*answers([500.0] * COUNT, prefix="/one"), *answers([900.0] * COUNT, prefix="/two")]
    statuses = [of_robot(1, "/one"), of_robot(2, "/two")]
    path = write_bag(tmp_path / "bag", [*statuses, *both])
    for number, home, took in ((1, "/one", 500.0), (2, "/two", 900.0)):
        found = figures(path, capsys, "--namespace", home)
        assert found["conditions"]["cpu"] == f"CPU {number}"
        assert found["backends"]["integer"]["mean_us"] == pytest.approx(took)
    # One of the two is recorded; /diagnostics has both.
    alone = write_bag(tmp_path / "alone", [*statuses, *answers([500.0] * COUNT, prefix="/one")])
    assert figures(alone, capsys)["conditions"]["cpu"] == "CPU 1"


def test_older_robots_that_do_not_say_who_they_are_leave_conditions_unknown(tmp_path, capsys):
    statuses = [
        reported(WALL + index, function_hash=("aa", "bb")[index % 2] * 32, cpu=f"CPU {index % 2}")
        for index in range(8)
    ]
    found = figures(write_bag(tmp_path / "bag", [*statuses, *answers([500.0] * COUNT)]), capsys)
    assert "cpu" not in found["conditions"]
    assert any("do not say which is which" in note for note in found["notes"])


@pytest.mark.parametrize("name", ["a$b$", "$\\frac{$", "$\\frac{", "_x", "\x07\n<b>", "漢"])
def test_any_name_can_be_plotted(tmp_path, name, recwarn):
    messages = [reported(cpu=name, backend=name), *answers([500.0] * COUNT, name)]
    out = tmp_path / "out"
    path = write_bag(tmp_path / "bag", messages)
    assert main(["latency", str(path), "--out", str(out)]) == 0
    assert (out / "latency.html").is_file()
    assert not [w for w in recwarn if "legend" in str(w.message)]


def test_a_name_cannot_steer_the_terminal(tmp_path, capsys):
    name = "x\n\x1b[2Jy"
    path = write_bag(tmp_path / "bag", [reported(cpu=name), *answers([500.0] * COUNT, name)])
    assert main(["latency", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.isprintable() for line in lines)
    assert r"cpu: x\n\x1b[2Jy" in lines


def test_backends_that_took_no_time_are_compared(tmp_path, capsys):
    messages = [*answers([0.0] * COUNT), *answers(
        [0.0] * COUNT, "fp32", start=WALL + COUNT * PERIOD, stamp=(COUNT + 1) * PERIOD
    )]  # fmt: skip
    found = figures(write_bag(tmp_path / "bag", [reported(), *messages]), capsys, "--compare")
    assert {each["ratio"] for each in found["comparisons"]} == {1.0}
    assert not any(each["shown"] for each in found["comparisons"])


@pytest.mark.parametrize("version", range(4, 10))
def test_metadata_of_every_version_is_read(tmp_path, version):
    path = write_bag(tmp_path / "bag", [reported(), *answers([500.0] * 150)])
    text = (path / "metadata.yaml").read_text()
    (path / "metadata.yaml").write_text(text.replace("version: 9", f"version: {version}"))
    bag = open_bag(path)
    assert len(read_ticks(read_trace(bag)).times) == 150
    assert bag.version == version


def test_metadata_of_a_version_to_come_is_refused_in_one_line(tmp_path, capsys):
    path = write_bag(tmp_path / "bag", answers([500.0] * 150))
    text = (path / "metadata.yaml").read_text()
    (path / "metadata.yaml").write_text(text.replace("version: 9", "version: 10"))
    assert main(["latency", str(path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
