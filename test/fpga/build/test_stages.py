"""Stages of a build: made once, made whole, made again when an input changes."""

from __future__ import annotations

import errno
import json

import pytest

from qpolicy_fpga.build.stages import RECORD, Stages
from qpolicy_ros.common.errors import InputError


def lines_of(folder, inputs, work, name="copy"):
    said = []
    files = Stages(folder, said.append).run(name, inputs, work)
    return said, files


def write(text):
    def work(folder):
        (folder / "a.txt").write_text(text)

    return work


def test_a_stage_is_made_once_for_the_same_inputs(tmp_path):
    said, files = lines_of(tmp_path, ["one"], write("first"))
    assert said[0] == "copy"
    assert files == [tmp_path / "a.txt"]
    said, _ = lines_of(tmp_path, ["one"], write("second"))
    assert said == ["copy: as before"]
    assert (tmp_path / "a.txt").read_text() == "first"


@pytest.mark.parametrize("what", ["input", "file", "gone", "record"])
def test_a_stage_is_made_again_when_something_changed(tmp_path, what):
    source = tmp_path / "source.v"
    source.write_text("x")
    lines_of(tmp_path, [source], write("first"))
    if what == "input":
        source.write_text("y")
    elif what == "file":
        (tmp_path / "a.txt").write_text("altered")
    elif what == "gone":
        (tmp_path / "a.txt").unlink()
    else:
        (tmp_path / RECORD).write_text("{")
    lines_of(tmp_path, [source], write("second"))
    assert (tmp_path / "a.txt").read_text() == "second"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), InputError("a tool failed")])
def test_an_interrupted_stage_leaves_what_was_there(tmp_path, error):
    lines_of(tmp_path, ["one"], write("first"))

    def interrupted(folder):
        (folder / "a.txt").write_text("half")
        raise error

    with pytest.raises(type(error)):
        lines_of(tmp_path, ["two"], interrupted)
    assert (tmp_path / "a.txt").read_text() == "first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "board"]


def test_what_a_killed_build_left_is_cleared_away(tmp_path):
    left = tmp_path / ".working-left"
    left.mkdir()
    (left / "half.bit").write_text("half")
    Stages(tmp_path, lambda _: None)
    assert not left.exists()


def test_a_full_disk_is_one_line(tmp_path):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InputError, match=r"No space left on device; free some space$"):
        lines_of(tmp_path, ["one"], full)


def test_a_file_that_is_not_made_any_more_is_deleted(tmp_path):
    lines_of(tmp_path, ["one"], write("first"))
    lines_of(tmp_path, ["two"], lambda folder: (folder / "b.txt").write_text("other"))
    assert not (tmp_path / "a.txt").exists()


def test_a_trimmed_stage_counts_as_made_and_a_forgotten_one_does_not(tmp_path):
    def two(folder):
        (folder / "a.txt").write_text("large")
        (folder / "b.txt").write_text("small")

    lines_of(tmp_path, ["one"], two)
    stages = Stages(tmp_path, lambda _: None)
    stages.trim("copy", "b.txt")
    assert not (tmp_path / "a.txt").exists()
    assert lines_of(tmp_path, ["one"], two)[0] == ["copy: as before"]
    Stages(tmp_path, lambda _: None).forget("copy")
    assert len(lines_of(tmp_path, ["one"], two)[0]) == 2


def test_a_record_cannot_lead_out_of_its_folder(tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    folder = tmp_path / "built"
    (folder / "board").mkdir(parents=True)
    record = {"copy": {"key": "x", "files": {"../outside.txt": "y"}}}
    (folder / RECORD).write_text(json.dumps(record))
    Stages(folder, lambda _: None).forget("copy")
    lines_of(folder, ["one"], write("first"))
    assert outside.read_text() == "mine"
