"""A robot and its policy: `ros2 launch qpolicy_ros robot.launch.py`, real or simulated.

The policy node waits for `~/start`, is started again when it dies, and is watched by a second
process. With `robot:=NAME` the robot is simulated; nothing else is different.
"""

from __future__ import annotations

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, Shutdown
from launch.conditions import IfCondition
from launch.events.process import ProcessExited
from launch.launch_context import LaunchContext
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import (
    LaunchConfiguration,
    NotEqualsSubstitution,
    PathJoinSubstitution,
)
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("qpolicy_ros")
CONFIG = PathJoinSubstitution([SHARE, "config", "robot.yaml"])

ARGUMENTS = (
    ("task", "", "the task that the policy must be for; empty accepts any"),
    ("policy", "", "task name, or a .safetensors file; empty takes task"),
    ("backend", "integer", "what computes the action: integer, fp32 or fpga"),
    ("engage", "false", "true: serve as soon as everything is there; false: wait for ~/start"),
    ("robot", "", "simulate this robot: a name of config/robots or a .yaml; empty = a real one"),
    ("headless", "true", "false opens a window of the simulation"),
    ("speed", "0.0", "m/s that the simulation commands on cmd_vel while nobody else does"),
    ("watchdog", "true", "false leaves a hanging policy process to the actuators' own timeout"),
    ("respawn", "true", "start the policy node and the watchdog again when they die"),
    ("record", "false", "true records a bag: `ros2 bag record`, else this package's recorder"),
    ("namespace", "", "namespace of all nodes and topics"),
    ("params_file", CONFIG, "YAML file with further parameters"),
)

_RESPAWN_DELAY = 1.0  # s


def generate_launch_description() -> LaunchDescription:
    """Return the description; the arguments are described where they are declared."""

    def typed(name: str, kind: type = str) -> ParameterValue:
        return ParameterValue(LaunchConfiguration(name), value_type=kind)

    shared = {
        "package": "qpolicy_ros",
        "namespace": LaunchConfiguration("namespace"),
        "output": "screen",
    }
    kept = {
        "respawn": LaunchConfiguration("respawn"),
        "respawn_delay": _RESPAWN_DELAY,
        "on_exit": _end_unless_it_died,
    }
    names = {name: typed(name) for name in ("task", "policy")}
    policy = LifecycleNode(
        executable="policy_node",
        name="policy_node",
        parameters=[
            LaunchConfiguration("params_file"),
            {**names, "backend": typed("backend"), "engage": typed("engage", bool)},
            {"autostart": True},
        ],
        **shared,
        **kept,
    )
    watchdog = Node(
        executable="safety_watchdog",
        name="safety_watchdog",
        parameters=[LaunchConfiguration("params_file"), names],
        condition=IfCondition(LaunchConfiguration("watchdog")),
        **shared,
        **kept,
    )
    simulator = Node(
        executable="mujoco_sim_node",
        name="mujoco_sim_node",
        parameters=[
            LaunchConfiguration("params_file"),
            {"task": typed("robot"), "realtime": True},
            {"headless": typed("headless", bool), "speed": typed("speed", float)},
        ],
        condition=IfCondition(NotEqualsSubstitution(LaunchConfiguration("robot"), "")),
        on_exit=_end,
        **shared,
    )
    record = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "record.launch.py"])),
        launch_arguments={"namespace": LaunchConfiguration("namespace")}.items(),
        condition=IfCondition(LaunchConfiguration("record")),
    )
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in ARGUMENTS
    ]
    return LaunchDescription([*declared, record, watchdog, policy, simulator])


def _end_unless_it_died(event: ProcessExited, context: LaunchContext) -> list[Shutdown]:
    """End the launch when a node ended by itself (0) or cannot work (2); respawn does the rest."""
    return _end(event, context) if event.returncode in {0, 2} else []


def _end(event: ProcessExited, context: LaunchContext) -> list[Shutdown]:
    """End the launch, unless it is ending already."""
    return [] if context.is_shutdown else [Shutdown(reason=f"{event.process_name} ended")]
