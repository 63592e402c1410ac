"""A verification from beginning to end."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qpolicy_fpga import generate
from qpolicy_fpga.folder import MANIFEST
from qpolicy_fpga.manifest import Manifest, read_manifest
from qpolicy_ros.common.files import scratch_folder
from qpolicy_ros.policy import PolicyArtifact, PolicyError, find_policy, load_policy
from qpolicy_ros.policy.hashing import canonical_json
from qpolicy_ros.policy.model import IntegerNetwork
from qpolicy_ros.verify import (
    bitstream,
    bounds,
    certificate,
    chain,
    formal,
    loops,
    neurons,
    properties,
    source_hashes,
)
from qpolicy_ros.verify.journal import Journal
from qpolicy_ros.verify.observations import has_task
from qpolicy_ros.verify.result import Check, Section

_PART, _CLOCK_MHZ = "xc7a15t", 100.0
_TIMING = (
    "control around the neurons (handshake, phases, when registers take what): simulated in part 4"
)


@dataclass(frozen=True)
class Request:
    """What to verify and how.

    Attributes:
        policy: file or shipped name.
        quick: parts 1 and 2 and a sample of 4, compared with the certificate that there is.
        rtl: generated folder; None generates one, or takes that of ``build``.
        core_frames: observations through the simulated core.
        build: folder of `qpolicy fpga build`, whose netlist and bitstream are verified too.
        properties: files of claims to be proved too, or folders of them.
    """

    policy: str
    quick: bool
    rtl: Path | None
    core_frames: int
    build: Path | None = None
    properties: tuple[Path, ...] = ()


def verify(request: Request) -> tuple[dict[str, Any], Path]:
    """Return the certificate and the policy's file.

    Raises:
        PolicyError: the policy, its module or the hardware's folder cannot be verified at all.
        BackendError: a tool is missing or fails.
    """
    file = find_policy(request.policy)
    artifact = load_policy(file)
    if artifact.network is None:
        remedy = "give a policy with an integer network"
        raise PolicyError.at(file, "integer", "holds an FP32 baseline alone", remedy)
    module = file.with_suffix(".qat.safetensors")
    claimed = properties.read_properties(request.properties, artifact)
    label = f"{file.resolve().parent.name}/{file.stem}"
    source_hashes.check_kernel()
    rooms, tools = source_hashes.source_hashes(), source_hashes.tool_versions()
    with _hardware(artifact, request.build or request.rtl) as folder:
        manifest = read_manifest(folder)
        if manifest.function_hash != artifact.function_hash:
            wrong = f"{manifest.function_hash[:12]}..., the policy's is "
            wrong += f"{artifact.function_hash[:12]}..."
            remedy = "generate it again from this policy"
            raise PolicyError.at(folder, "function_hash", wrong, remedy)
        _check_sizes(artifact.network, folder, manifest)
        rtl = {
            "part": manifest.part,
            "clock_mhz": manifest.clock_mhz,
            "fit": manifest.fit,
            "cycles": manifest.cycles,
            "sha256": source_hashes.file_digest(folder / name for name in manifest.files),
        }
        state = canonical_json([rooms, tools, rtl, manifest.as_json()["layers"]])
        journal = Journal(artifact.file_hash, label, hashlib.sha256(state.encode()).hexdigest())
        sections = _sections(request, artifact, module, folder, manifest, journal)
        if claimed:
            sections.append(properties.check_properties(artifact, claimed, journal))
        content: dict[str, Any] = {
            "format": certificate.FORMAT,
            "policy": label,
            "task": artifact.contract.task,
            "quick": request.quick,
            "passed": all(section.passed for section in sections),
            "function_hash": artifact.function_hash,
            "file_hash": artifact.file_hash,
            "module_sha256": source_hashes.file_digest([module]),
            "rtl": rtl,
            "tools": tools,
            "sources": rooms,
            "parts": [section.as_json() for section in sections],
        }
    kept = certificate.certificate_path(file)
    other = request.rtl is not None or request.build is not None
    if request.quick and (other or not kept.is_file()):
        why = "this is other hardware" if other else "there is none beside it"
        journal.say(f"note: not compared with a certificate: {why}")
    elif request.quick:
        old = certificate.load(kept)
        section = certificate.agreement(content, old)
        content["parts"].append(section.as_json())
        content["passed"] = content["passed"] and section.passed
        changed = [room for room, value in rooms.items() if old["sources"].get(room) != value]
        if changed:
            journal.say(
                f"note: the certificate was made from other sources of {', '.join(changed)}"
            )
    return certificate.seal(content), file


def _sections(
    request: Request,
    artifact: PolicyArtifact,
    module: Path,
    folder: Path,
    manifest: Manifest,
    journal: Journal,
) -> list[Section]:
    network = artifact.network
    assert network is not None
    journal.say("bounds")
    layers = [
        formal.FormalLayer(network, folder, manifest, index)
        for index in range(len(manifest.layers))
    ]
    sections = [bounds.check_bounds(network, [layer.text for layer in layers], manifest.layers)]
    journal.say("neurons: torch")
    checks = neurons.check_torch(artifact, module)
    journal.say("neurons: engines")
    checks += neurons.check_engines(artifact)
    journal.say("neurons: hardware, by SAT")
    outcomes, dots = _prove(layers, journal, whole=not request.quick)
    for kind, what in (
        ("tail", "rtl: codes of every neuron, for every sum"),
        ("lookup", "rtl: codes of every neuron that is a table, for all input codes"),
    ):
        check = formal.summarise(kind, what, outcomes)
        checks += [check] if check else []
    sections.append(Section("neurons", tuple(checks)))
    if not request.quick:
        sections.append(_formal(layers, outcomes, dots))
    sections.append(
        chain.check_chain(
            artifact,
            folder,
            manifest,
            journal,
            quick=request.quick,
            core_frames=request.core_frames,
        )
    )
    if not request.quick and has_task(artifact):
        sections.append(loops.check_loops(artifact, folder, journal))
    if request.build is not None:
        journal.say("routed netlist and bitstream")
        quick = request.quick
        sections.append(
            bitstream.check_bitstream(
                artifact,
                folder,
                manifest,
                journal,
                frames=chain.QUICK_FRAMES if quick else request.core_frames,
                serial_frames=bitstream.QUICK_SERIAL_FRAMES if quick else bitstream.SERIAL_FRAMES,
            )
        )
    return sections


def _prove(
    layers: list[formal.FormalLayer],
    journal: Journal,
    *,
    whole: bool,
) -> tuple[formal.Outcomes, list[Check]]:
    """All proofs, a layer at a time: their outcomes, and what rewriting proved."""
    outcomes: formal.Outcomes = {}
    dots = []
    for layer in layers:

        def work(layer: formal.FormalLayer = layer) -> list[Any]:
            with scratch_folder() as scratch:
                found = formal.prove(layer.jobs(Path(scratch), whole=whole), lambda _: None)
            return list(found.items())

        kind = "with whole neurons" if whole else "pieces"
        kept = journal.once(f"SAT of layer {layer.index}, {kind}", work)
        outcomes |= {formal.Proof(*fields): outcome for fields, outcome in kept}
        if whole and not layer.lookup:
            dots.append(layer.dots())
    return outcomes, dots


def _formal(
    layers: list[formal.FormalLayer], outcomes: formal.Outcomes, dots: list[Check]
) -> Section:
    checks = list(dots)
    for kind, what in (
        ("planes", "the trees see the bit planes of the codes"),
        ("step", "accumulators shift and add"),
        ("tail", "codes count the thresholds, for every sum"),
        ("lookup", "neurons that are tables, from input bits to the code"),
    ):
        check = formal.summarise(kind, what, outcomes)
        checks += [check] if check else []
    # A whole neuron may take too long; that it was proven in pieces stands either way.
    whole = {proof: value for proof, value in outcomes.items() if proof.kind == "whole"}
    ended = {proof: value for proof, value in whole.items() if value != "unfinished"}
    check = formal.summarise("whole", "whole neurons, from input bits to the code", ended)
    checks += [check] if check else []
    count = sum(len(layer.spec.weights) for layer in layers if not layer.lookup)
    uncovered = [_TIMING]
    if len(ended) < count:
        uncovered.append(
            f"SAT over a whole neuron at once: of {count} neurons {count - len(whole)} were not "
            f"tried (too many input bits, or shared between neurons), {len(whole) - len(ended)} "
            f"did not end within {formal.WHOLE_SECONDS} s; these are proven in pieces"
        )
    return Section("formal", tuple(checks), tuple(uncovered))


def _check_sizes(network: IntegerNetwork, folder: Path, manifest: Manifest) -> None:
    """Raise PolicyError unless the manifest has the network's sizes: it says what is proven."""
    layers = [(layer.neurons, layer.inputs) for layer in manifest.layers]
    for name, value, right in (
        ("n", manifest.n, network.mean.size),
        ("m", manifest.m, network.table.shape[0]),
        ("b_in", manifest.b_in, network.input_bits),
        ("b_core", manifest.b_core, network.core_bits),
        ("b_out", manifest.b_out, network.output_bits),
        ("layers", layers, [weights.shape for weights in network.weights]),
    ):
        if value != right:
            wrong = f"{value}, the policy has {right}"
            remedy = "generate it again from this policy"
            raise PolicyError.at(folder / MANIFEST, name, wrong, remedy)


@contextlib.contextmanager
def _hardware(artifact: PolicyArtifact, given: Path | None) -> Iterator[Path]:
    """The generated folder to verify."""
    if given is not None:
        yield given
        return
    with scratch_folder() as scratch:
        generate(artifact, _PART, _CLOCK_MHZ, "latency", Path(scratch))
        yield Path(scratch)


def summary(result: dict[str, Any]) -> str:
    """The verdict for a human reader, failures by name."""
    lines = [f"{result['policy']}: {'passed' if result['passed'] else 'FAILED'}"]
    for section in result["parts"]:
        done = sum(check["compared"] for check in section["checks"])
        verdict = "passed" if section["passed"] else "FAILED"
        lines.append(f"  {section['name']:<12} {verdict}   {done:>15,} compared")
        lines += [
            f"    {check['name']}: {check['wrong']} of {check['compared']} wrong; {check['detail']}"
            for check in section["checks"]
            if not check["passed"]
        ]
    return "\n".join(lines)


def dumps(results: list[dict[str, Any]]) -> str:
    """One JSON object for all of them."""
    passed = all(result["passed"] for result in results)
    return json.dumps({"passed": passed, "certificates": results})
