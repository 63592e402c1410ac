"""The policy artifact and its integer arithmetic: the one definition of what a policy computes."""

from __future__ import annotations

from qpolicy_ros.common.errors import ObservationError, PolicyError
from qpolicy_ros.policy.artifact import (
    load_policy,
    make_artifact,
    require_features,
    require_task,
    save_policy,
)
from qpolicy_ros.policy.assemble import Assembler
from qpolicy_ros.policy.bounds import accumulator_bounds, network_bounds
from qpolicy_ros.policy.engines import Engine, engine_kinds, make_engine
from qpolicy_ros.policy.locate import find_policy, policy_folders
from qpolicy_ros.policy.model import (
    ActionChannel,
    Baseline,
    Channel,
    Contract,
    Gait,
    Golden,
    IntegerNetwork,
    PolicyArtifact,
)

__all__ = [
    "ActionChannel",
    "Assembler",
    "Baseline",
    "Channel",
    "Contract",
    "Engine",
    "Gait",
    "Golden",
    "IntegerNetwork",
    "ObservationError",
    "PolicyArtifact",
    "PolicyError",
    "accumulator_bounds",
    "engine_kinds",
    "find_policy",
    "load_policy",
    "make_artifact",
    "make_engine",
    "network_bounds",
    "policy_folders",
    "require_features",
    "require_task",
    "save_policy",
]
