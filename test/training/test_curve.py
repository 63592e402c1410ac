"""A learning curve is read back as it was written, or refused by file and line."""

from __future__ import annotations

import pytest

from qpolicy_ros.common.errors import InputError
from qpolicy_training.runs.curve import MOST_BYTES, read_curve, write_curve


def test_a_curve_is_read_as_it_was_written(tmp_path):
    write_curve(tmp_path / "c.csv", [(0, -1.25, 0.4), (2000, 1 / 3, 7.0)])
    assert read_curve(tmp_path / "c.csv") == [(0, -1.25), (2000, 1 / 3)]


HEAD = b"step,held_out_return,seconds\n"


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"", "column step: is missing; give the curve.csv of a training run"),
        (b"a,b", "column step: is missing"),
        (b"step,b\n1,2", "column held_out_return: is missing"),
        (HEAD, "curve: has no rows"),
        (HEAD + b"1,2,3\n4\n", "line 3: '4,' is no step and finite return"),
        (HEAD + b"1.5,2,3\n", "line 2: '1.5,2' is no step"),
        (HEAD + b"-1,2,3\n", "line 2: '-1,2' is no step"),
        (HEAD + b"1,nan,3\n", "line 2: '1,nan' is no step"),
        (HEAD + b"9" * 5000 + b",1,3\n", "is no step"),
        (HEAD + b"1" * 140_000 + b",1,3\n", "field larger than field limit"),
        (b"\xff" + HEAD, "curve: cannot be read: 'utf-8' codec"),
        (b" " * (MOST_BYTES + 1), "curve: is larger than 4194304 bytes"),
    ],
)
def test_what_is_no_curve_is_named_in_one_line(tmp_path, content, wrong):
    file = tmp_path / "c.csv"
    file.write_bytes(content)
    with pytest.raises(InputError) as refused:
        read_curve(file)
    assert str(refused.value).startswith(f"{file}: ")
    assert wrong in str(refused.value)
    assert str(refused.value).isprintable()
