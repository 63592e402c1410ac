"""What a generated design takes: cycles, resources, critical path, energy estimate, a picture."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_fpga.build.cells import SYNTHESIS
from qpolicy_fpga.build.core import synthesise_core
from qpolicy_fpga.emit.testbench import INPUTS
from qpolicy_fpga.manifest import LayerEntry, Manifest, read_manifest
from qpolicy_fpga.plan.devices import Part, find_part
from qpolicy_fpga.plan.form import logic_budget
from qpolicy_fpga.report.energy import METHOD, estimate_energy
from qpolicy_fpga.report.picture import draw
from qpolicy_fpga.report.routed import KEYS as ROUTED_KEYS
from qpolicy_fpga.report.routed import routed, routed_rows
from qpolicy_fpga.vivado.reports import read_reports
from qpolicy_fpga.yosys import YOSYS, synthesise
from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.policy import PolicyError

MAX_BYTES = 16 << 20  # of golden vectors; they are a few kilobytes
_HEX = re.compile("[0-9a-fA-F]{1,64}")  # a beat has 256 bits at most
_RESOURCES = ("lut", "carry4", "ff", "bram36", "dsp")
REPORT, PICTURE, VIVADO = "report.json", "pipeline.svg", "vivado/reports"
# What `qpolicy fpga report --json` prints; report.json has more.
KEYS = (
    "part",
    "clock_mhz",
    "cycles",
    "initiation_interval",
    "lut",
    "carry4",
    "ff",
    "bram36",
    "dsp",
    "fits",
    "depth_ns",
    "energy_nj_estimate",
    "function_hash",
    *ROUTED_KEYS,
)


@dataclass(frozen=True)
class WholeFigures:
    """What a core takes with its front and its back, synthesised.

    Attributes:
        cycles, initiation_interval: sensor words to action words, and between observations.
        latency_us: of the cycles.
        lut, carry4, ff, bram36, dsp: cells.
        fits: whether they are no more than the device has.
        depth_ns, critical_path: longest path before routing.
    """

    cycles: int
    initiation_interval: int
    latency_us: float
    lut: int
    carry4: int
    ff: int
    bram36: float
    dsp: int
    fits: bool
    depth_ns: float
    critical_path: str


def report(folder: Path) -> dict[str, Any]:
    """Synthesise and simulate what ``generate`` wrote; write ``report.json`` and a picture.

    Figures of Vivado's own reports join them where ``core.tcl`` has left some.

    Returns:
        What ``report.json`` holds: ``KEYS``, which `--json` prints, and more.

    Raises:
        PolicyError: the folder is not a generated one, or Yosys is missing or fails.
        BackendError: Verilator is missing or fails.
    """
    manifest = read_manifest(folder)
    part = find_part(manifest.part)
    facts: dict[str, Any] = {
        "part": part.name,
        "clock_mhz": manifest.clock_mhz,
        "cycles": manifest.cycles,
        "initiation_interval": manifest.initiation_interval,
    }
    facts |= _cells(folder, manifest, part)
    stated = manifest.as_json()
    limits = {name: getattr(part, name) for name in _RESOURCES}
    facts |= {
        "fits": all(facts[name] <= limits[name] for name in _RESOURCES),
        "function_hash": manifest.function_hash,
        "latency_us": manifest.cycles / manifest.clock_mhz,
        "actions_per_s": 1e6 * manifest.clock_mhz / manifest.initiation_interval,
        "depth_allowed_ns": logic_budget(manifest.clock_mhz),
        "limits": limits,
        **{name: stated[name] for name in ("estimate", "layers", "pareto")},
        "picture": str(folder / PICTURE),
        **routed(folder, manifest.function_hash, facts.get("estimated")),
    }
    if manifest.io:
        facts["end_to_end"] = asdict(end_to_end(folder, manifest))
    vivado = folder / VIVADO
    if vivado.is_dir():
        facts["vivado"] = read_reports(vivado)
    write_atomically(folder / REPORT, (json.dumps(facts, indent=1) + "\n").encode())
    write_atomically(folder / PICTURE, draw(manifest, facts).encode())
    return facts


def _cells(folder: Path, manifest: Manifest, part: Part) -> dict[str, Any]:
    """Resources, path before routing and energy; the last two of the 7 series only."""
    files = manifest.verilog(folder)
    if part.family != "xc7":
        return {
            **synthesise_core(files, manifest.top, part.family),
            "depth_ns": None,
            "critical_path": "",
            "energy_nj_estimate": None,
            "synthesis": f"Yosys {YOSYS} {SYNTHESIS[part.family]}",
        }
    cells = synthesise(files, manifest.top)
    energy = estimate_energy(folder, manifest, _golden_codes(folder, manifest))
    return {
        **{name: getattr(cells, name) for name in _RESOURCES},
        "depth_ns": cells.depth_ns,
        "critical_path": cells.path,
        "energy_nj_estimate": round(energy.nj, 3),
        "energy_nj_range": [round(energy.low_nj, 3), round(energy.high_nj, 3)],
        "energy_method": METHOD,
        "net_changes_per_action": round(energy.changes, 1),
        "synthesis": f"Yosys {YOSYS} synth_xilinx -family xc7, sta without routing",
    }


def end_to_end(folder: Path, manifest: Manifest) -> WholeFigures:
    """Return the figures of a core with its front and back, synthesised.

    Args:
        folder: the sources.
        manifest: of them, with ``io``.

    Raises:
        PolicyError: Yosys is missing or fails.
    """
    io, part = manifest.io, find_part(manifest.part)
    assert io is not None
    files = manifest.verilog(folder) + [folder / name for name in io.files]
    cells = synthesise(files, io.top)
    return WholeFigures(
        cycles=io.cycles,
        initiation_interval=io.initiation_interval,
        latency_us=io.cycles / manifest.clock_mhz,
        lut=cells.lut,
        carry4=cells.carry4,
        ff=cells.ff,
        bram36=cells.bram36,
        dsp=cells.dsp,
        fits=all(getattr(cells, name) <= getattr(part, name) for name in _RESOURCES),
        depth_ns=cells.depth_ns,
        critical_path=cells.path,
    )


def table(facts: dict[str, Any]) -> str:
    """Return the report for a human reader."""
    rows = [
        ("part", f"{facts['part']} at {facts['clock_mhz']:g} MHz"),
        ("latency", f"{facts['cycles']} cycles, {facts['latency_us']:.2f} us"),
        (
            "interval",
            f"{facts['initiation_interval']} cycles, {facts['actions_per_s']:,.0f} actions/s",
        ),
    ]
    for name, limit in facts["limits"].items():
        share = facts[name] / limit
        rows.append((name, f"{facts[name]:,g} of {limit:,} ({share:.0%})"))
    rows.append(("fits", "yes" if facts["fits"] else "no"))
    if facts["depth_ns"] is not None:
        depth, allowed = facts["depth_ns"], facts["depth_allowed_ns"]
        rows.append(("path", f"{depth:.2f} ns before routing, {allowed:.2f} allowed"))
        low, high = facts["energy_nj_range"]
        energy = facts["energy_nj_estimate"]
        rows.append(("energy", f"{energy:.1f} nJ an action ({low:.1f} to {high:.1f})"))
        rows.append(("", facts["energy_method"]))
    if facts.get("estimate"):
        rows.append(("estimate", f"{facts['estimate']['lut']:,} tables of six inputs"))
    rows += routed_rows(facts)
    rows.append(("picture", facts["picture"]))
    if "end_to_end" in facts:
        whole = WholeFigures(**facts["end_to_end"])
        text = (
            f"{whole.cycles} cycles, {whole.latency_us:.2f} us, every "
            f"{whole.initiation_interval}; {whole.lut:,} LUT, {whole.ff:,} FF, "
            f"{whole.bram36:g} block RAM, {whole.dsp} DSP, {whole.depth_ns:.2f} ns; "
            f"{'fits' if whole.fits else 'does not fit'}"
        )
        rows.append(("with io", text))
    if "vivado" in facts:
        figures = ", ".join(f"{name} {value}" for name, value in facts["vivado"].items())
        rows.append(("vivado", figures))
    for index, layer in enumerate(facts["layers"]):
        rows.append((f"layer {index}", describe_layer(LayerEntry(**layer))))
    rows.append(("pareto", "cycles  LUT (estimated)"))
    rows += [("", f"{point['cycles']:6}  {point['lut']:,}") for point in facts["pareto"]]
    return "\n".join(f"{label:<9} {text}" for label, text in rows)


def describe_layer(layer: LayerEntry) -> str:
    """Return one line on how a layer is laid out."""
    chunks = f"inputs in {layer.parts} parts, " if layer.parts > 1 else ""
    return (
        f"{layer.inputs} to {layer.neurons}: {layer.trees} trees of {layer.fold} "
        f"neurons, {chunks}{layer.planes} bit planes a step, weights in {layer.weights}, "
        f"codes by {layer.tail}, {layer.cycles} cycles"
    )


def _golden_codes(folder: Path, manifest: Manifest) -> Any:
    """Input codes of the golden vectors, int32 ``(frames, n)``, from the bench's memory file.

    Raises:
        PolicyError: the file is missing, too large, or holds no whole observations.
    """
    bits, per_beat, beats = manifest.b_in, manifest.codes_per_beat, manifest.beats
    path = folder / INPUTS
    remedy = "generate the folder again with `qpolicy fpga generate`"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"has more than {MAX_BYTES} bytes")  # noqa: TRY301
        lines = path.read_text(encoding="ascii").split()
        wrong = next((line for line in lines if not _HEX.fullmatch(line)), None)
        if wrong is not None:
            raise ValueError(f"{wrong!r:.80} is no hexadecimal number")  # noqa: TRY301
        words = [int(line, 16) for line in lines]
        if not words or len(words) % beats or max(words) >> (bits * per_beat):
            shape = f"{beats} words of {bits * per_beat} bits each"
            raise ValueError(f"holds no whole observations of {shape}")  # noqa: TRY301
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise PolicyError.at(path, "golden vectors", str(reason), remedy) from error
    unsigned = np.array(
        [[word >> (bits * at) & ((1 << bits) - 1) for at in range(per_beat)] for word in words]
    ).reshape(-1, beats * per_beat)[:, : manifest.n]
    return np.where(unsigned >> (bits - 1), unsigned - (1 << bits), unsigned).astype(np.int32)
