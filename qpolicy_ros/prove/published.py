"""The published set: a hundred properties of the shipped policies, written and decided.

    python -m qpolicy_ros.prove.published make FOLDER     # writes them, from recorded episodes
    python -m qpolicy_ros.prove.published decide FOLDER   # decides them; goes on where it stopped
    python -m qpolicy_ros.prove.published again FOLDER    # tries those once more that are open
    python -m qpolicy_ros.prove.published growth FOLDER   # random networks by width and bits
    python -m qpolicy_ros.prove.published report FOLDER   # table and figure

Each question is one that an owner of the robot could ask; its numbers come from an episode that the
policy played (seed 5000), by the rules below.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.files import make_folder, write_atomically
from qpolicy_ros.policy import PolicyArtifact, find_policy, load_policy, make_engine
from qpolicy_ros.policy.model import Float32
from qpolicy_ros.prove.growth import measure_growth
from qpolicy_ros.prove.property import read_property
from qpolicy_ros.prove.run import OPEN, Prover

POLICIES = (
    *(
        f"{task}/{variant}"
        for task in ("hopper", "walker2d", "halfcheetah", "ant", "humanoid")
        for variant in ("paper", "selected")
    ),
    "go2/walk",
)
SECONDS = 58.0  # of processor time a property; 60 are allowed, and the last step may overrun
ROWS, GROWTH = "rows.json", "growth.json"
_SEED, _TICKS, _FAMILIAR = 5000, 5, 1000


def write_properties(folder: Path) -> list[Path]:
    """Write the hundred properties into ``folder``, one file each."""
    make_folder(folder)
    written = []
    for policy in POLICIES:
        artifact = load_policy(find_policy(policy))
        seen = _episode(artifact)
        for kind, content in _questions(policy, artifact, seen):
            path = folder / f"{policy.replace('/', '-')}-{kind}.yaml"
            write_atomically(path, _yaml(content).encode())
            written.append(path)
    return written


def _questions(
    policy: str, artifact: PolicyArtifact, seen: Float32
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The questions of one policy: nine, and for the first policy a tenth."""
    contract = artifact.contract
    names = [action.name for action in contract.action]
    first, size = names[0], float(contract.high[0] - contract.low[0])
    actions = make_engine(artifact.network).act_batch(seen)  # type: ignore[arg-type]
    whole = _box(artifact, seen.min(axis=0), seen.max(axis=0))
    middle = len(seen) // 2
    ticks = seen[middle : middle + _TICKS]
    moment = _box(artifact, ticks.min(axis=0), ticks.max(axis=0))
    quarter = np.quantile(seen, (0.25, 0.75), axis=0).astype(np.float32)
    usual = _box(artifact, *quarter)
    nearby = [[float(f"{value:.9g}") for value in row] for row in seen[middle::97][:3]]
    least, most = (float(end) for end in (contract.low[0], contract.high[0]))
    # A lean: the trunk's angle, or the first value that takes both signs.
    both = [name for name, (low, high) in whole.items() if low < 0 < high]
    key = "position:rooty" if "position:rooty" in whole else both[0]
    side = max(map(abs, whole[key]))
    margin = 0.9 * max(abs(least), abs(most))
    yield (
        "limit",
        {
            "about": f"Wherever an episode goes, {first} stays within 90 % of its limits.",
            "box": whole,
            "claim": {"action": first, "low": -margin, "high": margin},
        },
    )
    found = actions[middle : middle + _TICKS, 0]
    yield (
        "moment",
        {
            "about": f"Within {_TICKS} ticks that were seen, {first} stays within a quarter of its "
            "range of what it was.",
            "box": moment,
            "claim": {
                "action": first,
                "low": round(float(found.min()) - size / 4, 6),
                "high": round(float(found.max()) + size / 4, 6),
            },
        },
    )
    lean = np.quantile(seen[:, [*whole].index(key)], (0.95, 1.0))
    sign = "positive" if np.median(actions[:, 0]) < least / 2 + most / 2 else "negative"
    yield (
        "never",
        {
            "about": f"Where {key} is in the upper 5 % of what was seen, {first} is never {sign}.",
            "box": whole,
            "condition": {key: _pair(*lean)},
            "claim": {"action": first, "never": sign},
        },
    )
    for name, radius, part in (("steady", 1, 0.1), ("safe", 1, 0.5)):
        yield (
            name,
            {
                "about": f"Around three observations, one code of noise on every value moves no "
                f"action by more than {part:.0%} of {first}'s range.",
                "claim": {
                    "robust": round(part * size, 6),
                    "radius": radius,
                    "around": nearby,
                    "count": 3,
                },
            },
        )
    yield (
        "jerk",
        {
            "about": f"Within {_TICKS} ticks that were seen, one code on every value changes "
            f"{first} by at most half of its range.",
            "box": moment,
            "claim": {"action": first, "change": round(size / 2, 6), "within": 1},
        },
    )
    yield (
        "monotone",
        {
            "about": f"Where an episode usually is, {first} never falls while {key} rises.",
            "box": usual,
            "claim": {"action": first, "monotone": "rising", "in": key},
        },
    )
    yield (
        "even",
        {
            "about": f"Wherever an episode goes, the sign of {key} changes {first} by at most "
            "a tenth of its range.",
            "box": {**whole, key: [-side, side]},
            "claim": {
                "action": first,
                "symmetric": "even",
                "in": key,
                "within": round(size / 10, 6),
            },
        },
    )
    yield (
        "range",
        {
            "about": f"What exactly can {first} be within {_TICKS} ticks that were seen?",
            "box": moment,
            "claim": {"action": first, "range": True},
        },
    )
    if policy == POLICIES[0]:
        yield (
            "radius",
            {
                "about": "How many codes of noise leave every action within a tenth of its range?",
                "claim": {"robust": size / 10, "radius": "largest", "around": nearby, "count": 3},
            },
        )


