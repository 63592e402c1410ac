"""`qpolicy info`: what is inside a policy file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qpolicy_ros.cli.arguments import PolicyName
from qpolicy_ros.policy import Baseline, Contract, Gait, PolicyArtifact, find_policy, load_policy
from qpolicy_ros.policy.activations import LINEAR
from qpolicy_ros.policy.layout import metadata_of
from qpolicy_ros.policy.model import EFFORT, POSITION, VELOCITY
from qpolicy_ros.policy.sources import parse_source

_SHORT_HASH = 16
_NAMES_SHOWN = 8
_ACTION_UNITS = {POSITION: "rad", VELOCITY: "rad/s", EFFORT: "N m"}


@dataclass(frozen=True)
class Args:
    """Show what is inside a policy file; everything in it is checked first."""

    policy: PolicyName
    """Policy file, or a shipped policy's name: `hopper` (its `paper` one) or `hopper/fp32`."""
    contract: bool = False
    """Show every value and action: source, unit, offset, scale, limits, gains."""
    json: bool = False
    """Print one JSON object."""


def main(args: Args) -> int:
    """Print the policy and return 0.

    Raises:
        PolicyError: there is no such policy, or something in it is wrong.
    """
    file = find_policy(args.policy)
    artifact = load_policy(file)
    facts = describe(artifact, file.stat().st_size)
    if args.contract:
        facts["contract"] = metadata_of(artifact)["contract"]
    if args.json:
        print(json.dumps(facts))
    else:
        print(report(facts, artifact))
        if args.contract:
            print(f"\n{contract_table(artifact.contract)}")
    return 0


def describe(artifact: PolicyArtifact, size: int) -> dict[str, Any]:
    """Return what `--json` prints; `size` is the file's, in bytes.

    `weights` counts the integer weights (the baseline's in an FP32-only policy), which is also
    the number of multiply-accumulates an action takes; the bit-widths of such a policy are null.
    """
    contract, network = artifact.contract, artifact.network
    layers: Sequence[Any] = (network or artifact.baseline).weights
    return {
        "task": contract.task,
        "hidden": list((network or artifact.baseline).hidden),
        "b_in": network.input_bits if network else None,
        "b_core": network.core_bits if network else None,
        "b_out": network.output_bits if network else None,
        "weights": sum(int(weight.size) for weight in layers),
        "bytes": size,
        "function_hash": artifact.function_hash,
        "file_hash": artifact.file_hash,
        "returns": artifact.provenance.get("returns", {}),
        "path": artifact.path,
        "env_id": contract.env_id,
        "observations": len(contract.observation),
        "actions": len(contract.action),
        "period_s": contract.period,
        "provenance": artifact.provenance,
    }


def report(facts: Mapping[str, Any], artifact: PolicyArtifact) -> str:
    """Return the same for a human reader, one fact a line."""
    contract, network, baseline = artifact.contract, artifact.network, artifact.baseline
    rows = [
        ("policy", facts["path"]),
        ("task", f"{contract.task} ({contract.env_id or 'no simulation'})"),
        ("period", f"{contract.period * 1e3:g} ms ({1 / contract.period:g} Hz)"),
        ("observation", _names([channel.name for channel in contract.observation])),
        ("action", _names([f"{a.name} [{a.low:g}, {a.high:g}]" for a in contract.action])),
    ]
    widths = [facts["observations"], *facts["hidden"], facts["actions"]]
    shape = "-".join(map(str, widths))
    weights = facts["weights"]
    rows += _contract_rows(contract)
    if network is None:
        rows.append(("network", f"{shape}, FP32 only; no integer network"))
    else:
        core_levels, output_levels = (1 << network.core_bits) - 1, (1 << network.output_bits) - 1
        bits = f"input {network.input_bits}, core {network.core_bits}, output {network.output_bits}"
        packed = (weights * network.core_bits + 7) // 8
        rows += [
            ("network", shape),
            ("bits", bits),
            ("thresholds", f"{core_levels} a hidden neuron, {output_levels} an action"),
            ("weights", f"{weights:,} of {network.core_bits} bits ({packed:,} bytes packed)"),
        ]
        shape = "-".join(map(str, [widths[0], *baseline.hidden, widths[-1]]))
    rows += [
        ("work", f"{weights:,} multiply-accumulates an action"),
        ("baseline", f"{shape}, FP32, {sum(w.size for w in baseline.weights):,} weights"),
        ("computes", _steps(baseline)),
        ("file", f"{facts['bytes']:,} bytes, {len(artifact.golden.observations)} golden vectors"),
        ("function hash", facts["function_hash"][:_SHORT_HASH]),
        ("file hash", facts["file_hash"][:_SHORT_HASH]),
    ]
    rows += _section("returns", facts["returns"])
    rows += _section("made by", {k: v for k, v in artifact.provenance.items() if k != "returns"})
    width = max(len(label) for label, _ in rows)
    return "\n".join(f"{label:<{width}}  {text}" for label, text in rows)


