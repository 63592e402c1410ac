"""Text and JSON of strangers: read within bounds, or refused in one line that names the file."""

from __future__ import annotations

import os

import pytest

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.json_files import is_count, is_number, is_text, read_json, shown


def test_a_value_is_read(tmp_path):
    (tmp_path / "a.json").write_text('{"a": [1, "é"]}', encoding="utf-8")
    assert read_json(tmp_path / "a.json", "rows", 100, "") == {"a": [1, "é"]}


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"", "rows: cannot be read: Expecting value"),
        (b"[" * 100_000, "rows: cannot be read: maximum recursion depth"),
        (b"9" * 5000, "rows: cannot be read: Exceeds the limit"),
        (b"\xff", "rows: cannot be read: 'utf-8' codec"),
        (b" " * 100_001, "rows: is larger than 100000 bytes"),
        (None, "rows: not found"),
    ],
)
def test_what_is_no_json_is_named(tmp_path, content, wrong):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as refused:
        read_json(path, "rows", 100_000, "give others")
    assert str(refused.value).startswith(f"{path}: {wrong}")
    assert str(refused.value).endswith("; give others")


def test_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="rows: is no regular file; give others"):
        read_json(tmp_path / "pipe", "rows", 100, "give others")


def test_a_name_that_is_too_long_is_refused(tmp_path):
    with pytest.raises((InputError, OSError), match="File name too long"):
        read_json(tmp_path / ("a" * 300), "rows", 100, "give others")


def test_what_fields_may_hold():
    assert is_number(1.5)
    assert is_number(3, 3, 3)
    assert not any(map(is_number, (True, "1", float("nan"), float("inf"), 10**400, None)))
    assert is_count(7)
    assert not any(map(is_count, (7.0, -1, False, 2**60)))
    assert is_text("é |")
    assert not any(map(is_text, ("\n", "\ud800", "a" * 2001, 1)))


def test_an_error_shows_scalars_and_names_the_kind_of_others():
    assert [shown(value) for value in (None, "a\n", 1.5, [1])] == [
        "None",
        "'a\\n'",
        "1.5",
        "a list",
    ]
