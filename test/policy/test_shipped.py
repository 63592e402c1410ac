"""Shipped policies are files of format 1 and 2: a newer format must not move a bit of them."""

from __future__ import annotations

import json

import pytest

from qpolicy_ros.policy import load_policy, policy_folders, save_policy
from qpolicy_ros.policy.container import read_container
from qpolicy_ros.policy.layout import metadata_of, tensors_of

FILES = sorted(
    file
    for file in policy_folders()[-1].glob("*/*.safetensors")
    if not file.name.endswith(".qat.safetensors")
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_shipped_policy_is_written_again_as_it_is(file):
    text, tensors = read_container(file)
    artifact = load_policy(file)
    assert metadata_of(artifact) == json.loads(text)
    assert tensors_of(artifact).keys() == tensors.keys()


def test_its_bytes_are_the_same(tmp_path):
    save_policy(load_policy(FILES[0]), tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == FILES[0].read_bytes()
