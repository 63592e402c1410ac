"""Files that are no policy, or hostile ones, are refused before memory is taken."""

from __future__ import annotations

import os
import tracemalloc
import zipfile

import numpy as np
import pytest
import safetensors.numpy
from policy_builders import random_artifact
from policy_files import read_raw, write_raw

from qpolicy_ros.policy import PolicyError, load_policy, save_policy
from qpolicy_ros.policy.container import MAX_FILE_BYTES


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "toy.safetensors"
    save_policy(random_artifact(), path)
    return path


def refusal(path) -> str:
    """The error's text, one line that begins with the file's name."""
    with pytest.raises(PolicyError) as caught:
        load_policy(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert "; " in text  # the remedy
    return text


def test_missing_file(tmp_path):
    assert "does not exist" in refusal(tmp_path / "none.safetensors")


def test_path_through_a_file(file):
    assert "does not exist" in refusal(file / "inner.safetensors")


def test_folder(tmp_path):
    assert "is a folder" in refusal(tmp_path)


def test_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe")

    assert "not a regular file" in refusal(tmp_path / "pipe")


def test_file_without_permission(file, monkeypatch):
    # Root may read anything, so the refusal of the system is played.
    def refuse(*_arguments, **_keywords):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(file), "open", refuse)

    assert "Permission denied" in refusal(file)


def test_empty_file(file):
    file.write_bytes(b"")

    assert "is empty" in refusal(file)


@pytest.mark.parametrize("keep", [1, 7, 8, 9, 100])
def test_file_cut_within_the_header(file, keep):
    file.write_bytes(file.read_bytes()[:keep])

    assert ("truncated" if keep > 8 else "is not a safetensors file") in refusal(file)


def test_file_cut_within_the_tensors(file):
    file.write_bytes(file.read_bytes()[:-1])

    assert "truncated" in refusal(file)


def test_file_with_something_behind(file):
    file.write_bytes(file.read_bytes() + b"\0")

    assert "has extra bytes" in refusal(file)


def test_zip_archive(file):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data.pkl", b"\x80\x04.")

    assert "is not a safetensors file" in refusal(file)


@pytest.mark.parametrize("text", ["a policy, honestly", "policy", "p"])
def test_text_file(file, text):
    file.write_text(text)

    assert "is not a safetensors file" in refusal(file)


def test_other_safetensors(file):
    safetensors.numpy.save_file({"weight": np.zeros(3, np.float32)}, file, {"format": "pt"})

    assert "not a policy" in refusal(file)


def test_safetensors_without_metadata(file):
    safetensors.numpy.save_file({"weight": np.zeros(3, np.float32)}, file)

    assert "not a policy" in refusal(file)


def test_huge_file_is_not_read(file):
    with file.open("r+b") as stream:
        stream.truncate(MAX_FILE_BYTES + 1)

    assert f"at most {MAX_FILE_BYTES}" in refusal(file)


@pytest.mark.parametrize("length", [2**62, 2**31, (16 << 20) + 1])
def test_huge_header_length_is_not_allocated(file, length):
    file.write_bytes(length.to_bytes(8, "little") + b"{" + bytes(100))
    tracemalloc.start()
    try:
        assert "not a safetensors file" in refusal(file)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 1 << 20


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"shape": [1 << 40]}, "at most 2 axes of"),
        ({"shape": [1, 1, 4]}, "at most 2 axes of"),
        ({"shape": [5]}, "expected 20"),
        ({"shape": [-4]}, "damaged header entry"),
        ({"shape": ["4"]}, "damaged header entry"),
        ({"shape": [True]}, "damaged header entry"),
        ({"shape": 4}, "damaged header entry"),
        ({"data_offsets": [0, 1 << 50]}, "bytes for shape"),
        ({"data_offsets": [0]}, "damaged header entry"),
        ({"dtype": "F64"}, "dtype 'F64'"),
        ({"dtype": ["F32"]}, "dtype"),
    ],
)
def test_hostile_tensor_entry(file, change, expected):
    header, data = read_raw(file)
    header["integer.mean"].update(change)
    write_raw(file, header, data)

    text = refusal(file)

    assert "integer.mean" in text
    assert expected in text


def test_overlapping_tensors(file):
    header, data = read_raw(file)
    header["integer.mean"]["data_offsets"] = header["integer.gain"]["data_offsets"]
    write_raw(file, header, data)

    assert "damaged" in refusal(file)


def test_too_many_tensors(file):
    header, data = read_raw(file)
    for index in range(200):
        header[f"extra.{index}"] = {"dtype": "I8", "shape": [0], "data_offsets": [0, 0]}
    write_raw(file, header, data)

    assert "at most 128" in refusal(file)


@pytest.mark.parametrize("text", [b'{"a":', b"{\xff}", b'{"a":' * 100_000])
def test_damaged_header(file, text):
    file.write_bytes(len(text).to_bytes(8, "little") + text)

    assert "header: damaged" in refusal(file)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format_version": NaN}', "[" * 100_000])
def test_damaged_metadata(file, text):
    header, data = read_raw(file)
    header["__metadata__"]["qpolicy"] = text
    write_raw(file, header, data)

    assert "metadata" in refusal(file)
