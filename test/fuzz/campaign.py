"""`make fuzz`: every target gets its executions, in processes of a chunk each, resumable.

`campaign.py [--executions N] [--chunk N] [--out FOLDER] [TARGET ...]`. FOLDER (`out/fuzz`) keeps
a corpus and a `progress.json` for each target; run again, a target goes on where it stopped. Ends
with a table; exit status 1 where a target crashed, hung or grew.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TARGETS = (
    *("frames", "reply", "manifest", "policy", "bag", "bag_db3", "robot", "qat", "checkpoint"),
    *("certificate", "ledger", "curve", "hardware"),
    *("onnx", "contract", "pickle", "zip"),
)
GROWTH_MB = 64.0
HEADER = (
    "| target | executions | a second, last | inputs kept | slowest input, s | memory, MB "
    "| growth in a chunk, MB |"
)


def chunk(name: str, folder: Path, executions: int) -> dict[str, Any]:
    """Run one process; return what it measured, with ``failure`` empty where all is well."""
    begin = time.monotonic()
    process = subprocess.run(
        [sys.executable, str(HERE / "run.py"), name, str(folder), str(executions)],
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
    )
    said = process.stderr + process.stdout
    resident = [float(value) for value in re.findall(r"^rss \d+ (\d+)$", said, re.MULTILINE)]
    slowest = re.search(r"slowest_unit_time_sec:\s+(\d+)", said)
    facts: dict[str, Any] = {
        "executions": executions,
        "seconds": round(time.monotonic() - begin, 1),
        "rss_mb": resident,
        "slowest_s": int(slowest.group(1)) if slowest else 0,
        "failure": "",
    }
    if process.returncode:
        facts["failure"] = said[-3000:]
    elif len(resident) > 1 and resident[-1] - resident[0] > GROWTH_MB:
        facts["failure"] = f"memory grew: {resident} MB"
    return facts


def campaign(name: str, folder: Path, executions: int, size: int) -> dict[str, Any]:
    """Fuzz one target up to ``executions``; return its progress, which is kept in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "progress.json"
    progress = json.loads(file.read_text()) if file.is_file() else {"executions": 0, "chunks": []}
    while progress["executions"] < executions:
        facts = chunk(name, folder, min(size, executions - progress["executions"]))
        if facts["failure"]:
            return {**progress, "failure": facts["failure"]}
        progress["executions"] += facts["executions"]
        progress["chunks"].append(facts)
        file.with_suffix(".new").write_text(json.dumps(progress, indent=1))
        file.with_suffix(".new").replace(file)
        sys.stderr.write(f"{name}: {progress['executions']:,} of {executions:,}\n")
    return {**progress, "failure": ""}


def row(name: str, folder: Path, progress: dict[str, Any]) -> str:
    """One line of the table."""
    chunks = progress["chunks"] or [{"rss_mb": [0.0], "slowest_s": 0}]
    growth = max((facts["rss_mb"][-1] - facts["rss_mb"][0]) for facts in chunks)
    memory = max(max(facts["rss_mb"]) for facts in chunks)
    kept = len(list((folder / "corpus").glob("*")))
    slowest = max(facts["slowest_s"] for facts in chunks)
    last = progress["chunks"][-1] if progress["chunks"] else {"executions": 0, "seconds": 1.0}
    rate = last["executions"] / last["seconds"]
    figures = f"{progress['executions']:,} | {rate:,.0f} | {kept:,} | {slowest} | {memory:.0f}"
    figures += f" | {growth:.0f}"
    return f"| {name} | {figures} |"


def main() -> int:
    """Run the targets named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], default=[])
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--chunk", type=int, default=50_000)
    parser.add_argument("--out", type=Path, default=Path("out/fuzz"))
    args = parser.parse_args()
    rows, failures = [HEADER, "|---|" + "---:|" * 6], []
    for name in args.targets or TARGETS:
        progress = campaign(name, args.out / name, args.executions, args.chunk)
        rows.append(row(name, args.out / name, progress))
        if progress["failure"]:
            failures.append(f"{name}: {progress['failure']}")
    sys.stdout.write("\n".join([*rows, *failures, ""]))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
