"""A policy whose joints ros2_control drives: the policy node and its watchdog, remapped.

The robot's own launch file starts `controller_manager` and its controllers, from the YAML of
`qpolicy export POLICY --format ros2-control`.
"""

from __future__ import annotations

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.events.process import ProcessExited
from launch.launch_context import LaunchContext
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

CONFIG = PathJoinSubstitution([FindPackageShare("qpolicy_ros"), "config", "robot.yaml"])

ARGUMENTS = (
    ("task", "", "the task that the policy must be for; empty: the parameter file's, else any"),
    ("policy", "", "task name, or a .safetensors file; empty takes task"),
    ("backend", "", "integer, fp32 or fpga; empty: the parameter file's, else integer"),
    ("controller", "/policy_controller", "full name of the controller that takes the commands"),
    (
        "trajectory",
        "false",
        "true: it is a joint_trajectory_controller, else a forward_command one",
    ),
    ("engage", "", "true: serve as soon as everything is there; empty: wait for ~/start"),
    ("use_sim_time", "", "true where /clock gives the time; empty: false"),
    ("namespace", "", "namespace of the nodes and topics"),
    ("params_file", "", "YAML file with parameters, read after config/robot.yaml"),
)


def generate_launch_description() -> LaunchDescription:
    """Return the description; the arguments are described where they are declared."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=_nodes)])


def _nodes(context: LaunchContext) -> list[Node]:
    said = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    trajectory = said["trajectory"].lower() in {"true", "1"}

    def given(**kinds: type) -> list[dict[str, ParameterValue]]:
        """Return the parameters whose arguments are given, a list of none or one."""
        values = {
            name: ParameterValue(LaunchConfiguration(name), value_type=kind)
            for name, kind in kinds.items()
            if said[name]
        }
        return [values] if values else []

    controller = said["controller"]
    shared = {
        "package": "qpolicy_ros",
        "namespace": said["namespace"],
        "output": "screen",
        "on_exit": _end,
        "remappings": [("joint_trajectory", f"{controller}/joint_trajectory")]
        if trajectory
        else [("action", f"{controller}/commands")],
    }
    files = [CONFIG, *filter(None, [said["params_file"]])]
    policy = LifecycleNode(
        executable="policy_node",
        name="policy_node",
        parameters=[
            *files,
            {"controller": controller, "joint_trajectory": trajectory},
            *given(task=str, policy=str, backend=str, engage=bool, use_sim_time=bool),
        ],
        **shared,
    )
    watchdog = Node(
        executable="safety_watchdog",
        name="safety_watchdog",
        parameters=[*files, *given(task=str, policy=str, use_sim_time=bool)],
        **shared,
    )
    return [watchdog, policy]


def _end(event: ProcessExited, context: LaunchContext) -> list[Shutdown]:
    """End the launch, and fail where its node has failed."""
    if context.is_shutdown:
        return []
    if event.returncode:
        raise RuntimeError(f"{event.process_name} ended with exit code {event.returncode}")
    return [Shutdown(reason=f"{event.process_name} ended")]
