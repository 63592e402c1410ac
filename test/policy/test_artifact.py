"""Policy files: what is saved is what is loaded, and anything altered is refused."""

from __future__ import annotations

import errno
import os
import pickletools

import numpy as np
import pytest
from policy_builders import (
    make_contract,
    random_artifact,
    random_baseline,
    random_network,
    random_observations,
)
from policy_files import edit_metadata, edit_tensors, read_raw
from robot_contracts import robot_contract

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.policy import (
    Baseline,
    IntegerNetwork,
    PolicyError,
    load_policy,
    make_artifact,
    make_engine,
    require_features,
    require_task,
    save_policy,
)


@pytest.fixture
def file(tmp_path):
    """A good policy file."""
    path = tmp_path / "toy.safetensors"
    save_policy(random_artifact(), path)
    return path


def test_load_gives_what_was_saved(file):
    artifact, loaded = random_artifact(), load_policy(file)

    assert loaded.contract == artifact.contract
    assert loaded.provenance == artifact.provenance
    assert loaded.function_hash == artifact.function_hash
    assert loaded.file_hash == artifact.file_hash
    assert loaded.path == str(file)
    for part in ("network", "baseline", "golden"):
        for name, value in vars(getattr(artifact, part)).items():
            found = getattr(getattr(loaded, part), name)
            for one, other in zip(
                *((v if isinstance(v, tuple) else (v,)) for v in (value, found)), strict=True
            ):
                np.testing.assert_array_equal(one, other, f"{part}.{name}")
                assert np.asarray(one).dtype == np.asarray(other).dtype


def test_loaded_arrays_cannot_be_changed(file):
    with pytest.raises(ValueError, match="read-only"):
        load_policy(file).network.weights[0][0, 0] = 1


def test_saving_again_gives_the_same_bytes(file, tmp_path):
    save_policy(load_policy(file), tmp_path / "again.safetensors")

    assert (tmp_path / "again.safetensors").read_bytes() == file.read_bytes()


def test_fp32_only_policy_round_trips(tmp_path):
    save_policy(random_artifact(integer=False), tmp_path / "fp32.safetensors")

    loaded = load_policy(tmp_path / "fp32.safetensors")

    assert loaded.network is None
    assert loaded.golden.codes is None
    assert loaded.golden.actions is None


def test_golden_vectors_are_the_engines_answers():
    artifact = random_artifact()
    engine = make_engine(artifact.network, "numpy")

    for row, observation in enumerate(artifact.golden.observations):
        np.testing.assert_array_equal(artifact.golden.codes[row], engine.trace(observation)[-1])
        np.testing.assert_array_equal(artifact.golden.actions[row], engine.act(observation))


def test_hashes_are_stable():
    # Nothing in it depends on a generator, on BLAS or on the machine's tanh.
    network = IntegerNetwork(
        mean=np.array([0.5, -1.0], np.float32),
        gain=np.array([2.0, 0.25], np.float32),
        input_bits=4,
        core_bits=2,
        output_bits=2,
        weights=(np.array([[1, -2], [0, 1], [-1, -1]], np.int8), np.array([[1, 0, -2]], np.int8)),
        thresholds=(
            np.array([[-4, 0, 5], [-8, 1, 8], [-2, -1, 3]], np.int32),
            np.array([[-6, -1, 2]], np.int32),
        ),
        table=np.array([[-1.0, -0.5, 0.5, 1.0]], np.float32),
    )
    baseline = Baseline(
        mean=np.zeros(2, np.float32),
        std=np.ones(2, np.float32),
        clip=10.0,
        weights=(np.zeros((1, 2), np.float32),),
        biases=(np.zeros(1, np.float32),),
        scale=np.ones(1, np.float32),
        bias=np.zeros(1, np.float32),
    )
    observations = np.array([[0.0, 0.0], [1.0, -3.0]], np.float32)

    artifact = make_artifact(make_contract(2, 1), baseline, network, {"seed": 7}, observations)

    # A change of these breaks every policy file and bitstream there is.
    assert (
        artifact.function_hash == "baee072a8d309f3aadf47337a3d16765faa386e9efe3aaf30c8a430d326a2272"
    )
    assert artifact.file_hash == "dadaf7f141d4c70ef5902ddc3bcf0baaa548fa6a783b2e28436a58e0910bba39"


def test_provenance_changes_the_file_hash_alone():
    contract, observations = make_contract(), random_observations(0, 4, 4)
    one, other = (
        make_artifact(contract, random_baseline(), random_network(), {"seed": seed}, observations)
        for seed in (1, 2)
    )

    assert one.function_hash == other.function_hash
    assert one.file_hash != other.file_hash


