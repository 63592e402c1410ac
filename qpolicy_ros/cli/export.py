"""Turn a trained quantised module into an integer policy file, or a policy into a C header.

`--format policy`: every code of the file's network is compared with the torch module, over the
accumulators of every neuron and on observations through each integer engine. The file is written
only if none differs.

`--format c`: a C99 header with integers only, for microcontrollers; needs no torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from qpolicy_ros.cli import UsageError
from qpolicy_ros.policy import find_policy, load_policy
from qpolicy_ros.policy.files import write_atomically


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy export`."""

    source: Annotated[Path, tyro.conf.Positional]
    """policy: a .qat.safetensors file, or a folder that holds exactly one.
    c: a policy file, or a shipped policy's name."""
    out: Path
    """File to write."""
    format: Literal["policy", "c"] = "policy"
    """policy: an integer policy file. c: a C99 header."""
    baseline: Path | None = None
    """policy: FP32 policy of the same task; by default fp32.safetensors beside the source, else
    the shipped one."""
    observations: int = 10_000
    """policy: random observations on which every code is compared."""
    seed: int = 0
    """policy: seed of these observations."""
    symbol: str = ""
    """c: what every name in the header starts with; empty for qpolicy_<task>."""
    json: bool = False
    """Print one JSON object on standard output."""


def main(args: Args) -> int:
    """Run `qpolicy export`; 0 if written, 1 if a code differs."""
    if args.format == "policy":
        if args.symbol:
            raise UsageError("--symbol: has no meaning for a policy file; give --format c with it")
        # Torch is for this format only.
        from qpolicy_training.cli_export import export_policy  # noqa: PLC0415

        return export_policy(args)
    from qpolicy_ros.interchange import c_header, symbol_prefix  # noqa: PLC0415  as above

    artifact = load_policy(find_policy(args.source))
    text = c_header(artifact, args.symbol)
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
