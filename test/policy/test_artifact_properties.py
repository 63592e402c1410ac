"""Any valid policy survives its file; any single change to a file is refused or harmless."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from policy_builders import random_artifact, random_observations
from policy_files import edit_tensors, read_raw, write_raw
from policy_strategies import JSON, artifacts
from robot_contracts import robot_contract

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.policy import (
    engine_kinds,
    hashing,
    load_policy,
    make_engine,
    save_policy,
)

KINDS = {
    "integer": random_artifact(1, 3, (4,), 2, output_bits=3),
    "fp32": random_artifact(2, 3, (4,), 2, integer=False),
    "robot": random_artifact(3, hidden=(4, 3), contract=robot_contract(), output_bits=3),
}


@pytest.fixture(scope="module", params=KINDS)
def whole(request, tmp_path_factory):
    """A good policy's file, which nobody changes."""
    path = tmp_path_factory.mktemp("whole") / "policy.safetensors"
    save_policy(KINDS[request.param], path)
    return path


def equal(one, other):
    """Whether two parts of artifacts are the same, types and bits of arrays included."""
    if dataclasses.is_dataclass(one):
        fields = [field.name for field in dataclasses.fields(one) if field.name != "path"]
        return all(equal(getattr(one, name), getattr(other, name)) for name in fields)
    if isinstance(one, tuple) and one and isinstance(one[0], np.ndarray):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, np.ndarray):
        same = (one.dtype, one.shape) == (other.dtype, other.shape)
        return same and one.tobytes() == other.tobytes()
    return one == other


def saved(artifact):
    """The bytes of the artifact's file."""
    with tempfile.TemporaryDirectory() as folder:
        save_policy(artifact, Path(folder) / "policy.safetensors")
        return (Path(folder) / "policy.safetensors").read_bytes()


def loaded(content):
    """The policy in a file of these bytes; None if it is refused by name, in one line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.safetensors"
        path.write_bytes(content)
        try:
            return load_policy(path)
        except InputError as error:
            refusal = str(error)
    assert str(path) in refusal
    assert len(refusal.splitlines()) == 1
    return None


@given(artifacts())
def test_what_is_saved_is_what_is_loaded(artifact):
    content = saved(artifact)

    again = loaded(content)

    assert again is not None
    assert equal(artifact, again)
    assert saved(again) == content


@given(data=st.data(), change=st.integers(1, 255))
def test_any_changed_byte_is_refused_or_changes_nothing(whole, data, change):
    content = bytearray(whole.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1), "position")] ^= change

    found = loaded(content)

    # Another spelling of the same JSON is the same policy.
    assert found is None or saved(found) == whole.read_bytes()


@given(data=st.data())
def test_any_piece_cut_out_or_put_in_is_refused_or_changes_nothing(whole, data):
    content = whole.read_bytes()
    first = data.draw(st.integers(0, len(content)), "from")
    last = data.draw(st.integers(first, min(len(content), first + 64)), "to")
    content = content[:first] + data.draw(st.binary(max_size=64), "new") + content[last:]

    found = loaded(content)

    assert found is None or saved(found) == whole.read_bytes()


def places(value, path=()):
    """Paths of everything in a JSON value, itself included."""
    yield path
    items = value.items() if isinstance(value, dict) else []
    items = enumerate(value) if isinstance(value, list) else items
    for key, inner in items:
        yield from places(inner, (*path, key))


def with_field(content, path, value, *, rehash):
    """The file with one value of its metadata changed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "policy.safetensors"
        file.write_bytes(content)
        header, data = read_raw(file)
        root = {"": json.loads(header["__metadata__"]["qpolicy"])}
        at, keys = root, ["", *path]
        for key in keys[:-1]:
            at = at[key]
        at[keys[-1]] = value
        metadata = root[""]
        if rehash and isinstance(metadata, dict) and {"bits", "contract"} <= metadata.keys():
            tensors = safetensors.numpy.load_file(file)
            metadata["function_hash"] = hashing.function_hash(metadata, tensors)
            metadata["file_hash"] = hashing.file_hash(metadata, tensors)
        header["__metadata__"]["qpolicy"] = json.dumps(metadata)
        write_raw(file, header, data)
        return file.read_bytes()


def metadata_of(path):
    return json.loads(read_raw(path)[0]["__metadata__"]["qpolicy"])


@given(data=st.data(), value=JSON)
def test_any_changed_field_is_refused_or_changes_nothing(whole, data, value):
    path = data.draw(st.sampled_from(list(places(metadata_of(whole)))), "field")

    found = loaded(with_field(whole.read_bytes(), path, value, rehash=False))

    assert found is None or saved(found) == whole.read_bytes()


@given(data=st.data(), value=JSON.filter(lambda value: "inf" not in repr(value)))
def test_any_forged_field_is_refused_or_makes_another_valid_policy(whole, data, value):
    path = data.draw(st.sampled_from(list(places(metadata_of(whole)))), "field")

    found = loaded(with_field(whole.read_bytes(), path, value, rehash=True))

    if found is not None:
        assert equal(found, loaded(saved(found)))
        check_actions(found)


def check_actions(artifact):
    """All engines give the same action, within the limits."""
    if artifact.network is None:
        return
    for row in random_observations(0, 5, artifact.network.mean.size):
        actions = [make_engine(artifact.network, kind).act(row) for kind in engine_kinds()]
        assert all((action == actions[0]).all() for action in actions)
        assert (actions[0] >= artifact.contract.low).all()
        assert (actions[0] <= artifact.contract.high).all()


@given(data=st.data())
def test_any_forged_number_is_refused_or_makes_another_valid_policy(whole, data):
    tensors = safetensors.numpy.load_file(whole)
    name = data.draw(st.sampled_from(sorted(tensors)), "tensor")
    item = tensors[name].dtype.itemsize
    at = data.draw(st.integers(0, tensors[name].size - 1), "index")
    value = data.draw(st.binary(min_size=item, max_size=item), "bytes")

    def change(arrays):
        arrays[name].reshape(-1).view(np.uint8)[at * item : (at + 1) * item] = list(value)

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "policy.safetensors"
        file.write_bytes(whole.read_bytes())
        edit_tensors(file, change, rehash=True)
        found = loaded(file.read_bytes())

    if found is not None:
        assert equal(found, loaded(saved(found)))
        check_actions(found)
