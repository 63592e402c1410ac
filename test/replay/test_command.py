"""`qpolicy replay` as a user meets it: exit status, JSON, one-line errors, the page."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import numpy as np
import pytest
from bags import JOINT_STATE, Message, joint_state, write_bag
from flights import TYPES, Fault, Settings, feature_flight, robot_flight

from qpolicy_ros.cli.main import main
from qpolicy_ros.nodes.recording.mcap_writer import McapWriter
from qpolicy_ros.policy import find_policy, load_policy


@pytest.fixture(scope="module")
def flight():
    return feature_flight(load_policy(find_policy("hopper/paper")), Settings(ticks=120)).messages


@pytest.fixture
def sound(tmp_path, flight):
    return write_bag(tmp_path / "sound", flight)


def run(*arguments):
    return main(["replay", *map(str, arguments)])


def test_equal_is_status_0(sound, capsys):
    assert run(sound, "--policy", "hopper/paper") == 0
    assert "equal: the robot ran this policy" in capsys.readouterr().out


def test_json_has_the_fixed_keys(sound, capsys):
    assert run(sound, "--policy", "hopper/paper", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ticks"] == found["reproduced"] == 121
    assert found["equal"] is True
    assert found["first_difference"] is None


def changed(flight, tick: int):
    """The recording with one command changed in its last bit."""
    messages = list(flight)
    place = [i for i, each in enumerate(messages) if each.topic == "/action_stamped"][tick]
    message = TYPES.deserialize_cdr(messages[place].data, JOINT_STATE)
    values = message.position.astype(np.float32)
    values[1] = np.nextafter(values[1], np.float32(2))
    stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
    data = joint_state(stamp, message.name, values)
    messages[place] = messages[place]._replace(data=data)
    return messages


def test_a_difference_of_one_bit_is_status_1(flight, tmp_path, capsys):
    bag = write_bag(tmp_path / "bag", changed(flight, 57))
    assert run(bag, "--policy", "hopper/paper", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["equal"] is False
    assert found["first_difference"].keys() == {"tick", "class", "text"}
    assert found["first_difference"]["tick"] == 57


def with_topic(flight, topic: str, *, kept: bool):
    return [each for each in flight if (each.topic == topic) == kept]


def half(path):
    """The bag's file cut in the middle, as a full disk leaves it."""
    file = next(path.glob("*.mcap"))
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    return path


@pytest.mark.parametrize(
    ("change", "policy", "said"),
    [
        (
            lambda f: with_topic(f, "/diagnostics", kept=False),
            "hopper/paper",
            "which policy served",
        ),
        (lambda f: f, "hopper/selected", "is of policy"),
        (lambda f: with_topic(f, "/action_stamped", kept=False), "hopper/paper", "action_stamped"),
        (lambda f: with_topic(f, "/observation", kept=True), "hopper/paper", "action_stamped"),
        (lambda f: f, "", "--policy: none given"),
    ],
    ids=["no_hash", "another_policy", "no_commands", "observations_only", "no_policy"],
)
def test_bad_input_is_one_line_and_status_2(flight, tmp_path, capsys, change, policy, said):
    bag = write_bag(tmp_path / "bag", change(flight))
    assert run(bag, *(["--policy", policy] if policy else [])) == 2
    said_all = capsys.readouterr().err.splitlines()
    assert len(said_all) == 1
    assert said in said_all[0]


def test_a_bag_without_hash_is_compared_when_asked(flight, tmp_path):
    bag = write_bag(tmp_path / "bag", with_topic(flight, "/diagnostics", kept=False))
    assert run(bag, "--policy", "hopper/paper", "--any-policy") == 0


def test_a_half_written_bag_is_read_as_far_as_it_goes(flight, tmp_path, capsys):
    path = tmp_path / "bag_0.mcap"
    writer = McapWriter(path, "test")
    channels = {}
    for index, each in enumerate(flight):
        if each.topic not in channels:
            channels[each.topic] = writer.add_channel(each.topic, each.kind, "", "")
        writer.write(channels[each.topic], each.log, each.log, index, each.data)
        if not index % 20:
            writer.flush()
    writer.close()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert run(path, "--policy", "hopper/paper") in (0, 1)
    assert "are used" in capsys.readouterr().out
    path.write_bytes(content[:40])
    assert run(path, "--policy", "hopper/paper") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_several_nodes_in_a_bag_are_told_apart(flight, tmp_path, capsys):
    def moved(each: Message, home: str) -> Message:
        return each._replace(topic=home + each.topic) if each.kind == JOINT_STATE else each

    both = [moved(each, home) for each in flight for home in ("/one", "/two")]
    bag = write_bag(tmp_path / "bag", both)
    assert run(bag, "--policy", "hopper/paper") == 2
    assert "--namespace" in capsys.readouterr().err


class Parser(HTMLParser):
    """Collects what a page would load."""

    def __init__(self):
        super().__init__()
        self.loaded = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        names = dict(attrs)
        if tag in {"script", "link", "img", "iframe"}:
            self.loaded.append(tag)
        self.loaded += [names[n] for n in ("src",) if n in names]

    def handle_data(self, data):
        self.text += data


def test_the_page_shows_the_first_difference_and_loads_nothing(tmp_path, go2, capsys):
    safe = go2.contract.safe
    fault = Fault(at=60, sent=lambda *_: safe)
    bag = write_bag(tmp_path / "bag", robot_flight(go2, Settings(ticks=100), fault).messages)
    assert run(bag, "--policy", "go2/walk", "--out", tmp_path / "out") == 1
    capsys.readouterr()
    parser = Parser()
    parser.feed((tmp_path / "out" / "replay.html").read_text())
    assert parser.loaded == []
    assert "tick 60" in parser.text
    assert "FL_hip_joint" in parser.text
    assert json.loads((tmp_path / "out" / "replay.json").read_text())["equal"] is False
