"""A generated folder's manifest may be damaged or hostile; nothing in it is used unchecked."""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
from pathlib import Path

import pytest
from policy_builders import random_artifact

from qpolicy_fpga import folder, generate
from qpolicy_fpga.folder import NOTE
from qpolicy_fpga.manifest import MAX_BYTES, read_manifest
from qpolicy_fpga.report.lint import main as lint
from qpolicy_fpga.report.report import MAX_BYTES as MAX_GOLDEN
from qpolicy_fpga.report.report import _golden_codes
from qpolicy_ros.cli.main import main as qpolicy
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.policy import PolicyError, load_policy, save_policy


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generated")
    written = generate(random_artifact(), "xc7a15t", 100.0, "latency", folder, with_io=True)
    assert read_manifest(folder) == written
    return written


@pytest.fixture
def fields(manifest):
    """What is in the file."""
    return json.loads(json.dumps(manifest.as_json()))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("top", "qpolicy_core; exec id"),
        ("files", ["../../outside.v"]),
        ("files", ["/etc/passwd"]),
        ("files", ['a".v']),
        ("files", "qpolicy_core.v"),
        ("function_hash", "0" * 63),
        ("function_hash", 7),
        ("task", "a\x1b[2J"),
        ("task", "\ud800"),
        ("cycles", 10**9),
        ("n", 0),
        ("n", 4.0),
        ("m", True),
        ("clock_mhz", 0),
        ("clock_mhz", "100"),
        ("layers", [{}]),
        ("layers", [None]),
        ("pareto", [[1]]),
        ("part", "xc7a999t"),
        ("part", ["xc7a15t"]),
        ("b_in", 9),
        ("codes_per_beat", 10**6),
        ("beats", 2),
        ("io", 5),
        ("io", None),
    ],
)
def test_a_hostile_value_is_named(fields, tmp_path, field, value):
    (tmp_path / "manifest.json").write_text(json.dumps({**fields, field: value}))
    with pytest.raises(PolicyError, match=rf"manifest\.json: {field}: .*not one of a generated"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("top", "qpolicy_io; exec -- touch /tmp/x"),
        ("top", 1),
        ("files", ["../outside.v"]),
        ("files", [1]),
        ("files", {}),
        ("cycles", "7"),
        ("initiation_interval", 0),
        ("beats", 0),
        ("words_per_beat", 1.5),
    ],
)
def test_a_hostile_value_of_the_front_and_back_is_named(fields, tmp_path, field, value):
    hostile = {**fields, "io": {**fields["io"], field: value}}
    (tmp_path / "manifest.json").write_text(json.dumps(hostile))
    with pytest.raises(PolicyError, match=rf"json: io\.{field}: .*not one of a generated"):
        read_manifest(tmp_path)


def test_a_front_without_its_files_is_named(fields, tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({**fields, "io": {}}))
    with pytest.raises(PolicyError, match=r"io\.top: is missing; generate the folder again"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (None, "No such file"),
        ("", "no whole observations of 1 words of 16 bits"),
        ("zz\n", "'zz' is no hexadecimal number"),
        ("-1\n", "'-1' is no hexadecimal number"),
        ("0x12\n", "'0x12' is no hexadecimal number"),
        ("f" * 10_000, "is no hexadecimal number"),
        ("fffff\n", "no whole observations"),
        ("\xb2\n", "ascii"),
        (" " * (MAX_GOLDEN + 1), "has more than 16777216 bytes"),
    ],
)
def test_golden_vectors_that_are_damaged_are_named(manifest, tmp_path, text, wrong):
    if text is not None:
        (tmp_path / "golden_in.hex").write_text(text, encoding="utf-8")
    with pytest.raises(PolicyError, match=rf"golden_in\.hex: golden vectors: .*{wrong}"):
        _golden_codes(tmp_path, manifest)


def test_a_missing_field_is_named(fields, tmp_path):
    del fields["beats"]
    (tmp_path / "manifest.json").write_text(json.dumps(fields))
    with pytest.raises(PolicyError, match="beats: is missing; generate the folder again"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "NaN,", "\udcff"])
def test_what_is_no_json_is_named(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text, errors="surrogateescape")
    with pytest.raises(InputError, match="manifest: cannot be read"):
        read_manifest(tmp_path)


def test_a_huge_file_is_not_read(tmp_path):
    with (tmp_path / "manifest.json").open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(PolicyError, match="no file of at most"):
        read_manifest(tmp_path)