@pytest.mark.parametrize("change", ["task", "safe", "weight", "bits"])
def test_function_hash_covers_what_is_computed(change):
    bits = {"input_bits": 5} if change == "bits" else {}
    contract, network = make_contract(), random_network(**bits)
    if change == "task":
        contract = make_contract(task="other")
    if change == "safe":
        action = type(contract.action[0])("motor_0", -1.0, 1.0, 0.5)
        contract = type(contract)(**{**vars(contract), "action": (action, contract.action[1])})
    if change == "weight":
        network.weights[0][0, 0] ^= 1
        network.thresholds[0][0] = 0
    changed = make_artifact(contract, random_baseline(), network, {}, random_observations(0, 4, 4))

    assert changed.function_hash != random_artifact().function_hash


def test_provenance_with_integer_keys_survives_a_round_trip(tmp_path):
    artifact = make_artifact(
        make_contract(),
        random_baseline(),
        random_network(),
        {"by_seed": {10: 1.5, 9: 2.5}},
        random_observations(0, 2, 4),
    )
    save_policy(artifact, tmp_path / "p.safetensors")

    assert load_policy(tmp_path / "p.safetensors").provenance == {"by_seed": {"10": 1.5, "9": 2.5}}


@pytest.mark.parametrize("provenance", [{"mean": float("nan")}, {"x": object()}, ["seed"], None])
def test_provenance_that_is_no_json_is_refused(provenance):
    with pytest.raises(PolicyError, match="provenance"):
        make_artifact(
            make_contract(), random_baseline(), None, provenance, random_observations(0, 2, 4)
        )


def test_golden_observations_must_be_finite():
    with pytest.raises(PolicyError, match=r"golden_observations.*value 2: nan"):
        make_artifact(make_contract(), random_baseline(), None, {}, np.array([[0, 0, np.nan, 0]]))


# Altered files.


def is_refused(path) -> bool:
    try:
        load_policy(path)
    except InputError:
        return True
    return False


def flip(name):
    def edit(tensors):
        tensors[name].view(np.uint8).ravel()[0] ^= 1

    return edit


@pytest.mark.parametrize(
    "name",
    ["integer.mean", "integer.gain", "integer.table", "baseline.weight.1", "baseline.clip"],
)
def test_altered_function_tensor_is_refused(file, name):
    edit_tensors(file, flip(name))

    with pytest.raises(PolicyError, match=r"toy\.safetensors: function_hash: .* was altered"):
        load_policy(file)


@pytest.mark.parametrize("name", ["golden.observations", "golden.codes", "golden.actions"])
def test_altered_golden_vector_is_refused(file, name):
    edit_tensors(file, flip(name))

    with pytest.raises(PolicyError, match=r"toy\.safetensors: file_hash: .* was altered"):
        load_policy(file)


@pytest.mark.parametrize(
    ("name", "step"),
    [("golden.codes", 1), ("golden.actions", 0.1), ("golden.baseline_actions", 0.1)],
)
def test_golden_vectors_are_replayed(file, name, step):
    def edit(tensors):
        tensors[name][0, 0] += np.asarray(step, tensors[name].dtype)

    edit_tensors(file, edit, rehash=True)

    with pytest.raises(PolicyError, match=name):
        load_policy(file)


def test_every_flipped_byte_is_noticed(tmp_path):
    # The small policy has a few thousand bytes; each fifth one is flipped, header included.
    path = tmp_path / "p.safetensors"
    save_policy(random_artifact(inputs=2, hidden=(2,), outputs=1), path)
    good = path.read_bytes()
    unnoticed = []
    for position in range(0, len(good), 5):
        damaged = bytearray(good)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        if not is_refused(path):
            unnoticed.append(position)

    assert not unnoticed


