"""Run every test file with full counts, one pytest process each, some at once, and log the outcome.

`test_full.py [--jobs N] [FILE ...]`: N processes at a time, by default one a core, four at most.

The log (docs/test-full.log) starts with the tested tree's hash; run again on the same tree, files
that passed are skipped, so an interrupted run goes on where it stopped. FILEs, those that failed,
run again on a tree that was mended: they are added under that tree's hash.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOG = ROOT / "docs" / "test-full.log"
# Not `python -m pytest`, which puts this folder, and so `launch/`, on the import path.
PYTEST = Path(sys.executable).with_name("pytest")
WRITING = threading.Lock()


def tree_hash() -> str:
    """Return the SHA-256 over names and contents of all tracked files but the log itself."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.split(b"\0")
    digest = hashlib.sha256()
    for name in sorted(filter(None, listed)):
        path = ROOT / name.decode()
        if path != LOG and path.is_file():
            digest.update(name + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def passed_before(header: str, *, keep: bool) -> set[str]:
    """Return the files that the log says have passed on this very tree; begin where it has none.

    Args:
        header: of this tree.
        keep: whether to add to what a log says of another tree, not to replace it.
    """
    lines = LOG.read_text(encoding="utf-8").splitlines() if LOG.is_file() else []
    trees = [index for index, line in enumerate(lines) if line.startswith("tree ")]
    if not trees or lines[trees[-1]] != header:
        before = LOG.read_text(encoding="utf-8") if keep and LOG.is_file() else ""
        LOG.write_text(f"{before}{header}\n", encoding="utf-8")
        return set()
    return {line.split()[1] for line in lines[trees[-1] :] if line.startswith("passed ")}


def run(file: str) -> bool:
    """Run one test file, append its line to the log, return whether nothing failed."""
    command = [str(PYTEST), "--full", "--timeout=7200", file]
    process = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    summary = (process.stdout.strip().splitlines() or ["no output"])[-1].strip("= ")
    # Without launch_ros, say, all of a file is skipped: pytest has found no tests then.
    outcome = {0: "passed", 5: "skipped"}.get(process.returncode, "FAILED")
    now = dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    with WRITING, LOG.open("a", encoding="utf-8") as log:
        print(process.stdout, end="", flush=True)
        log.write(f"{outcome} {file} | {summary} | {now}\n")
    return outcome != "FAILED"


def main() -> int:
    """Run what has not passed yet; return 1 where something fails."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    usual = min(os.cpu_count() or 1, 4)
    parser.add_argument("--jobs", type=int, default=usual, help="processes at once (%(default)s)")
    parser.add_argument("files", nargs="*", metavar="FILE", help="test files; none: all")
    args = parser.parse_args()
    jobs = max(args.jobs, 1)
    files = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("test/**/test_*.py"))
    if unknown := sorted(set(args.files) - set(files)):
        parser.error(f"{unknown[0]} is no test file; give one as test/policy/test_files.py")
    done = passed_before(f"tree {tree_hash()}", keep=bool(args.files))
    files = args.files or files
    todo = [file for file in files if file not in done]
    print(f"{len(done)} files passed before, {len(todo)} to run", flush=True)
    with ThreadPoolExecutor(jobs) as pool:
        passed = dict(zip(todo, pool.map(run, todo), strict=True))
    failed = [file for file, good in passed.items() if not good]
    print(f"{len(failed)} of {len(todo)} files failed; log: {LOG.relative_to(ROOT)}")
    for file in failed:
        print(f"FAILED {file}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
