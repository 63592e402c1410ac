"""Between the dataclasses and what lies in the file: tensor names and the metadata object."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.common.errors import PolicyError
from qpolicy_ros.policy.model import (
    ActionChannel,
    Baseline,
    Channel,
    Contract,
    Gait,
    Golden,
    IntegerNetwork,
    PolicyArtifact,
    Step,
)
from qpolicy_ros.policy.sources import (
    CONSTANT,
    GAIT,
    POSE,
    PREVIOUS_OUTPUT,
    TWIST,
    WRENCH,
    parse_source,
)
from qpolicy_ros.policy.validate import Checker, check_bits

FORMAT_VERSION = 3

_FIELDS = ("format_version", "contract", "bits", "provenance", "function_hash", "file_hash")
_CONTRACT_FIELDS = ("task", "env_id", "observation", "action", "period")
_ROW = {Channel: 2, ActionChannel: 4}  # values that every row has; the others follow by name
# What rows have since version 3; a file that uses none of it is written as version 1 or 2.
_NEW_IN_3 = {
    Channel: {"unit"},
    ActionChannel: {"kind", "scale", "offset", "kp", "kd", "effort_limit", "unit"},
}
_NEW_TOPICS = {PREVIOUS_OUTPUT, GAIT, CONSTANT, TWIST, POSE, WRENCH}
_LAYER = re.compile(
    r"(integer\.(weight|threshold)|baseline\.(weight|bias|norm_scale|norm_shift))\.\d+"
)
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
    for index, scale in enumerate(baseline.norm_scales):
        tensors[f"baseline.norm_scale.{index}"] = scale
        tensors[f"baseline.norm_shift.{index}"] = baseline.norm_shifts[index]
    tensors["baseline.action_scale"] = baseline.scale
    tensors["baseline.action_bias"] = baseline.bias
    tensors["golden.observations"] = golden.observations
    tensors["golden.baseline_actions"] = golden.baseline_actions
    return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}


def metadata_of(artifact: PolicyArtifact) -> dict[str, Any]:
    """The metadata object of the file."""
    network = artifact.network
    contract, version = _contract_of(artifact.contract)
    steps = artifact.baseline.steps
    return {
        "format_version": 3 if steps else version,
        "contract": contract,
        **({"steps": [list(step) for step in steps]} if steps else {}),
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
    check = Checker(file)
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
    _check_keys(check, metadata, _FIELDS, "metadata", ("steps",))
    later = ("time_limits", "gaits", "commands")
    _check_keys(check, metadata["contract"], _CONTRACT_FIELDS, "contract", later)
    if metadata["bits"] is not None:
        _check_keys(check, metadata["bits"], ("input", "core", "output"), "bits")
        check_bits(metadata["bits"], file)
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
    check = Checker(file)
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
        steps=_steps(check, metadata.get("steps", [])),
        norm_scales=layers("baseline.norm_scale"),
        norm_shifts=layers("baseline.norm_shift"),
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


def contract_fields(contract: Contract) -> dict[str, Any]:
    """A contract as the metadata object holds it."""
    return _contract_of(contract)[0]


def parse_contract(fields: Any, file: object) -> Contract:
    """Read what ``contract_fields`` made; its values are not checked here.

    Raises:
        PolicyError: a part is missing, unknown or malformed.
    """
    check = Checker(file)
    later = ("time_limits", "gaits", "commands")
    _check_keys(check, fields, _CONTRACT_FIELDS, "contract", later)
    return _contract(check, fields)


def _contract_of(contract: Contract) -> tuple[dict[str, Any], int]:
    """Return the contract's object and the lowest format version that can hold it.

    What equals its default is left out: files of version 1 keep their bytes and hashes.
    """
    fields: dict[str, Any] = {
        "task": contract.task,
        "env_id": contract.env_id,
        "period": float(contract.period),
        "observation": [_row(channel) for channel in contract.observation],
        "action": [_row(channel) for channel in contract.action],
    }
    if contract.time_limits:
        fields["time_limits"] = {topic: float(limit) for topic, limit in contract.time_limits}
    if contract.gaits:
        fields["gaits"] = [_gait_of(gait) for gait in contract.gaits]
    if contract.commands:
        fields["commands"] = [[s, float(low), float(high)] for s, low, high in contract.commands]
    return fields, _version(contract, fields)


def _version(contract: Contract, fields: Mapping[str, Any]) -> int:
    """The lowest format version that can hold a contract."""
    topics = {parse_source(channel.source).kind for channel in contract.observation}
    rests = [
        (kind, set(row[width]))
        for kind, width in _ROW.items()
        for row in fields["observation" if kind is Channel else "action"]
        if len(row) > width
    ]
    later = any(_NEW_IN_3[kind] & names for kind, names in rests)
    if contract.gaits or contract.commands or topics & _NEW_TOPICS or later:
        return 3
    return 2 if contract.time_limits or rests else 1


def _gait_of(gait: Gait) -> list[Any]:
    values = {field.name: getattr(gait, field.name) for field in dataclasses.fields(gait)[2:]}
    defaults = {field.name: field.default for field in dataclasses.fields(gait)[2:]}
    rest = {k: float(v) for k, v in values.items() if v is not None and v != defaults[k]}
    return [gait.name, float(gait.frequency), rest]


def _row(channel: Channel | ActionChannel) -> list[Any]:
    values = [(field, getattr(channel, field.name)) for field in dataclasses.fields(channel)]
    values = [(f, v if isinstance(v, str) or v is None else float(v)) for f, v in values]
    width = _ROW[type(channel)]
    rest = {field.name: value for field, value in values[width:] if value != field.default}
    return [*(value for _, value in values[:width]), *([rest] if rest else [])]


def _contract(check: Checker, fields: Mapping[str, Any]) -> Contract:
    rows: dict[str, tuple[Any, ...]] = {}
    kinds: tuple[tuple[str, type[Channel | ActionChannel]], ...] = (
        ("observation", Channel),
        ("action", ActionChannel),
    )
    for field, kind in kinds:
        value, width = fields[field], _ROW[kind]
        check.require(isinstance(value, list), f"contract.{field}", f"{value!r:.60} is not a list")
        allowed = tuple(each.name for each in dataclasses.fields(kind)[width:])
        channels = []
        for index, row in enumerate(value):
            where = f"contract.{field}[{index}]"
            good = isinstance(row, list) and len(row) in {width, width + 1}
            check.require(good, where, f"{row!r:.60} is not a list of {width}, or one more")
            rest = row[width] if len(row) > width else {}
            _check_keys(check, rest, (), where, allowed)
            channels.append(kind(*row[:width], **rest))
        rows[field] = tuple(channels)
    limits = fields.get("time_limits", {})
    check.require(isinstance(limits, dict), "contract.time_limits", "is not an object")
    commands = fields.get("commands", [])
    good = isinstance(commands, list) and all(
        isinstance(row, list) and len(row) == 3 for row in commands
    )
    check.require(good, "contract.commands", "is not a list of [source, low, high]")
    return Contract(
        task=fields["task"],
        env_id=fields["env_id"],
        observation=rows["observation"],
        action=rows["action"],
        period=fields["period"],
        time_limits=tuple(limits.items()),
        gaits=_gaits(check, fields.get("gaits", [])),
        commands=tuple(tuple(row) for row in commands),
    )


def _gaits(check: Checker, rows: object) -> tuple[Gait, ...]:
    check.require(isinstance(rows, list), "contract.gaits", f"{rows!r:.60} is not a list")
    assert isinstance(rows, list)
    gaits = []
    for index, row in enumerate(rows):
        where = f"contract.gaits[{index}]"
        good = isinstance(row, list) and len(row) == 3
        check.require(good, where, f"{row!r:.60} is not [name, frequency, object]")
        allowed = tuple(field.name for field in dataclasses.fields(Gait)[2:])
        _check_keys(check, row[2], (), where, allowed)
        gaits.append(Gait(row[0], row[1], **row[2]))
    return tuple(gaits)


def _steps(check: Checker, rows: object) -> tuple[Step, ...]:
    good = isinstance(rows, list) and all(
        isinstance(row, list) and row and isinstance(row[0], str) for row in rows
    )
    check.require(good, "steps", "is not a list of [kind, numbers]")
    assert isinstance(rows, list)
    return tuple(tuple(row) for row in rows)


def _check_keys(
    check: Checker,
    value: Any,
    keys: tuple[str, ...],
    field: str,
    optional: tuple[str, ...] = (),
) -> None:
    check.require(isinstance(value, dict), field, f"{value!r:.60} is not an object")
    for key in keys:
        check.require(key in value, f"{field}.{key}", "is missing")
    for key in value:
        known = key in keys or key in optional
        check.require(known, f"{field}.{key}", "is not a field of this format", "remove it")


def _refuse_constant(name: str) -> None:
    message = f"{name} is not JSON"
    raise ValueError(message)
