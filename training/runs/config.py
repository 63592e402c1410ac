"""A run's configuration: its hash, what a resume may change, and numbers no run could hold."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from qpolicy_ros.policy import PolicyError

# Marks a field that came after runs had been hashed: at its default it is left out of the hash,
# so that the same command still finds the run that it named before.
ADDED_LATER: Mapping[str, bool] = {"added_later": True}


def config_hash(config: Any) -> str:
    """First 12 hex digits of the SHA-256 of a configuration dataclass as canonical JSON."""
    if not is_dataclass(config) or isinstance(config, type):
        message = f"not a configuration: {config!r}"
        raise TypeError(message)
    text = json.dumps(hashed(config), sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def hashed(value: Any) -> Any:
    """Return what of a configuration goes into its hash."""
    if not is_dataclass(value):
        return value
    return {
        item.name: hashed(getattr(value, item.name))
        for item in fields(value)
        if not item.metadata.get("added_later") or getattr(value, item.name) != item.default
    }


# What a run may change where it goes on from a checkpoint: how exactly products are taken (the
# processor at hand may be another), the learning rates (it may have stopped getting better), and
# the average that plays beside the actor.
_CHANGEABLE = ("products", "policy_lr", "critic_lr", "average")


def lasting(config: dict[str, Any]) -> dict[str, Any]:
    """What two configurations must share for one to go on from the other's checkpoint."""
    learner = {k: v for k, v in config.get("sac", {}).items() if k not in _CHANGEABLE}
    return json.loads(json.dumps({**config, "sac": learner}, default=str))


# A batch and a layer are matrices in memory.
_MOST = {"batch": 65_536, "critic_width": 16_384}
_MOST_COUNT = 10**9


def require_positive(config: Any, prefix: str) -> None:
    """Refuse a configuration with a number that is not above 0, or that no memory could hold.

    ``prefix`` is its option's.
    """
    for name, value in asdict(config).items():
        option, most = f"{prefix}.{name.replace('_', '-')}", _MOST.get(name, _MOST_COUNT)
        if isinstance(value, (int, float)) and not value > 0:
            message = f"{option}: {value} is too small; give a value above 0"
            raise PolicyError(message)
        if (isinstance(value, int) and value > most) or value == math.inf:
            message = f"{option}: {value} is too large; give {most} at most"
            raise PolicyError(message)
