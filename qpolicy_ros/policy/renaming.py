"""A policy for a robot whose joints have other names: everything else stays as it is."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace

from qpolicy_ros.common.errors import PolicyError
from qpolicy_ros.policy.artifact import make_artifact
from qpolicy_ros.policy.model import Channel, Contract, PolicyArtifact
from qpolicy_ros.policy.sources import (
    HISTORY,
    JOINT_STATES,
    PREVIOUS_ACTION,
    PREVIOUS_OUTPUT,
    parse_source,
)

_OF_JOINTS = (JOINT_STATES, PREVIOUS_ACTION, PREVIOUS_OUTPUT)


def joints_of(contract: Contract) -> tuple[str, ...]:
    """Return the joints that a contract names: of its actions, then of its observation."""
    names = [action.name for action in contract.action]
    for channel in contract.observation:
        source = parse_source(channel.source)
        if source.topic == JOINT_STATES:
            names.append(source.key)
    return tuple(dict.fromkeys(names))


def rename_joints(artifact: PolicyArtifact, names: Mapping[str, str]) -> PolicyArtifact:
    """Return the policy with other names of joints; what it computes stays bit for bit.

    Args:
        artifact: the policy.
        names: new names by the old ones.

    Raises:
        PolicyError: an old name is none of the policy's, or two joints would have one name.
    """
    contract = artifact.contract
    known = joints_of(contract)
    for old in names:
        if old not in known:
            near = difflib.get_close_matches(old, known, n=3, cutoff=0.4) or list(known[:6])
            wrong = f"{old!r} is no joint of the policy"
            raise PolicyError.at(artifact.path, "joint", wrong, f"nearest are {', '.join(near)}")
    after = [names.get(name, name) for name in known]
    twice = next((name for name in after if after.count(name) > 1), None)
    if twice is not None:
        wrong = f"two joints would be {twice!r}"
        raise PolicyError.at(artifact.path, "joint", wrong, "give each joint a name of its own")
    channels = {c.name: _name(c.name, names) for c in contract.observation}
    renamed = replace(
        contract,
        observation=tuple(_renamed(c, names, channels) for c in contract.observation),
        action=tuple(replace(a, name=names.get(a.name, a.name)) for a in contract.action),
    )
    provenance = {**artifact.provenance, "renamed_joints": dict(names)}
    return make_artifact(
        renamed, artifact.baseline, artifact.network, provenance, artifact.golden.observations
    )


def _renamed(channel: Channel, names: Mapping[str, str], channels: Mapping[str, str]) -> Channel:
    source, text = parse_source(channel.source), channel.source
    head = text.partition(":")[0]
    if source.topic in _OF_JOINTS:
        text = f"{head}:{names.get(source.key, source.key)}"
    elif source.topic == HISTORY:
        text = f"{head}:{channels[source.key]}"
    return replace(channel, name=channels[channel.name], source=text)


def _name(name: str, names: Mapping[str, str]) -> str:
    """A value's name after its joint's: ``q:hip`` or ``q:hip@2`` names the joint ``hip``."""
    head, colon, key = name.rpartition(":")
    joint, at, ticks = key.partition("@")
    return f"{head}{colon}{names[joint]}{at}{ticks}" if colon and joint in names else name
