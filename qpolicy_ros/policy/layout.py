"""Between the dataclasses and what lies in the file: tensor names and the metadata object."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from qpolicy_ros.policy import validate
from qpolicy_ros.policy.errors import PolicyError
from qpolicy_ros.policy.model import (
    ActionChannel,
    Baseline,
    Channel,
    Contract,
    Golden,
    IntegerNetwork,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from qpolicy_ros.policy.model import PolicyArtifact

FORMAT_VERSION = 1

_FIELDS = ("format_version", "contract", "bits", "provenance", "function_hash", "file_hash")
_CONTRACT_FIELDS = ("task", "env_id", "observation", "action", "period")
_LAYER = re.compile(r"(integer\.weight|integer\.threshold|baseline\.weight|baseline\.bias)\.\d+")
_NAMES = {
    "integer.mean",
    "integer.gain",
    "integer.table",
    "baseline.mean",
    "baseline.std",
    "baseline.clip",
    "baseline.action_scale",
    "baseline.action_bias",
    "golden.observations",
    "golden.codes",
    "golden.actions",
    "golden.baseline_actions",
}


def tensors_of(artifact: PolicyArtifact) -> dict[str, npt.NDArray[Any]]:
    """Every tensor of the file by name, C-contiguous."""
    tensors: dict[str, Any] = {}
    network, baseline, golden = artifact.network, artifact.baseline, artifact.golden
    if network is not None:
        tensors["integer.mean"] = network.mean
        tensors["integer.gain"] = network.gain
        tensors["integer.table"] = network.table
        for index in range(len(network.weights)):
            tensors[f"integer.weight.{index}"] = network.weights[index]
            tensors[f"integer.threshold.{index}"] = network.thresholds[index]
        tensors["golden.codes"] = golden.codes
        tensors["golden.actions"] = golden.actions
    tensors["baseline.mean"] = baseline.mean
    tensors["baseline.std"] = baseline.std
    tensors["baseline.clip"] = np.array([baseline.clip], np.float32)
    for index, weight in enumerate(baseline.weights):
        tensors[f"baseline.weight.{index}"] = weight
        tensors[f"baseline.bias.{index}"] = baseline.biases[index]
    tensors["baseline.action_scale"] = baseline.scale
    tensors["baseline.action_bias"] = baseline.bias
    tensors["golden.observations"] = golden.observations
    tensors["golden.baseline_actions"] = golden.baseline_actions
    return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}


def metadata_of(artifact: PolicyArtifact) -> dict[str, Any]:
    """The metadata object of the file."""
    contract, network = artifact.contract, artifact.network
    return {
        "format_version": FORMAT_VERSION,
        "contract": {
            "task": contract.task,
            "env_id": contract.env_id,
            "period": float(contract.period),
            "observation": [[value.name, value.source] for value in contract.observation],
            "action": [
                [action.name, float(action.low), float(action.high), float(action.safe)]
                for action in contract.action
            ],
        },
        "bits": None
        if network is None
        else {
            "input": int(network.input_bits),
            "core": int(network.core_bits),
            "output": int(network.output_bits),
        },
        "provenance": artifact.provenance,
        "function_hash": artifact.function_hash,
        "file_hash": artifact.file_hash,
    }


def parse_metadata(text: str, file: object) -> dict[str, Any]:
    """Read the metadata object and check its form; the contract's values are checked later.

    Raises:
        PolicyError: not JSON, a newer format, a field missing, unknown or of the wrong type.
    """
    check = validate.Checker(file)
    try:
        metadata = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise PolicyError.at(file, "metadata", f"{error}", "export the policy again") from error
    check.require(isinstance(metadata, dict), "metadata", "is not an object")
    check.require(
        "format" not in metadata,
        "format",
        f"{metadata.get('format')!r} is a trained module, not a policy",
        "make a policy of it with `qpolicy export`",
    )
    version = metadata.get("format_version")
    good = isinstance(version, int) and not isinstance(version, bool) and version >= 1
    check.require(good, "format_version", f"{version!r} is not a version number")
    check.require(
        version <= FORMAT_VERSION,
        "format_version",
        f"{version} is newer than {FORMAT_VERSION}, which this software reads",
        "update qpolicy_ros",
    )
    _check_keys(check, metadata, _FIELDS, "metadata")
    _check_keys(check, metadata["contract"], _CONTRACT_FIELDS, "contract")
    if metadata["bits"] is not None:
        _check_keys(check, metadata["bits"], ("input", "core", "output"), "bits")
        validate.check_bits(metadata["bits"], file)
    for field in ("function_hash", "file_hash"):
        value = metadata[field]
        good = isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None
        check.require(good, field, f"{value!r} is not a SHA-256 in hexadecimal")
    return dict(metadata)


def parse_tensors(
    metadata: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]], file: object
) -> tuple[Contract, Baseline, IntegerNetwork | None, Golden]:
    """Put the dataclasses together; nothing but names and forms is checked here.

    Raises:
        PolicyError: a tensor or a part of the contract is missing, unknown or malformed.
    """
    check = validate.Checker(file)
    for name in tensors:
        known = name in _NAMES or _LAYER.fullmatch(name) is not None
        check.require(known, name, "is not a tensor of a policy", "remove it")
    for tensor in tensors.values():
        tensor.setflags(write=False)

    def get(name: str) -> npt.NDArray[Any]:
        check.require(name in tensors, name, "is missing")
        return tensors[name]

    def layers(prefix: str) -> tuple[npt.NDArray[Any], ...]:
        count = sum(name.startswith(f"{prefix}.") for name in tensors)
        return tuple(get(f"{prefix}.{index}") for index in range(count))

    contract = _contract(check, metadata["contract"])
    clip = get("baseline.clip")
    check.tensor(clip, "baseline.clip", "float32", (1,))
    baseline = Baseline(
        mean=get("baseline.mean"),
        std=get("baseline.std"),
        clip=float(clip[0]),
        weights=layers("baseline.weight"),
        biases=layers("baseline.bias"),
        scale=get("baseline.action_scale"),
        bias=get("baseline.action_bias"),
    )
    bits = metadata["bits"]
    if bits is None:
        for name in tensors:
            stray = name.startswith("integer.")
            check.require(not stray, name, "is there, but bits is null")
        network = None
    else:
        network = IntegerNetwork(
            mean=get("integer.mean"),
            gain=get("integer.gain"),
            input_bits=bits["input"],
            core_bits=bits["core"],
            output_bits=bits["output"],
            weights=layers("integer.weight"),
            thresholds=layers("integer.threshold"),
            table=get("integer.table"),
        )
    golden = Golden(
        observations=get("golden.observations"),
        codes=tensors.get("golden.codes"),
        actions=tensors.get("golden.actions"),
        baseline_actions=get("golden.baseline_actions"),
    )
    return contract, baseline, network, golden


def _contract(check: validate.Checker, fields: Mapping[str, Any]) -> Contract:
    rows: dict[str, list[Any]] = {}
    for field, width in (("observation", 2), ("action", 4)):
        value = fields[field]
        check.require(isinstance(value, list), f"contract.{field}", f"{value!r:.60} is not a list")
        for index, row in enumerate(value):
            good = isinstance(row, list) and len(row) == width
            where = f"contract.{field}[{index}]"
            check.require(good, where, f"{row!r:.60} is not a list of {width}")
        rows[field] = value
    return Contract(
        task=fields["task"],
        env_id=fields["env_id"],
        observation=tuple(Channel(*row) for row in rows["observation"]),
        action=tuple(ActionChannel(*row) for row in rows["action"]),
        period=fields["period"],
    )


def _check_keys(check: validate.Checker, value: Any, keys: tuple[str, ...], field: str) -> None:
    check.require(isinstance(value, dict), field, f"{value!r:.60} is not an object")
    for key in keys:
        check.require(key in value, f"{field}.{key}", "is missing")
    for key in value:
        check.require(key in keys, f"{field}.{key}", "is not a field of this format", "remove it")


def _refuse_constant(name: str) -> None:
    message = f"{name} is not JSON"
    raise ValueError(message)
