"""The policy node alone, configured and active: for a robot, or beside any simulator."""

from __future__ import annotations

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.events.process import ProcessExited
from launch.launch_context import LaunchContext
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

CONFIG = PathJoinSubstitution([FindPackageShare("qpolicy_ros"), "config", "policy_node.yaml"])

# What is given here wins over the parameter files; what is left empty does not.
ARGUMENTS = (
    ("task", "", "the task that the policy must be for; empty: the parameter file's, else any"),
    ("policy", "", "task name such as hopper/fp32, or a .safetensors file; empty takes task"),
    ("backend", "", "integer, fp32 or fpga; empty: the parameter file's, else integer"),
    ("lockstep", "", "true where a simulator waits for each action; empty: false"),
    ("autostart", "", "false leaves configure and activate to a manager; empty: true"),
    ("use_sim_time", "", "true where /clock gives the time; empty: false"),
    ("namespace", "", "namespace of the node and its topics"),
    ("params_file", "", "YAML file with parameters, read after config/policy_node.yaml"),
)
_TEXTS = ("task", "policy", "backend")
_FLAGS = ("lockstep", "autostart", "use_sim_time")


def generate_launch_description() -> LaunchDescription:
    """Return the description; the arguments are described where they are declared."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=_nodes)])


def _nodes(context: LaunchContext) -> list[LifecycleNode]:
    said = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    given = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for names, kind in ((_TEXTS, str), (_FLAGS, bool))
        for name in names
        if said[name]
    }
    # Of one name the last one counts. (Not a dictionary before the files: rcl puts what has one
    # node's name together where that name came first.)
    files = [CONFIG, *filter(None, [said["params_file"]])]
    return [
        LifecycleNode(
            package="qpolicy_ros",
            executable="policy_node",
            name="policy_node",
            namespace=said["namespace"],
            output="screen",
            parameters=[*files, *filter(None, [given])],
            on_exit=_end,
        )
    ]


def _end(event: ProcessExited, context: LaunchContext) -> list[Shutdown]:
    """End the launch with its node, and fail where the node has failed.

    A second Shutdown while one is under way would be an error.
    """
    if context.is_shutdown:
        return []
    if event.returncode:
        raise RuntimeError(f"{event.process_name} ended with exit code {event.returncode}")
    return [Shutdown(reason="policy_node ended")]