def test_lint_names_a_folder_without_a_manifest(tmp_path, capsys):
    assert lint([str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_that_was_being_written_has_no_manifest(tmp_path, monkeypatch):
    generate(random_artifact(0), "xc7a15t", 100.0, "latency", tmp_path)

    def killed(path, content):
        if path.name == folder.MANIFEST:
            raise KeyboardInterrupt
        write_atomically(path, content)

    monkeypatch.setattr(folder, "write_atomically", killed)
    with pytest.raises(KeyboardInterrupt):
        generate(random_artifact(1), "xc7a15t", 100.0, "latency", tmp_path)
    with pytest.raises(InputError, match="not found"):
        read_manifest(tmp_path)


def test_a_folder_can_be_made_again_from_its_manifest(tmp_path):
    save_policy(random_artifact(3, 11, (16,), 3), tmp_path / "mine.safetensors")
    policy = load_policy(tmp_path / "mine.safetensors")
    generate(policy, "xc7a35t", 50.0, "area", tmp_path / "first", 40, with_io=True)
    told = read_manifest(tmp_path / "first")
    assert (told.policy, told.file_hash) == ("mine.safetensors", policy.file_hash)
    asked = told.part, told.clock_mhz, told.fit
    second = tmp_path / "second"
    generate(policy, *asked, second, told.max_latency, with_io=told.io is not None)
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*") if path.is_file()}
        for name in ("first", "second")
    )
    assert first == second


def test_the_manifest_has_the_revision_of_the_generator(manifest):
    assert re.fullmatch(r"unknown|[0-9a-f]{12}\+?", manifest.git_revision)


def test_a_folder_that_is_generated_into_again_keeps_nothing_of_before(tmp_path):
    (tmp_path / "mine.v").write_text("")
    old = generate(random_artifact(), "xc7a15t", 100.0, "latency", tmp_path, with_io=True)
    new = generate(random_artifact(hidden=(8,)), "xc7a15t", 100.0, "latency", tmp_path)
    assert set(old.files) > set(new.files)
    kept = {path.name for path in tmp_path.glob("*.v")}
    assert kept == {*new.files, *(name for name in new.bench if name[-2:] == ".v"), "mine.v"}


def stop_at(write, monkeypatch):
    """Let the process end at the given write into a folder, counted from 0."""
    write_text, writes = Path.write_text, itertools.count()

    def ends(path, text, **options):
        write_text(path, text[: len(text) // 2], **options)  # half a file
        if next(writes) == write:
            raise KeyboardInterrupt
        return write_text(path, text, **options)

    monkeypatch.setattr(Path, "write_text", ends)


@pytest.mark.parametrize("write", [0, 3, 7, 13])
@pytest.mark.parametrize("before", [(), (6, 6, 6)], ids=["into an empty folder", "again"])
def test_what_a_killed_run_left_goes_with_the_next(tmp_path, monkeypatch, before, write):
    if before:
        generate(random_artifact(hidden=before), "xc7a15t", 100.0, "latency", tmp_path)
    (tmp_path / "mine.v").write_text("")
    with monkeypatch.context() as patched:
        stop_at(write, patched)
        with pytest.raises(KeyboardInterrupt):
            generate(random_artifact(), "xc7a15t", 100.0, "latency", tmp_path, with_io=True)
    with pytest.raises(InputError, match="not found; generate the folder again"):
        read_manifest(tmp_path)
    new = generate(random_artifact(hidden=(8,)), "xc7a15t", 100.0, "latency", tmp_path)
    kept = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert kept == {*new.files, *new.bench, "mine.v", "manifest.json"}


def test_a_killed_runs_note_names_nothing_outside_the_folder(tmp_path):
    out = tmp_path / "generated"
    out.mkdir()
    others = [tmp_path / "mine.v", out / "inner" / "mine.v"]
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    names = ["../mine.v", "inner/mine.v", str(others[0]), 3, None]
    (out / NOTE).write_text(json.dumps({"files": names}))
    generate(random_artifact(hidden=(8,)), "xc7a15t", 100.0, "latency", out)
    assert all(path.is_file() for path in others)


def test_a_disk_that_is_full_is_named_by_the_folder(tmp_path, monkeypatch, capsys):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # a write has no name

    monkeypatch.setattr("qpolicy_fpga.generate", full)
    out = tmp_path / "generated"
    assert qpolicy(["fpga", "generate", "hopper", "--out", str(out)]) == 2
    wrong = f"{out}: folder: {os.strerror(errno.ENOSPC)}; free some space"
    assert capsys.readouterr().err == f"qpolicy fpga: error: {wrong}\n"