@pytest.mark.parametrize(
    ("edit", "field"),
    [
        (lambda m: m["provenance"].update(seed=99), "file_hash"),
        (lambda m: m["contract"].update(period=0.02), "function_hash"),
        (lambda m: m["contract"]["action"][0].__setitem__(1, -2.0), "function_hash"),
        (lambda m: m["contract"]["observation"][0].__setitem__(0, "other"), "function_hash"),
        (lambda m: m.update(function_hash="0" * 64), "function_hash"),
        (lambda m: m.update(file_hash="0" * 64), "file_hash"),
        (lambda m: m.update(file_hash="none"), "file_hash"),
        (lambda m: m.update(note="hello"), "metadata.note"),
        (lambda m: m.pop("contract"), "metadata.contract"),
        (lambda m: m["contract"].pop("period"), "contract.period"),
        (lambda m: m["contract"].update(period="fast"), "period"),
        (lambda m: m["contract"].update(action=[]), "action"),
        (lambda m: m["contract"].update(action=[["a", 0, 1]]), r"contract\.action\[0\]"),
        (lambda m: m["contract"].update(observation="all"), "contract.observation"),
        (lambda m: m["contract"]["observation"].pop(), "integer|baseline"),
        (lambda m: m.update(bits={"input": 4, "core": 3, "output": 9}), "bits.output"),
        (lambda m: m.update(bits={"input": 4, "core": 3}), "bits.output"),
        (lambda m: m.update(bits=None), "integer"),
        (lambda m: m.update(format_version="1"), "format_version"),
        (lambda m: m.update(provenance=[]), "provenance"),
    ],
)
def test_altered_metadata_is_refused(file, edit, field):
    edit_metadata(file, edit)

    with pytest.raises(PolicyError, match=rf"toy\.safetensors: .*{field}"):
        load_policy(file)


def test_newer_format_is_refused_with_the_remedy(file):
    edit_metadata(file, lambda metadata: metadata.update(format_version=4))

    with pytest.raises(PolicyError, match=r"format_version: 4 is newer than 3.*update qpolicy_ros"):
        load_policy(file)


@pytest.mark.parametrize("name", ["integer.gain", "baseline.std", "golden.observations"])
def test_missing_tensor_is_named(file, name):
    edit_tensors(file, lambda tensors: tensors.pop(name), rehash=True)

    with pytest.raises(PolicyError, match=f"{name}: is missing"):
        load_policy(file)


def test_unknown_tensor_is_named(file):
    edit_tensors(file, lambda tensors: tensors.update(extra=np.zeros(1, np.float32)), rehash=True)

    with pytest.raises(PolicyError, match="extra: is not a tensor of a policy"):
        load_policy(file)


def test_gap_between_layers_is_named(file):
    def edit(tensors):
        tensors["integer.weight.7"] = tensors.pop("integer.weight.2")

    edit_tensors(file, edit, rehash=True)

    with pytest.raises(PolicyError, match=r"integer\.weight\.2: is missing"):
        load_policy(file)


def test_file_holds_no_pickle(file):
    header, _ = read_raw(file)

    assert {entry["dtype"] for name, entry in header.items() if name != "__metadata__"} == {
        "F32",
        "I8",
        "I32",
    }
    with pytest.raises(ValueError, match=r"opcode|pickle|exhausted|expected"):
        list(pickletools.genops(file.read_bytes()))


# Saving.


def test_full_disk_leaves_the_old_file(file, monkeypatch):
    good = file.read_bytes()

    def full(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device; free some space"):
        save_policy(random_artifact(seed=1), file)

    assert file.read_bytes() == good
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_saving_into_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="No such file or directory; choose a folder"):
        save_policy(random_artifact(), tmp_path / "missing" / "p.safetensors")


def test_saving_over_a_folder_is_refused(tmp_path):
    with pytest.raises(PolicyError, match="is a folder"):
        save_policy(random_artifact(), tmp_path)


def test_saving_respects_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        save_policy(random_artifact(), tmp_path / "p.safetensors")
    finally:
        os.umask(before)

    assert (tmp_path / "p.safetensors").stat().st_mode & 0o777 == 0o640


def test_artifact_changed_in_memory_is_not_saved(tmp_path):
    artifact = random_artifact()
    artifact.network.mean[0] += 1

    with pytest.raises(PolicyError, match="function_hash"):
        save_policy(artifact, tmp_path / "p.safetensors")


# Tasks.


@pytest.mark.parametrize("task", ["toy"])
def test_policy_of_the_task_is_accepted(task):
    require_task(random_artifact(), task)


@pytest.mark.parametrize("task", ["hopper", "Hopper-v4", ""])
def test_policy_of_another_task_is_refused(file, task):
    with pytest.raises(PolicyError, match=r"toy\.safetensors: task: the policy is for 'toy'"):
        require_task(load_policy(file), task)


def test_a_robots_policy_is_refused_where_features_are_needed():
    require_features(random_artifact())
    robot = random_artifact(contract=robot_contract())
    with pytest.raises(PolicyError, match=r"'q_hip' comes from 'joint_states\.position:hip', not"):
        require_features(robot)
