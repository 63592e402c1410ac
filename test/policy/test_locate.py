"""Shipped policies are found by name from anywhere; paths are taken as they are."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from policy_builders import random_artifact

from qpolicy_ros.policy import (
    PolicyError,
    find_policy,
    load_policy,
    locate,
    policy_folders,
    save_policy,
)


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A folder of policies of two tasks, the only one searched; the test runs elsewhere."""
    root = tmp_path / "policies"
    for name in ("hopper/paper", "hopper/fp32", "ant/paper"):
        path = root / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_policy(random_artifact(), path)
    (root / "hopper" / "paper.qat.safetensors").touch()
    (root / "hopper" / "curve.csv").touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv(locate.ENVIRONMENT, str(root))
    return root


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("hopper", "hopper/paper"),
        ("hopper/paper", "hopper/paper"),
        ("hopper/fp32", "hopper/fp32"),
        ("hopper/fp32.safetensors", "hopper/fp32"),
        ("ant", "ant/paper"),
    ],
)
def test_name_is_found(shipped, name, file):
    found = find_policy(name)

    assert found == shipped / f"{file}.safetensors"
    load_policy(found)


@pytest.mark.parametrize("name", ["walker", "hopper/best", "hopper/paper/x", "", "../hopper", "/x"])
def test_unknown_name_lists_what_there_is(shipped, monkeypatch, name):
    monkeypatch.setattr(locate, "policy_folders", lambda: [shipped])

    with pytest.raises(
        PolicyError, match=r"known: ant/paper, hopper/fp32, hopper/paper$"
    ) as caught:
        find_policy(name)

    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("name", [".", "./", ".."])
def test_folder_is_said_to_be_one(name):
    with pytest.raises(PolicyError, match="is a folder"):
        load_policy(find_policy(name))


def test_nothing_installed_names_the_variable(tmp_path, monkeypatch):
    monkeypatch.setattr(locate, "policy_folders", list)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(PolicyError, match=r"set \$QPOLICY_POLICIES"):
        find_policy("hopper")


def test_path_is_taken_as_it_is(shipped):
    path = shipped / "ant" / "paper.safetensors"

    assert find_policy(path) == path
    assert find_policy(str(path)) == path


@pytest.mark.usefixtures("shipped")
def test_relative_path_is_taken_before_a_shipped_policy():
    path = Path("hopper/paper.safetensors")
    path.parent.mkdir()
    path.touch()

    assert find_policy("hopper/paper.safetensors") == path


def test_folder_is_returned_for_load_to_refuse(shipped):
    with pytest.raises(PolicyError, match="is a folder"):
        load_policy(find_policy(shipped / "hopper"))


def test_missing_environment_folder_is_skipped(monkeypatch):
    monkeypatch.setenv(locate.ENVIRONMENT, "/does/not/exist")

    assert Path("/does/not/exist") not in policy_folders()


def layout(root: Path, module: str, policies: str) -> Path:
    """Pretend an install: where the module lies and where the data files lie below ``root``."""
    file = root / policies / "hopper" / "paper.safetensors"
    file.parent.mkdir(parents=True)
    file.touch()
    source = root / module / "qpolicy_ros" / "policy" / "locate.py"
    source.parent.mkdir(parents=True)
    source.touch()
    return source


@pytest.fixture
def only_this_install(monkeypatch):
    """What `colcon test` sets names an install of its own, which would be found first."""
    monkeypatch.delenv(locate.ENVIRONMENT, raising=False)
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)


@pytest.mark.usefixtures("only_this_install")
@pytest.mark.parametrize(
    ("module", "policies"),
    [
        ("lib/python3.11/site-packages", "share/qpolicy_ros/config/policies"),
        ("local/lib/python3.12/dist-packages", "local/share/qpolicy_ros/config/policies"),
        (".", "share/qpolicy_ros/config/policies"),
        ("source", "source/config/policies"),
    ],
    ids=["wheel or colcon", "debian", "--target", "editable"],
)
def test_every_kind_of_install(tmp_path, monkeypatch, module, policies):
    monkeypatch.setattr(locate, "__file__", str(layout(tmp_path, module, policies)))

    assert find_policy("hopper") == tmp_path / policies / "hopper" / "paper.safetensors"


@pytest.mark.usefixtures("only_this_install")
def test_symlink_install_finds_the_source_tree(tmp_path, monkeypatch):
    layout(tmp_path, "source", "source/config/policies")
    build = tmp_path / "build" / "qpolicy_ros"
    build.mkdir(parents=True)
    (build / "qpolicy_ros").symlink_to(tmp_path / "source" / "qpolicy_ros")
    monkeypatch.setattr(locate, "__file__", str(build / "qpolicy_ros" / "policy" / "locate.py"))

    assert find_policy("hopper").is_relative_to(tmp_path / "source")


def ament(monkeypatch, share):
    package, packages = ModuleType("ament_index_python"), ModuleType("ament_index_python.packages")
    packages.get_package_share_directory = share
    monkeypatch.setitem(sys.modules, "ament_index_python", package)
    monkeypatch.setitem(sys.modules, "ament_index_python.packages", packages)
    monkeypatch.delenv(locate.ENVIRONMENT, raising=False)


def test_ament_share_comes_first(tmp_path, monkeypatch):
    layout(tmp_path, "source", "share/qpolicy_ros/config/policies")
    ament(monkeypatch, lambda package: str(tmp_path / "share" / package))

    assert policy_folders()[0] == tmp_path / "share/qpolicy_ros/config/policies"


def test_package_unknown_to_ament_is_no_error(monkeypatch):
    def unknown(package):
        raise LookupError(package)

    ament(monkeypatch, unknown)

    policy_folders()
