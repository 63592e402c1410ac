"""Where a Menagerie robot's model comes from, and what is said where it cannot be had."""

from __future__ import annotations

import sys

import pytest

from qpolicy_ros.policy import PolicyError
from qpolicy_ros.sim.menagerie import menagerie_model

menagerie = pytest.importorskip("mujoco_menagerie")


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    """No model in this environment, no cache, and nothing to download from."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
    monkeypatch.setenv("MENAGERIE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("MENAGERIE_BASE_URL", (tmp_path / "nowhere").as_uri())
    monkeypatch.delenv("MENAGERIE_ROOT", raising=False)


def test_a_model_in_the_environment_comes_first(tmp_path):
    folder = tmp_path / "environment" / "share" / "mujoco_menagerie" / "unitree_go2"
    folder.mkdir(parents=True)
    (folder / "go2.xml").write_text("<mujoco/>")
    assert menagerie_model("unitree_go2", "go2") == folder / "go2.xml"


def test_a_checkout_is_taken(tmp_path, monkeypatch):
    (tmp_path / "unitree_go2").mkdir()
    monkeypatch.setenv("MENAGERIE_ROOT", str(tmp_path))
    assert menagerie_model("unitree_go2", "go2") == tmp_path / "unitree_go2" / "go2.xml"


@pytest.mark.parametrize(
    ("robot", "entry", "wrong"),
    [("unitree_go2", "go2", "not found"), ("unitree_go9", "go9", "unitree_go9")],
)
def test_a_model_that_cannot_be_had_is_named_in_one_line(robot, entry, wrong):
    with pytest.raises(PolicyError, match=wrong) as caught:
        menagerie_model(robot, entry)
    assert "\n" not in str(caught.value)
    assert "MENAGERIE_ROOT" in str(caught.value)


def test_an_unknown_entry_is_refused(tmp_path, monkeypatch):
    (tmp_path / "unitree_go2").mkdir()
    monkeypatch.setenv("MENAGERIE_ROOT", str(tmp_path))
    with pytest.raises(PolicyError, match="gone"):
        menagerie_model("unitree_go2", "gone")


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco_menagerie", None)
    with pytest.raises(PolicyError, match="pip install mujoco-menagerie"):
        menagerie_model("unitree_go2", "go2")
