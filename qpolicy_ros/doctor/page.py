"""Makes docs/benchmarks/doctor.md and .json of what qpolicy_ros.doctor.measured wrote, also a part.

python -m qpolicy_ros.doctor.page OUT.jsonl [--out docs/benchmarks]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.common.machine import cpu, kernel
from qpolicy_ros.doctor.measured import AMONG, MISSED, NAMED, NOT_SEEN, SOUND, read_rows

Row = dict[str, Any]

_PAGE = """\
# The doctor, measured

`qpolicy doctor` examines policies in whose contracts one fault is planted: {policies} that other
people trained ([where they are from](../foreign-policies.md)), each with faults drawn from those
that people make ([the list](../own-policy.md#if-it-does-not-the-doctor)).
**{planted} of {wanted} faults were planted.**

- *named exactly*: with the change that it names first the contract is the original one.
- *among several*: that change is one of the three that it lists behind.
- *missed*: neither; what was named instead, or nothing, stands below.
- *not seen*: the policy stays up and goes where it is told all the same, and is called sound.
- *false alarms*: policies as they are that were not called sound.

{summary}

## By policy

{by_policy}

## By kind of fault

{by_kind}

## Not named exactly

{wrong}

## Not seen

{unseen}

## How

```
python -m qpolicy_ros.doctor.measured OUT.jsonl NAME.safetensors NAME/robot.xml ... \\
  --faults {faults} --seed {seed}
python -m qpolicy_ros.doctor.page OUT.jsonl
```

The order of the faults is drawn by the seed, in turn over the policies, so that a part is a sample
of all. The search was mended before, by faults of the same list
([what was](../foreign-policies.md#the-doctor)). {time}

- {conditions}
"""


def page(rows: Sequence[Row]) -> str:
    """Return the Markdown page of the rows of ``doctor.json``."""
    facts = next(row["conditions"] for row in rows if "conditions" in row)
    played = [row for row in rows if "policy" in row]
    planted = [row for row in played if row["kind"] != SOUND]
    names = list(dict.fromkeys(row["policy"] for row in played))
    kinds = sorted({row["kind"] for row in planted})
    seconds = [row["seconds"] for row in planted if row["outcome"] != NOT_SEEN]
    sound = [row["seconds"] for row in played if row["outcome"] == NOT_SEEN]
    versions = {row["doctor"] for row in played}
    text = f"CPU time: {sum(row['seconds'] for row in played) / 60:.0f} minutes of one core in all"
    for what, times in (("a fault that is seen", seconds), ("what is called sound", sound)):
        if times:
            text += f"; {what} {np.median(times):.1f} s (median), at most {max(times):.1f} s"
    if len(versions) > 1:
        text += f". **{len(versions)} versions of the search took part**"
    return _PAGE.format(
        policies=f"{len(names)} policies",
        planted=len(planted),
        wanted=facts["faults"] * len(names),
        summary=_summary(played),
        by_policy=_table("policy", names, lambda row: row["policy"], played),
        by_kind=_table("kind", kinds, lambda row: row["kind"], planted),
        wrong=_wrong([row for row in planted if row["outcome"] in (AMONG, MISSED)]),
        unseen=_unseen([row for row in planted if row["outcome"] == NOT_SEEN]),
        faults=facts["faults"],
        seed=facts["seed"],
        time=f"{text}.",
        conditions=f"{facts['date']}, {facts['cpu']}, {facts['kernel']}, mujoco {facts['mujoco']}, "
        f"Python {facts['python']}",
    )


def _summary(played: Sequence[Row]) -> str:
    sound = [row for row in played if row["kind"] == SOUND]
    alarms = sum(row["outcome"] != NOT_SEEN for row in sound)
    planted = [row for row in played if row["kind"] != SOUND]
    seen = [row for row in planted if row["outcome"] != NOT_SEEN]
    named = sum(row["outcome"] == NAMED for row in seen)
    if not seen:
        return f"False alarms: {alarms} of {len(sound)}."
    low, high = _interval(named, len(seen))
    return (
        f"**Named exactly: {named} of the {len(seen)} that are seen, {named / len(seen):.1%}** "
        f"(95 % interval {low:.1%} to {high:.1%}; asked: 95 %); "
        f"of all {len(planted)} {named / len(planted):.1%}. False alarms: {alarms} of {len(sound)}."
    )


def _interval(count: int, total: int) -> tuple[float, float]:
    """Return Wilson's interval of a share, 95 %."""
    z, share = 1.96, count / total
    middle = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return (middle - spread) / (1 + z * z / total), (middle + spread) / (1 + z * z / total)


def _table(head: str, names: Sequence[str], of: Callable[[Row], str], rows: Sequence[Row]) -> str:
    alarms = any(row["kind"] == SOUND for row in rows)
    lines = [
        f"| {head} | planted | named exactly | among several | missed | not seen | share of seen |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    if alarms:
        lines = [f"{lines[0]} false alarms |", f"{lines[1]}---:|"]
    for name in [*names, None]:
        mine = [row for row in rows if name in (None, of(row))]
        planted = [row["outcome"] for row in mine if row["kind"] != SOUND]
        counts = [planted.count(outcome) for outcome in (NAMED, AMONG, MISSED, NOT_SEEN)]
        seen = len(planted) - counts[-1]
        share = f"{counts[0] / seen:.0%}" if seen else "none"
        cells = [f"`{name}`" if name else "**all**", len(planted), *counts, share]
        if alarms:
            sound = [row["outcome"] for row in mine if row["kind"] == SOUND]
            cells.append(f"{len(sound) - sound.count(NOT_SEEN)} of {len(sound)}")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _wrong(rows: Sequence[Row]) -> str:
    if not rows:
        return "None."
    lines = ["| policy | planted | named first | how it failed |", "|---|---|---|---|"]
    for row in rows:
        said = row["said"] or "no single change mends it"
        said += " (the right one is among the next)" if row["outcome"] == AMONG else ""
        lines.append(f"| `{row['policy']}` | {row['planted']} | {said} | {row['why']} |")
    return "\n".join(lines)


def _unseen(rows: Sequence[Row]) -> str:
    if not rows:
        return "None."
    changes: dict[str, list[str]] = {}
    for row in rows:
        changes.setdefault(row["planted"], []).append(f"`{row['policy']}`")
    return "\n".join(f"- {change}: {', '.join(changes[change])}" for change in sorted(changes))


def _short(text: str | None) -> str | None:
    """Leave out the joints that an order lists."""
    return text and text.partition(": ")[0]


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("rows", type=Path, metavar="OUT.jsonl", help="what was measured")
    parser.add_argument(
        "--out", type=Path, default=Path("docs/benchmarks"), help="folder (default: %(default)s)"
    )
    parser.add_argument(
        "--faults", type=int, default=100, help="that were to be planted, a policy (default: 100)"
    )
    args = parser.parse_args()
    try:
        played = read_rows(args.rows)
        if not played:
            wrong, remedy = "has no rows", "run qpolicy_ros.doctor.measured first"
            raise InputError.at(args.rows, "rows", wrong, remedy)
    except InputError as error:
        parser.error(str(error))
    rows = [
        {"bench": "doctor", **row, "planted": _short(row["planted"]), "said": _short(row["said"])}
        for row in played
    ]
    facts = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "kernel": kernel(),
        "python": platform.python_version(),
        "mujoco": mujoco.__version__,
        "faults": args.faults,
        "seed": played[0]["seed"],
    }
    rows.append({"bench": "doctor", "conditions": facts})
    lines = ",\n".join(f" {json.dumps(row)}" for row in rows)
    write_atomically(args.out / "doctor.json", f"[\n{lines}\n]\n".encode())
    write_atomically(args.out / "doctor.md", page(rows).encode())
    sys.stdout.write(f"{args.out / 'doctor.md'}: {len(played)} rows\n")


if __name__ == "__main__":
    main()
