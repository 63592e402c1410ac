"""The policy node alone, configured and active: for a robot, or beside any simulator."""

from __future__ import annotations

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, Shutdown
from launch.events.process import ProcessExited
from launch.launch_context import LaunchContext
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

CONFIG = PathJoinSubstitution([FindPackageShare("qpolicy_ros"), "config", "policy_node.yaml"])

ARGUMENTS = (
    ("task", "", "the task that the policy must be for; empty accepts any"),
    ("policy", "", "task name such as hopper/fp32, or a .safetensors file; empty takes task"),
    ("backend", "integer", "what computes the action: integer, fp32 or fpga"),
    ("lockstep", "false", "true where a simulator waits for each action"),
    ("autostart", "true", "configure and activate at start; false leaves that to a manager"),
    ("use_sim_time", "false", "true where /clock gives the time"),
    ("namespace", "", "namespace of the node and its topics"),
    ("params_file", CONFIG, "YAML file with further parameters"),
)


def generate_launch_description() -> LaunchDescription:
    """Return the description; the arguments are described where they are declared."""

    def text(name: str) -> ParameterValue:
        return ParameterValue(LaunchConfiguration(name), value_type=str)

    def flag(name: str) -> ParameterValue:
        return ParameterValue(LaunchConfiguration(name), value_type=bool)

    node = LifecycleNode(
        package="qpolicy_ros",
        executable="policy_node",
        name="policy_node",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        parameters=[
            LaunchConfiguration("params_file"),
            {name: text(name) for name in ("task", "policy", "backend")},
            {name: flag(name) for name in ("lockstep", "autostart", "use_sim_time")},
        ],
        on_exit=_end,
    )
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in ARGUMENTS
    ]
    return LaunchDescription([*declared, node])


def _end(_: ProcessExited, context: LaunchContext) -> list[Shutdown]:
    """End the launch with its node; a second Shutdown while one is under way would be an error."""
    return [] if context.is_shutdown else [Shutdown(reason="policy_node ended")]
