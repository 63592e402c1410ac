"""Turn a trained quantised module into an integer policy file, or a policy into other formats.

`--format policy`: every code of the file's network is compared with the torch module, over the
accumulators of every neuron and on observations through each integer engine. The file is written
only if none differs.

`--format c`: a C99 header with integers only, for microcontrollers; needs no torch.

`--format qonnx`: an ONNX graph from observation to action in QONNX's operators, integer products
and thresholds, for FINN. `--format qonnx-quant`: from input codes to output codes with Quant nodes,
for hls4ml. Either is run by the qonnx package and written only if no code differs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from qpolicy_ros.common.errors import UsageError
from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.policy import PolicyArtifact, find_policy, load_policy

MOST_OBSERVATIONS = 1_000_000


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy export`."""

    source: Annotated[Path, tyro.conf.Positional]
    """policy: a .qat.safetensors file, or a folder that holds exactly one.
    Else: a policy file, or a shipped policy's name."""
    out: Path
    """File to write."""
    format: Literal["policy", "c", "qonnx", "qonnx-quant", "ros2-control"] = "policy"
    """policy: an integer policy file. c: a C99 header. qonnx, qonnx-quant: an ONNX file.
    ros2-control: the YAML of a controller with the policy's joints in its order."""
    baseline: Path | None = None
    """policy: FP32 policy of the same task; by default fp32.safetensors beside the source, else
    the shipped one."""
    observations: int = 10_000
    """policy, qonnx, qonnx-quant: random observations on which every code is compared."""
    seed: int = 0
    """Seed of these observations."""
    symbol: str = ""
    """c: what every name in the header starts with; empty for qpolicy_<task>."""
    packed: bool = False
    """c: weights of the network's own bits each, not a byte: less flash, more work."""
    trajectory: bool = False
    """ros2-control: a joint_trajectory_controller, not a forward_command_controller."""
    json: bool = False
    """Print one JSON object on standard output."""


def main(args: Args) -> int:
    """Run `qpolicy export`; 0 if written, 1 if a code differs."""
    _check(args)
    if args.format == "policy":
        # Torch is for this format only.
        from qpolicy_training.cli.export import export_policy  # noqa: PLC0415

        return export_policy(
            args.source,
            args.out,
            baseline=args.baseline,
            observations=args.observations,
            seed=args.seed,
            as_json=args.json,
        )
    artifact = load_policy(find_policy(args.source))
    if args.format == "ros2-control":
        return _export_controllers(args, artifact)
    return _export_c(args, artifact) if args.format == "c" else _export_qonnx(args, artifact)


def _check(args: Args) -> None:
    """Refuse options that do not go together."""
    if args.symbol and args.format != "c":
        raise UsageError(f"--symbol: {args.format} has no symbols; give --format c with it")
    if args.packed and args.format != "c":
        raise UsageError(f"--packed: {args.format} has its own way; give --format c with it")
    if args.baseline and args.format != "policy":
        raise UsageError(f"--baseline: {args.format} has its own; leave it out")
    if args.trajectory and args.format != "ros2-control":
        raise UsageError(f"--trajectory: {args.format} has none; give --format ros2-control")
    for option, value, least in (("observations", args.observations, 1), ("seed", args.seed, 0)):
        if value < least:
            raise UsageError(f"--{option}: {value} is too small; give {least} or more")
    if args.observations > MOST_OBSERVATIONS:  # they are held in memory
        wrong = f"--observations: {args.observations} is too large"
        raise UsageError(f"{wrong}; give {MOST_OBSERVATIONS} at most")
    if args.out.resolve() == args.source.resolve():
        raise UsageError(f"--out: {args.out} is the source itself; give another file")


def _export_c(args: Args, artifact: PolicyArtifact) -> int:
    from qpolicy_ros.interchange.outgoing import c_header, symbol_prefix  # noqa: PLC0415  as above

    text = c_header(artifact, args.symbol, packed=args.packed)
    write_atomically(args.out, text.encode("ascii"))
    report = {
        "header": str(args.out),
        "symbol": symbol_prefix(artifact, args.symbol),
        "task": artifact.contract.task,
        "function_hash": artifact.function_hash,
    }
    if args.json:
        print(json.dumps(report))
    else:
        print(
            f"{args.out}: written; call {report['symbol']}_infer\n"
            f"  function {artifact.function_hash}"
        )
    return 0


def _export_controllers(args: Args, artifact: PolicyArtifact) -> int:
    from qpolicy_ros.interchange.outgoing import controllers  # noqa: PLC0415  as above

    text = controllers(artifact, trajectory=args.trajectory)
    write_atomically(args.out, text.encode("utf-8"))
    joints = [action.name for action in artifact.contract.action]
    if args.json:
        print(json.dumps({"controllers": str(args.out), "joints": joints}))
    else:
        print(f"{args.out}: written; {len(joints)} joints in the policy's order")
    return 0


def _export_qonnx(args: Args, artifact: PolicyArtifact) -> int:
    from qpolicy_ros.interchange import outgoing  # noqa: PLC0415  as above
    from qpolicy_ros.verify.observations import corners, random_observations  # noqa: PLC0415

    make = outgoing.threshold_model if args.format == "qonnx" else outgoing.quant_model
    content = make(artifact)
    network = artifact.network
    assert network is not None
    observations = np.concatenate(
        [
            artifact.golden.observations,
            outgoing.input_edges(network),
            corners(network),
            random_observations(network, args.seed, args.observations),
        ]
    )
    mismatches = outgoing.compare(content, network, observations)
    equal = not any(mismatches.values())
    if equal:
        write_atomically(args.out, content)
    report = {
        "onnx": str(args.out) if equal else None,
        "task": artifact.contract.task,
        "function_hash": artifact.function_hash,
        "equal": equal,
        "observations_compared": len(observations),
        "mismatches": mismatches,
        "qonnx_version": version("qonnx"),
    }
    if args.json:
        print(json.dumps(report))
    else:
        what = "written; every code equals" if equal else f"not written: {mismatches} differ from"
        print(
            f"{args.out}: {what} the integer engine's on {len(observations)} observations, run by "
            f"qonnx {report['qonnx_version']}\n  function {artifact.function_hash}"
        )
    return 0 if equal else 1