def decide(folder: Path, *, again: bool = False) -> list[dict[str, Any]]:
    """Decide every property of ``folder`` that has no row yet, and keep the rows.

    Two may run at once: each looks at the rows again before every property.

    Args:
        folder: of the properties.
        again: also those whose row says that they are open.
    """
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise InputError.at(folder, "properties", "there are none", "write them with `make`")
    for path in paths:
        task, variant, _ = path.stem.split("-")
        artifact = load_policy(find_policy(f"{task}/{variant}"))
        text = hashlib.sha256(path.read_bytes()).hexdigest()
        kept = {row["property"]: row for row in _kept(folder / ROWS)}.get(path.stem)
        is_same = kept is not None and (kept["text"], kept["function_hash"]) == (
            text,
            artifact.function_hash,
        )
        if kept is not None and is_same and not (again and kept["verdict"] == OPEN):
            continue
        row = _decided(path, artifact)
        _say(f"{path.stem}: {row['verdict']}, {row['seconds']:.1f} s")
        rows = {each["property"]: each for each in _kept(folder / ROWS)}
        rows[path.stem] = row | {"text": text}
        ordered = [rows[each.stem] for each in sorted(paths) if each.stem in rows]
        write_atomically(folder / ROWS, (json.dumps(ordered, indent=1) + "\n").encode())
    return _kept(folder / ROWS)


def _decided(path: Path, artifact: PolicyArtifact) -> dict[str, Any]:
    """The row of one property."""
    task, variant, kind = path.stem.split("-")
    network = artifact.network
    assert network is not None
    result = Prover(artifact, read_property(path, artifact), SECONDS).run()
    return {
        "bench": "prove",
        "subject": f"{task}/{variant}",
        "property": path.stem,
        "kind": kind,
        "verdict": result.verdict,
        "seconds": round(result.seconds, 2),
        "by": sorted({row["by"] for row in result.statements} - {""}),
        "checked_by": sorted({row["checked_by"] for row in result.statements} - {""}),
        "inputs": int(network.mean.size),
        "width": max(network.hidden),
        "bits": network.core_bits,
        "function_hash": artifact.function_hash,
    }


def report(folder: Path) -> str:
    """Write table and figure beside the rows, and return the table."""
    from qpolicy_ros.prove.page import draw, table  # noqa: PLC0415  matplotlib

    rows, growth = _kept(folder / ROWS), _kept(folder / GROWTH)
    text = table(rows, growth, len(list(folder.glob("*.yaml"))))
    write_atomically(folder / "README.md", text.encode())
    draw(rows, growth, folder / "growth.png")
    return text


def _kept(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else []


def _episode(artifact: PolicyArtifact) -> Float32:
    """The observations of one episode, played by the integer engine."""
    from qpolicy_ros.sim import evaluate  # noqa: PLC0415  needs the simulator

    engine = make_engine(artifact.network)  # type: ignore[arg-type]
    seen: list[Any] = []

    def act(observation: Any) -> Any:
        seen.append(np.array(observation, np.float32))
        return engine.act(observation)

    evaluate(act, artifact.contract.env_id or artifact.contract.task, 1, _SEED)
    return np.stack(seen[:_FAMILIAR])


def _box(artifact: PolicyArtifact, low: Float32, high: Float32) -> dict[str, list[float]]:
    names = [channel.name for channel in artifact.contract.observation]
    return {name: _pair(a, b) for name, a, b in zip(names, low, high, strict=True)}


def _pair(low: Any, high: Any) -> list[float]:
    """Limits in few digits, never narrower than given."""
    least, most = (float(f"{float(value):.5g}") for value in (low, high))
    step = 2e-4  # five digits are 1e-4 apart at most
    while least > float(low):
        least = float(f"{least - step * max(1.0, abs(least)):.5g}")
    while most < float(high):
        most = float(f"{most + step * max(1.0, abs(most)):.5g}")
    return [least, most]


def _yaml(content: dict[str, Any]) -> str:
    import yaml  # noqa: PLC0415  an extra

    return str(yaml.safe_dump(content, sort_keys=False, width=100, default_flow_style=None))


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def main(arguments: list[str]) -> int:
    """Do what the module's text says."""
    ways: dict[str, Callable[[Path], object]] = {
        "make": write_properties,
        "decide": decide,
        "again": lambda folder: decide(folder, again=True),
        "growth": measure_growth,
        "report": report,
    }
    if len(arguments) != 2 or arguments[0] not in ways:
        _say(__doc__ or "")
        return 2
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        ways[arguments[0]](Path(arguments[1]))
    except InputError as error:
        _say(f"error: {error}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
