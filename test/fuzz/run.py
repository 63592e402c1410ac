"""Coverage-guided fuzzing of one target in this process: `run.py TARGET FOLDER EXECUTIONS`.

FOLDER keeps the corpus and what crashes. Prints `rss EXECUTIONS MEGABYTES` on the way, so that a
caller sees memory grow. Exit status 0: the executions are done; anything else: a bug, with
libFuzzer's report on standard error and its input in FOLDER.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))

INCOMING = "qpolicy_ros.interchange.incoming"
# Whose branches guide the fuzzer.
INSTRUMENTED = {
    "policy": ["qpolicy_ros.policy", "qpolicy_ros.cli.info"],
    "qat": ["qpolicy_training.quant.qat_file"],
    "checkpoint": [
        "qpolicy_training.runs.state",
        "qpolicy_training.recipes.distill",
        "qpolicy_training.runs.folder",
    ],
    "manifest": [
        "qpolicy_fpga.manifest",
        "qpolicy_fpga.report.picture",
        "qpolicy_fpga.wrappers.tops",
    ],
    "bag": ["qpolicy_ros.latency.bag", "qpolicy_ros.latency.mcap", "qpolicy_ros.latency.trace"],
    "bag_db3": ["qpolicy_ros.latency.bag", "qpolicy_ros.latency.db3", "qpolicy_ros.latency.trace"],
    "certificate": ["qpolicy_ros.verify.certificate", "qpolicy_ros.common.json_files"],
    "ledger": ["qpolicy_training.select.ledger", "qpolicy_ros.common.json_files"],
    "curve": ["qpolicy_training.runs.curve", "qpolicy_ros.common.json_files"],
    "hardware": ["qpolicy_training.report.runs", "qpolicy_ros.common.json_files"],
    "onnx": [f"{INCOMING}.{name}" for name in ("onnx_file", "reduce", "unwind", "folding")],
    "contract": [f"{INCOMING}.contracts", f"{INCOMING}.contracts.yaml_file"],
    "pickle": [f"{INCOMING}.inert_pickle"],
    "zip": [
        f"{INCOMING}.{name}"
        for name in ("zip_files", "source", "chain", "checkpoints", "stable_baselines", "npz")
    ],
    "robot": ["qpolicy_ros.sim.description"],
    "frames": ["qpolicy_ros.backends.fpga.frames"],
    "reply": ["qpolicy_ros.backends.fpga.frames", "qpolicy_ros.backends.fpga.uart"],
}
HANG_SECONDS = 20
MEMORY_MB = 2048
REPORTS = 5


def resident() -> float:
    """Memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def prepare(names: Iterable[str]) -> None:
    """Import what these targets read with, watched by the fuzzer."""
    modules = {module for name in names for module in INSTRUMENTED[name]}
    with atheris.instrument_imports(include=sorted(modules)):
        for module in (*sorted(modules), "targets", "mutate"):
            importlib.import_module(module)


def fuzz(name: str, folder: Path, executions: int) -> None:
    """Fuzz one target, which is prepared; does not return."""
    targets, mutations = map(importlib.import_module, ("targets", "mutate"))
    target = targets.TARGETS[name]
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for index, seed in enumerate(target.seeds()):
        (corpus / f"seed-{index}").write_bytes(seed)
    done = 0

    def once(data: bytes) -> None:
        nonlocal done
        target.run(data)
        done += 1
        if done % max(executions // REPORTS, 1) == 0:
            sys.stderr.write(f"rss {done} {resident():.0f}\n")

    def shape(data: bytes, max_size: int, seed: int) -> bytes:
        changed = mutations.mutate(target.kind, data, seed) if seed % 4 else None
        if changed is None or len(changed) > max_size:
            return bytes(atheris.Mutate(data, max_size))
        return changed

    options = [
        *(name, str(corpus), f"-runs={executions}", f"-artifact_prefix={folder}/"),
        *("-print_final_stats=1", f"-timeout={HANG_SECONDS}", f"-rss_limit_mb={MEMORY_MB}"),
        *(f"-max_len={target.largest}", "-verbosity=0"),
    ]
    # libFuzzer's own mutations stay in C++.
    own = {} if target.kind == "bytes" else {"custom_mutator": shape}
    atheris.Setup(options, once, **own)
    atheris.Fuzz()


def main(name: str, folder: Path, executions: int) -> None:
    """Fuzz one target; does not return."""
    prepare([name])
    fuzz(name, folder, executions)


def several(folder: Path, executions: dict[str, int]) -> dict[str, int]:
    """Fuzz targets one after another, in children of this process: what they import is read once.

    Returns their exit statuses; what each said is in ``folder``, TARGET.txt.
    """
    prepare(executions)
    statuses = {}
    for name, count in executions.items():
        child = os.fork()
        if not child:
            with (folder / f"{name}.txt").open("w") as said:
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
            fuzz(name, folder / name, count)
        statuses[name] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return statuses


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
