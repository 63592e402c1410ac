"""`qpolicy fpga`: Verilog from a policy."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from qpolicy_ros.policy import find_policy, load_policy

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Generate:
    """Write the Verilog of a policy, with a manifest, into a folder."""

    policy: Annotated[str, tyro.conf.Positional]
    """Policy file, or a shipped policy's name, as `qpolicy info` takes it."""
    out: Path
    """Folder for the sources; made if it is missing, files of the same name are replaced."""
    part: str = "xc7a15t"
    """Device: xc7a15t, xc7a35t, xc7a100t or xc7z020."""
    clock_mhz: float = 100.0
    """Clock, MHz."""
    fit: str = "latency"
    """`latency`: the fewest cycles that fit; `area`: the fewest look-up tables."""
    max_latency: int | None = None
    """Cycles allowed, at most."""
    with_io: bool = False
    """Also a front that quantises 16-bit sensor words and a back that looks up action words."""
    json: bool = False
    """Print the manifest as one JSON object."""


@dataclass(frozen=True)
class Report:
    """Synthesise a generated folder with Yosys; table, report.json, pipeline.svg."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Folder that `qpolicy fpga generate` wrote."""
    json: bool = False
    """Print one JSON object: the core's figures; report.json has more."""


Args = (
    Annotated[Generate, tyro.conf.subcommand("generate")]
    | Annotated[Report, tyro.conf.subcommand("report")]
)


def main(args: Generate | Report) -> int:
    """Run the subcommand and return 0; 1 if a reported design does not fit its part.

    Raises:
        PolicyError: the policy, the part or a tool is not there, or the policy does not fit.
    """
    return _generate(args) if isinstance(args, Generate) else _report(args)


def _generate(args: Generate) -> int:
    from qpolicy_fpga import generate  # noqa: PLC0415  `qpolicy --help` needs no generator

    artifact = load_policy(find_policy(args.policy))
    manifest = generate(
        artifact,
        args.part,
        args.clock_mhz,
        args.fit,
        args.out,
        args.max_latency,
        with_io=args.with_io,
    )
    print(json.dumps(manifest) if args.json else summary(manifest, args.out))
    return 0


def _report(args: Report) -> int:
    from qpolicy_fpga.manifest import read_manifest  # noqa: PLC0415  as above
    from qpolicy_fpga.report.report import KEYS, report, table  # noqa: PLC0415  as above

    read_manifest(args.folder)  # refused before a minute is promised
    print(f"qpolicy fpga: synthesising {args.folder}, a minute or two", file=sys.stderr)
    facts = report(args.folder)
    print(json.dumps({key: facts[key] for key in KEYS}) if args.json else table(facts))
    return 0 if facts["fits"] and facts.get("end_to_end", facts)["fits"] else 1


def summary(manifest: Mapping[str, Any], out: Path) -> str:
    """Return what was made, for a human reader."""
    microseconds = manifest["cycles"] / manifest["clock_mhz"]
    rows = [
        f"{manifest['task']} on {manifest['part']} at {manifest['clock_mhz']:g} MHz, in {out}",
        (
            f"cycles    {manifest['cycles']} ({microseconds:.2f} us), "
            f"a new observation every {manifest['initiation_interval']}"
        ),
    ]
    for index, layer in enumerate(manifest["layers"]):
        parts = f"inputs in {layer['parts']} parts, " if layer["parts"] > 1 else ""
        rows.append(
            f"layer {index}   {layer['inputs']} to {layer['neurons']}, {layer['trees']} trees of "
            f"{layer['fold']}, {parts}{layer['planes']} planes a step, codes by "
            f"{layer['tail']}, {layer['cycles']} cycles"
        )
    if "io" in manifest:
        io = manifest["io"]
        rows.append(
            f"with io   {io['cycles']} cycles ({io['cycles'] / manifest['clock_mhz']:.2f} us) from "
            f"{io['beats']} beats of {io['words_per_beat']} sensor words to action words, a new "
            f"observation every {io['initiation_interval']}"
        )
    estimate = manifest["estimate"]
    rows.append(
        f"estimate  {estimate['lut']:,} LUT, {estimate['bram36']:g} block RAM; "
        f"`qpolicy fpga report {out}` synthesises it"
    )
    return "\n".join(rows)
