"""Record which input codes a policy sees in its episodes, for the node's supervisor.

`<policy>.seen.json` beside the policy: the lowest and highest code of every value. With the node's
parameter `unseen` an observation outside is counted or refused (docs/proofs.md).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.cli.arguments import PolicyName
from qpolicy_ros.common.errors import InputError, UsageError
from qpolicy_ros.policy import PolicyArtifact, find_policy, load_policy, make_engine
from qpolicy_ros.policy.model import Float32
from qpolicy_ros.policy.seen import save_seen, seen_codes, seen_path

_MOST_EPISODES = 100_000


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy seen`."""

    policy: PolicyName
    """Policy file, or a shipped policy's name: `hopper` (its `paper` one) or `hopper/selected`."""
    episodes: int = 10
    """Episodes that the policy plays in its task."""
    seed: int = 7000
    """Of the first episode; the next ones count up."""
    observations: Path | None = None
    """Instead of episodes: a .npy file of recorded observations, floats (k, n)."""
    out: Path | None = None
    """Where to write; by default beside the policy."""
    json: bool = False
    """Print one JSON object on standard output."""


def main(args: Args) -> int:
    """Record the codes, write them, and say how many of all codes they are.

    Raises:
        InputError: no such policy, no integer network, or no observations.
    """
    if not 1 <= args.episodes <= _MOST_EPISODES:
        raise UsageError(f"--episodes: {args.episodes}; give 1 to {_MOST_EPISODES}")
    file = find_policy(args.policy)
    artifact = load_policy(file)
    if artifact.network is None:
        remedy = "give a policy with an integer network"
        raise InputError.at(file, "integer", "holds an FP32 baseline alone", remedy)
    engine = make_engine(artifact.network)
    rows = _recorded(args.observations, artifact) if args.observations else _played(args, artifact)
    source = f"{args.episodes} episodes from seed {args.seed}"
    if args.observations:
        source = args.observations.name
    seen = seen_codes(engine.codes_batch(rows)[0], source)
    target = args.out or seen_path(file)
    save_seen(seen, artifact, target)
    low, high = artifact.network.input_range
    share = float(((seen.high - seen.low + 1) / (high - low + 1)).mean())
    facts = {"file": str(target), "observations": len(rows), "share_of_codes": round(share, 4)}
    text = f"{target}: {len(rows)} observations cover {share:.1%} of the codes of a value"
    print(json.dumps(facts) if args.json else text)
    return 0


def _played(args: Args, artifact: PolicyArtifact) -> Float32:
    """The observations of episodes, played by the integer engine."""
    from qpolicy_ros.sim import evaluate  # noqa: PLC0415  needs the simulator

    assert artifact.network is not None
    engine, seen = make_engine(artifact.network), []

    def act(observation: Any) -> Any:
        seen.append(np.array(observation, np.float32))
        return engine.act(observation)

    evaluate(act, artifact.contract.env_id or artifact.contract.task, args.episodes, args.seed)
    return np.stack(seen)


def _recorded(path: Path, artifact: PolicyArtifact) -> Float32:
    try:
        rows = np.asarray(np.load(path, allow_pickle=False), np.float32)
    except (OSError, ValueError, EOFError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        remedy = "give a .npy file of floats (k, n)"
        raise InputError.at(path, "observations", f"cannot be read: {reason}", remedy) from error
    inputs = len(artifact.contract.observation)
    if rows.ndim != 2 or rows.shape[1] != inputs or not len(rows) or not np.isfinite(rows).all():
        wrong = f"shape {rows.shape}, or values that are not finite"
        raise InputError.at(path, "observations", wrong, f"give finite floats (k, {inputs})")
    return rows
