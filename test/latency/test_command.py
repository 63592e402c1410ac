"""`qpolicy latency` as a user meets it: exit status, one-line errors, files."""

from __future__ import annotations

import json
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from bags import PERIOD, WALL, answers, reported, write_bag

from qpolicy_ros.cli.main import main

QUANTILES = ("mean_us", "p50_us", "p90_us", "p99_us", "p999_us", "max_us")
KEYS = ("n", "drops", "duplicates", *QUANTILES, "deadline_misses", "stages")


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """Both backends take turns of 150 answers."""
    generator = np.random.default_rng(0)
    messages = [reported(cpu="<b>Z80</b> & more")]
    for turn in range(4):
        backend, scale = (("integer", 1.0), ("fp32", 1.6))[turn % 2]
        at = turn * 150
        latencies = scale * generator.lognormal(5.0, 0.2, 150)
        start, stamp = WALL + at * PERIOD, (at + 1) * PERIOD
        messages += answers(latencies, backend, start=start, stamp=stamp)
    return write_bag(tmp_path_factory.mktemp("bags") / "turns", messages)


def run(*arguments):
    return main(["latency", *map(str, arguments)])


def test_the_table_names_every_backend(bag, capsys):
    assert run(bag) == 0
    lines = capsys.readouterr().out.splitlines()
    table = [line.split() for line in lines if line.startswith(("backend", "integer", "fp32"))]
    assert table[0][:3] == ["backend", "n", "drops"]
    assert ["integer", "200", "0"] in [row[:3] for row in table]
    assert ["fp32", "200", "0"] in [row[:3] for row in table]
    assert any(line.startswith("3 swaps, 0 resets") for line in lines)


def test_json_has_the_fixed_keys(bag, capsys):
    assert run(bag, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["backends"].keys() == {"integer", "fp32"}
    for figures in found["backends"].values():
        assert set(KEYS) <= figures.keys()
        assert {"transport", "queue", "quantise", "infer", "publish"} <= figures["stages"].keys()


def test_compare_says_which_is_faster(bag, capsys):
    assert run(bag, "--compare") == 0
    text = capsys.readouterr().out
    assert "p50: integer is faster than fp32: fp32 takes 1." in text
    assert "confidence > 99" in text


class Links(HTMLParser):
    """Collects what a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and not value.startswith(("#", "data:")):
                self.loaded.append(value)


def test_the_page_needs_nothing_else(bag, tmp_path, capsys):
    assert run(bag, "--compare", "--out", tmp_path / "out") == 0
    page = (tmp_path / "out" / "latency.html").read_text()
    links = Links()
    links.feed(page)
    assert links.loaded == []
    assert "script" not in links.tags
    assert links.tags.count("svg") == 4
    assert "&lt;b&gt;Z80&lt;/b&gt; &amp; more" in page
    assert "deadline, 8,000" in page
    figures = json.loads((tmp_path / "out" / "latency.json").read_text())
    assert figures["backends"]["integer"]["n"] == 200
    assert (tmp_path / "out" / "latency.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()


def test_the_page_is_the_same_twice(bag, tmp_path, capsys):
    for name in ("a", "b"):
        run(bag, "--out", tmp_path / name)
    pages = [(tmp_path / name / "latency.html").read_bytes() for name in ("a", "b")]
    assert pages[0] == pages[1]
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ([], "bags"),
        (["gone"], "does not exist"),
        (["BAG", "--warm-up", "-1"], "--warm-up: -1 is too small"),
        (["BAG", "--warm-up", "100000"], "are warm-up"),
        (["BAG", "--deadline-us", "nan"], "--deadline-us: nan"),
        (["BAG", "--namespace", "robot"], "'robot' has no timing"),
        (["ONE", "--compare"], "only integer has answers"),
        (["BAG", "ONE"], "two artifacts"),
        (["BAG", "--out", "BAG/metadata.yaml"], "metadata.yaml"),
    ],
)
def test_a_wrong_call_is_one_line_and_status_2(bag, tmp_path, capsys, arguments, wrong):
    other = reported(function_hash="cd" * 32)
    one = write_bag(tmp_path / "one", [other, *answers([100.0] * 200)])
    places = {"BAG": str(bag), "ONE": str(one)}
    for name, place in places.items():
        arguments = [str(each).replace(name, place) for each in arguments]
    assert run(*arguments) == 2
    *progress, error = capsys.readouterr().err.splitlines()
    assert all(line.endswith("answers") for line in progress)
    assert error.startswith("qpolicy latency: error: ")
    assert wrong in error


def test_ros_is_not_needed(bag):
    """Nothing of ROS 2, torch or MuJoCo is imported."""
    code = (
        "import sys; from qpolicy_ros.cli.main import main; status = main(sys.argv[1:]); "
        "print(*{'rclpy', 'torch', 'mujoco', 'gymnasium'} & set(sys.modules)); sys.exit(status)"
    )
    command = [sys.executable, "-c", code, "latency", str(bag), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""