def _steps(baseline: Baseline) -> str:
    """What stands between and after the layers, each once."""
    shown = [" ".join(f"{part}" for part in step) for step in baseline.program if step[0] != LINEAR]
    last = "" if baseline.program[-1][0] != LINEAR else "; linear output"
    return f"{', '.join(dict.fromkeys(shown)) or 'linear'}{last}"


def _contract_rows(contract: Contract) -> list[tuple[str, str]]:
    """What a robot's contract has beside its values: gains, clocks, commands, time limits."""
    rows = []
    if any(action.kp is not None for action in contract.action):
        gains = [f"{a.name} {_gain(a.kp)}/{_gain(a.kd)}" for a in contract.action]
        rows.append(("gains kp/kd", _names(gains)))
    rows += [("gait", _gait(gait)) for gait in contract.gaits]
    rows += [
        ("command", f"{source}, {low:g} to {high:g}") for source, low, high in contract.commands
    ]
    rows += [("time limit", f"{topic}, {limit:g} s") for topic, limit in contract.time_limits]
    return rows


def _gain(value: float | None) -> str:
    return "?" if value is None else f"{value:g}"


def _gait(gait: Gait) -> str:
    text = f"{gait.name}, {gait.frequency:g} Hz from {gait.offset:g} rad"
    if gait.top_speed:
        text += f", {gait.top_frequency:g} Hz at speed {gait.top_speed:g}"
    if gait.stand_below:
        phase = "all 0" if gait.stand_phase is None else f"{gait.stand_phase:g} rad"
        text += f"; {phase} below speed {gait.stand_below:g}"
    return text


def contract_table(contract: Contract) -> str:
    """Return every value and every action, one a line."""
    lines = ["observation: (raw - offset) * scale, then limits"]
    rows: list[tuple[str, ...]]
    rows = [("", "name", "source", "unit", "offset", "scale", "limits")]
    for index, channel in enumerate(contract.observation):
        unit = channel.unit or parse_source(channel.source).unit
        limits = _limits(channel.low, channel.high)
        values = (f"{channel.offset:g}", f"{channel.scale:g}", limits)
        rows.append((str(index), channel.name, channel.source, unit, *values))
    lines += _columns(rows)
    lines += ["", "action: output * scale + offset, then limits"]
    head = ("", "name", "kind", "unit", "scale", "offset", "limits", "safe", "default", "rate")
    rows = [(*head, "kp", "kd", "effort")]
    for index, action in enumerate(contract.action):
        unit = action.unit or _ACTION_UNITS.get(action.kind, "")
        default = action.safe if action.default is None else action.default
        gains = (_gain(action.kp), _gain(action.kd))
        most = (action.rate, action.effort_limit)
        rate, effort = ("" if math.isinf(number) else f"{number:g}" for number in most)
        numbers = (f"{action.scale:g}", f"{action.offset:g}", _limits(action.low, action.high))
        poses = (f"{action.safe:g}", f"{default:g}", rate)
        rows.append((str(index), action.name, action.kind, unit, *numbers, *poses, *gains, effort))
    return "\n".join([*lines, *_columns(rows)])


def _limits(low: float, high: float) -> str:
    return "" if math.isinf(low) and math.isinf(high) else f"{low:g} to {high:g}"


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _names(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    rest = f", and {more} more" if more > 0 else ""
    return f"{len(names)}: {', '.join(names[:_NAMES_SHOWN])}{rest}"


def _section(label: str, values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """One row a value; nested keys are joined by blanks, the label stands in the first row."""
    leaves = _leaves(values)
    width = max((len(key) for key, _ in leaves), default=0)
    return [
        (label if index == 0 else "", f"{key:<{width}}  {text}")
        for index, (key, text) in enumerate(leaves)
    ]


def _leaves(value: object, path: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [leaf for key, part in value.items() for leaf in _leaves(part, f"{path} {key}")]
    return [(path.strip(), f"{value:g}" if isinstance(value, float) else str(value))]
