"""From a policy to a folder of Verilog with a manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qpolicy_fpga.emit.core import RESULTS_SOURCE, emit_core
from qpolicy_fpga.emit.fanout import COPY_SOURCE, PLAIN_COPY_SOURCE
from qpolicy_fpga.emit.io import emit_io, part_beside
from qpolicy_fpga.emit.layer import LayerHardware, emit_layer
from qpolicy_fpga.emit.supervisor import MODULE as SUPERVISOR
from qpolicy_fpga.emit.supervisor import emit_supervisor
from qpolicy_fpga.emit.testbench import emit_bench
from qpolicy_fpga.emit.timing import Core, core_timing
from qpolicy_fpga.emit.verilog import LUT_SOURCE, PLAIN_LUT_SOURCE
from qpolicy_fpga.explore.choose import Choice, choose
from qpolicy_fpga.folder import write_folder
from qpolicy_fpga.manifest import Estimate, LayerEntry, Manifest, Supervision
from qpolicy_fpga.plan.devices import Part, find_part
from qpolicy_fpga.plan.form import Form, logic_budget
from qpolicy_fpga.plan.layer import chunks_of, make_layer
from qpolicy_ros import __version__
from qpolicy_ros.common.revision import revision
from qpolicy_ros.policy import IntegerNetwork, PolicyArtifact, PolicyError
from qpolicy_ros.policy.seen import SeenCodes, ranges_id

VIVADO = Path(__file__).with_name("vivado")
SCRIPTS = ("core.tcl", "common.tcl")


@dataclass(frozen=True)
class Design:
    """Generated sources and their timing.

    Attributes:
        files: text by file name.
        core: timing of the whole.
        layers: what became of each layer.
    """

    files: dict[str, str]
    core: Core
    layers: tuple[LayerHardware, ...]


def build(network: IntegerNetwork, forms: Sequence[Form], clock_mhz: float) -> Design:
    """Return the Verilog of ``network`` with one form a layer."""
    budget = logic_budget(clock_mhz)
    layers, hardware = [], []
    for index, form in enumerate(forms):
        if form.stream and index and forms[index - 1].fold == 1:
            raise ValueError(f"forms: layer {index} takes chunks, but layer {index - 1} has one")
        bits = network.core_bits if index else network.input_bits
        if form.stream and form.steps(bits) > 1:
            raise ValueError(f"forms: layer {index} takes chunks, a step each, but has {form}")
        chunks = chunks_of(network, index, forms[index - 1].fold) if form.stream else None
        ahead = index + 1 < len(forms) and forms[index + 1].stream
        layers.append(make_layer(network, index, form.planes, chunks))
        direct = form.stream and index == 0
        hardware.append(emit_layer(layers[-1], form, budget, direct=direct, ahead=ahead))
    core = core_timing(layers[0].inputs, layers[0].code_bits, hardware)
    files = {
        "qpolicy_core.v": emit_core(layers, hardware, core),
        "qpolicy_copy.v": COPY_SOURCE,
        "qpolicy_lut.v": LUT_SOURCE,
        "qpolicy_results.v": RESULTS_SOURCE,
    }
    for layer in hardware:
        files[f"{layer.name}.v"] = layer.source
    return Design(files, core, tuple(hardware))


def generate(
    artifact: PolicyArtifact,
    part: str | Part,
    clock_mhz: float,
    fit: str,
    out: Path,
    max_latency: int | None = None,
    *,
    with_io: bool = False,
    seen: SeenCodes | None = None,
) -> Manifest:
    """Write the Verilog of a policy into folder ``out``; return its manifest.

    Args:
        artifact: a policy with an integer network.
        part: one of ``devices.PARTS``, by name, or one of them with less in it.
        clock_mhz: clock, MHz.
        fit: ``latency`` (fewest cycles that fit) or ``area`` (fewest look-up tables).
        out: folder, made if it is missing.
        max_latency: cycles allowed of the core, None for any number.
        with_io: whether to add a front that quantises sensor words and a back that looks actions
            up (``emit_io``).
        seen: the codes that the policy saw: a supervisor beside the core counts all others
            (``emit_supervisor``). The core itself stays as it is without.

    Raises:
        PolicyError: the policy has no integer network, the part is not known, it does not fit, or
            an input cannot be quantised exactly in fixed point.
        OSError: ``out`` cannot be written.
    """
    network = artifact.network
    if network is None:
        raise PolicyError.at(
            artifact.path, "integer", "there is no integer network", "quantise the policy first"
        )
    device = find_part(part) if isinstance(part, str) else part
    timed = clock_mhz * device.slowdown
    room = part_beside(network, device) if with_io else device
    choice, front = choose(network, room, clock_mhz, fit, max_latency)
    design = build(network, choice.forms, timed)
    while max_latency is not None and design.core.cycles > max_latency:
        # A tree that the estimate did not sample took one more register.
        choice, _ = choose(network, room, clock_mhz, fit, choice.cycles - 1)
        design = build(network, choice.forms, timed)
    if device.family != "xc7":
        design.files["qpolicy_lut.v"] = PLAIN_LUT_SOURCE
        design.files["qpolicy_copy.v"] = PLAIN_COPY_SOURCE
    bench = emit_bench(artifact, design.core)
    io = emit_io(network, design.core) if with_io else None
    around = dict(io.files) if io else {}
    if seen is not None:
        name = f"{SUPERVISOR}.v"
        around[name] = emit_supervisor(seen, network.input_bits, design.core.codes_per_beat)
    manifest = replace(
        describe(network, design, device.name, clock_mhz, fit, artifact),
        max_latency=max_latency,
        estimate=_estimate(choice),
        pareto=tuple(_estimate(other) for other in front),
        bench=tuple(sorted(bench)),
        device=device.device,
        io=io.ports() if io else None,
    )
    if seen is not None:
        watched = Supervision(f"{ranges_id(seen):08x}", seen.observations, seen.source)
        files = tuple(sorted([*manifest.files, name]))
        manifest = replace(manifest, files=files, supervisor=watched)
    vivado = {name: (VIVADO / name).read_text(encoding="utf-8") for name in SCRIPTS}
    vivado["core.xdc"] = f"create_clock -name clk -period {1000 / clock_mhz:.3f} [get_ports clk]\n"
    scripts = {f"vivado/{name}": text for name, text in vivado.items()}
    write_folder(out, {**design.files, **bench, **around, **scripts}, manifest.as_json())
    return manifest


def _estimate(choice: Choice) -> Estimate:
    """Return what the cost model says of a choice."""
    return Estimate(
        cycles=choice.cycles,
        lut=round(choice.lut),
        ff=round(choice.ff),
        carry4=round(choice.carry4),
        bram36=choice.bram36,
        dsp=choice.dsp,
        forms=tuple(form.listed() for form in choice.forms),
    )


def describe(
    network: IntegerNetwork,
    design: Design,
    part: str,
    clock_mhz: float,
    fit: str = "latency",
    artifact: PolicyArtifact | None = None,
) -> Manifest:
    """Return what the manifest says of a core, and of the policy that it is of."""
    core = design.core
    manifest = Manifest(
        generator=f"qpolicy_ros {__version__}",
        git_revision=revision(VIVADO.parent),
        part=part,
        clock_mhz=clock_mhz,
        fit=fit,
        n=int(network.weights[0].shape[1]),
        m=int(network.weights[-1].shape[0]),
        b_in=network.input_bits,
        b_core=network.core_bits,
        b_out=network.output_bits,
        hidden=tuple(network.hidden),
        codes_per_beat=core.codes_per_beat,
        beats=core.beats,
        cycles=core.cycles,
        initiation_interval=core.interval,
        credits=core.credits,
        layers=tuple(
            LayerEntry(
                inputs=int(weights.shape[1]),
                neurons=int(weights.shape[0]),
                fold=layer.form.fold,
                planes=layer.form.planes,
                parts=layer.chunks,
                weights="ram" if layer.form.ram else "lut",
                trees=layer.trees,
                tail=layer.tail,
                steps=layer.steps,
                cycles=layer.latency,
            )
            for weights, layer in zip(network.weights, design.layers, strict=True)
        ),
        top="qpolicy_core",
        files=tuple(sorted(design.files)),
    )
    if artifact is None:
        return manifest
    return replace(
        manifest,
        policy=Path(artifact.path).name,
        file_hash=artifact.file_hash,
        function_hash=artifact.function_hash,
        task=artifact.contract.task,
    )
