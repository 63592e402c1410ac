"""A policy's actions as ros2_control takes them: the controllers' parameters, in its own order.

``Float64MultiArray`` has no names: a ``forward_command_controller`` with joints in another order
drives the wrong ones, and nobody notices. So the order is written from the policy.
"""

from __future__ import annotations

from typing import Any

from qpolicy_ros.policy import Contract, PolicyArtifact, PolicyError

CONTROLLER = "policy_controller"

_FORWARD = "forward_command_controller/ForwardCommandController"
_TRAJECTORY = "joint_trajectory_controller/JointTrajectoryController"
_LEAST_RATE = 100  # Hz
_PER_PERIOD = 2  # of the controllers, in a control period of the policy


def controllers(artifact: PolicyArtifact, *, trajectory: bool = False) -> str:
    """Return the YAML for ``controller_manager``: a broadcaster, and a controller of the joints.

    Args:
        artifact: of a robot.
        trajectory: a ``joint_trajectory_controller`` instead of a ``forward_command_controller``.

    Raises:
        PolicyError: the policy is no robot's, or its joints are commanded in different ways.
    """
    contract = artifact.contract
    interface = _interface(contract, artifact.path)
    joints = [action.name for action in contract.action]
    parameters: dict[str, Any] = {"joints": joints, "interface_name": interface}
    topics = f"action:=/{CONTROLLER}/commands"
    if trajectory:
        if interface != "position":
            wrong = f"a trajectory has positions, the policy commands {interface}"
            raise PolicyError.at(artifact.path, "contract.action", wrong, "leave --trajectory out")
        parameters = {
            "joints": joints,
            "command_interfaces": ["position"],
            "state_interfaces": ["position", "velocity"],
            "allow_partial_joints_goal": False,
            "open_loop_control": False,
        }
        topics = f"joint_trajectory:=/{CONTROLLER}/joint_trajectory"
    rate = max(_LEAST_RATE, round(_PER_PERIOD / contract.period))
    lines = [
        f"# Controllers of {contract.task}, function {artifact.function_hash[:12]}, by",
        "# `qpolicy export --format ros2-control`. The joints are in the policy's order: keep it.",
        f"# The policy node: -r {topics} -p controller:=/{CONTROLLER}"
        + (" -p joint_trajectory:=true" if trajectory else ""),
        "controller_manager:",
        "  ros__parameters:",
        f"    update_rate: {rate}  # Hz",
        "    joint_state_broadcaster:",
        "      type: joint_state_broadcaster/JointStateBroadcaster",
        f"    {CONTROLLER}:",
        f"      type: {_TRAJECTORY if trajectory else _FORWARD}",
        f"{CONTROLLER}:",
        "  ros__parameters:",
    ]
    for name, value in parameters.items():
        if isinstance(value, list):
            lines += [f"    {name}:", *(f"      - {_quoted(item)}" for item in value)]
        else:
            text = _quoted(value) if isinstance(value, str) else str(value).lower()
            lines.append(f"    {name}: {text}")
    return "\n".join(lines) + "\n"


def _interface(contract: Contract, file: str) -> str:
    if not contract.robot:
        wrong = f"{contract.task} has a feature vector, its actions drive no joints by name"
        raise PolicyError.at(file, "contract.observation", wrong, "give a robot's policy")
    kinds = sorted({getattr(action, "kind", "position") for action in contract.action})
    if len(kinds) > 1:
        wrong = f"its joints are commanded by {', '.join(kinds)}"
        remedy = "write a controller for each kind by hand"
        raise PolicyError.at(file, "contract.action", wrong, remedy)
    return kinds[0]


def _quoted(text: str) -> str:
    """Return YAML that reads as this text whatever is in it."""
    return "'" + text.replace("'", "''") + "'"
