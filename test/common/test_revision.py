"""The revision that measurements and generated folders carry."""

from __future__ import annotations

import subprocess

import pytest

from qpolicy_ros.common import revision as module


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A repository with a package in it, in whose place the module now stands."""
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "a.py").write_text("1\n")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "b.py").write_text("1\n")
    for command in ("init -q", "add .", "commit -q -m first"):
        _git(tmp_path, command)
    monkeypatch.setattr(module, "_PACKAGE", folder)
    monkeypatch.setattr(module, "__file__", str(folder / "a.py"))
    return folder


def _git(folder, command):
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = ["git", "-C", str(folder), *who, *command.split()]
    return subprocess.run(done, check=True, capture_output=True, text=True).stdout.strip()


def test_it_is_the_commit(package):
    assert module.revision() == _git(package, "rev-parse --short=12 HEAD")


def test_a_change_of_the_package_shows(package):
    (package / "a.py").write_text("2\n")
    assert module.revision().endswith("+")


def test_a_change_elsewhere_shows_only_where_it_is_asked_for(package):
    other = package.parent / "other"
    (other / "b.py").write_text("2\n")
    assert not module.revision().endswith("+")
    assert module.revision(other).endswith("+")


def test_a_package_that_lies_in_another_repository_has_none(package, monkeypatch):
    (package / "installed.py").write_text("1\n")
    monkeypatch.setattr(module, "__file__", str(package / "installed.py"))
    assert module.revision() == "unknown"
