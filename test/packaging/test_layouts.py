"""Layouts show topics that there are; container files name their distro."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from ros_processes import ROOT

from qpolicy_ros.nodes.serving.timing import STAGES

ROS2 = (ROOT / "docs" / "ros2.md").read_text(encoding="utf-8")


def check(topic):
    assert f"`{topic}`" in ROS2 or f"`/{topic}`" in ROS2


def test_foxglove_shows_topics_of_ours():
    layout = json.loads((ROOT / "config/foxglove/policy_node.json").read_text())
    shown = json.dumps(layout["layout"])
    assert all(f'"{panel}"' in shown for panel in layout["configById"])
    paths = [path for panel in layout["configById"].values() for path in panel.get("paths", ())]
    assert paths
    for path in paths:
        topic, _, rest = path["value"].lstrip("/").partition(".")
        check(topic)
        stage = re.fullmatch(r"position\[(\d)\]", rest)
        if topic == "timing":
            assert STAGES[int(stage.group(1))] == path["label"]


def test_plotjuggler_shows_topics_of_ours():
    root = ET.parse(ROOT / "config/plotjuggler/policy_node.xml").getroot()
    curves = [curve.get("name").strip("/").split("/") for curve in root.iter("curve")]
    assert curves
    for topic, *rest in curves:
        check(topic)
        if topic == "timing":
            assert rest[0] in STAGES


@pytest.mark.parametrize("distro", ["jazzy", "kilted"])
def test_a_container_is_of_its_distro_and_said_to_be_unbuilt(distro):
    text = Path(ROOT / "docker" / f"{distro}.Dockerfile").read_text()
    assert f"FROM ros:{distro}-ros-base" in text
    assert "Not built where this was written" in text
    assert {"jazzy": "kilted", "kilted": "jazzy"}[distro] not in text
