"""Writing files: whole or not at all, and never in place of something that is no file."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.files import make_folder, scratch_folder, write_atomically, writing_into


def test_a_link_stays_one_and_its_file_is_written(tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"old")
    link.symlink_to(file)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert file.read_bytes() == b"new"


def test_a_link_to_a_file_that_is_not_there_yet_makes_it(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "file")
    write_atomically(link, b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to(path)])
def test_a_pipe_a_folder_and_a_loop_are_refused_and_stay(tmp_path, make):
    path = tmp_path / "taken"
    make(path)
    kind = path.lstat().st_mode
    with pytest.raises(InputError, match="taken: file: is no regular file; give a file's name"):
        write_atomically(path, b"new")
    assert path.lstat().st_mode == kind


def test_a_device_is_refused():
    with pytest.raises(InputError, match="/dev/null: file: is no regular file"):
        write_atomically(Path(os.devnull), b"")


def test_a_folder_is_made_with_those_above_it(tmp_path):
    assert make_folder(tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("below", ["", "b"])
def test_a_file_where_a_folder_should_be_is_named(tmp_path, below):
    (tmp_path / "a").touch()
    with pytest.raises(InputError, match="folder: a file has this name; give another folder"):
        make_folder(tmp_path / "a" / below)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_folder_for_temporary_files_is_named(tmp_path, monkeypatch, number):
    """A write through an open file fails without a name: that of the folder is all there is."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    named = rf"^{tmp_path}: folder: {os.strerror(number)}; free some space, or let TMPDIR name"
    with pytest.raises(InputError, match=named), scratch_folder():
        raise OSError(number, os.strerror(number))
    assert not list(tmp_path.iterdir())


def test_no_folder_for_temporary_files_is_named_too(monkeypatch):
    """The standard library tries TMPDIR, /tmp and others, and gives up where all are full."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_get_default_tempdir", mock_no_folder)
    monkeypatch.setenv("TMPDIR", "/full")
    with pytest.raises(InputError, match=r"^/full: TMPDIR: no folder .*TMPDIR"), scratch_folder():
        pass


def mock_no_folder(*_):
    raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(PermissionError), writing_into(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied", "a")
