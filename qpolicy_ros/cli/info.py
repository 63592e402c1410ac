"""`qpolicy info`: what is inside a policy file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from qpolicy_ros.policy import find_policy, load_policy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qpolicy_ros.policy import PolicyArtifact

_SHORT_HASH = 16
_NAMES_SHOWN = 8


@dataclass(frozen=True)
class Args:
    """Show what is inside a policy file; everything in it is checked first."""

    policy: Annotated[str, tyro.conf.Positional]
    """Policy file, or a shipped policy's name: `hopper` (its `paper` one) or `hopper/fp32`."""
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
    print(json.dumps(facts) if args.json else report(facts, artifact))
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
        ("file", f"{facts['bytes']:,} bytes, {len(artifact.golden.observations)} golden vectors"),
        ("function hash", facts["function_hash"][:_SHORT_HASH]),
        ("file hash", facts["file_hash"][:_SHORT_HASH]),
    ]
    rows += _section("returns", facts["returns"])
    rows += _section("made by", {k: v for k, v in artifact.provenance.items() if k != "returns"})
    width = max(len(label) for label, _ in rows)
    return "\n".join(f"{label:<{width}}  {text}" for label, text in rows)


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
