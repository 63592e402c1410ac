"""Shipped policies are files of several formats: a newer one must not move a bit of them."""

from __future__ import annotations

import pytest

from qpolicy_ros.policy import load_policy, policy_folders, save_policy

FILES = sorted(
    file
    for file in policy_folders()[-1].glob("*/*.safetensors")
    if not file.name.endswith(".qat.safetensors")
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_shipped_policy_is_written_again_byte_for_byte(file, tmp_path):
    save_policy(load_policy(file), tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == file.read_bytes()
