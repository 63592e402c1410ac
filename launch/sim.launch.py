"""A simulated robot and its policy, closed loop: `ros2 launch qpolicy_ros sim.launch.py`."""

from __future__ import annotations

from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    Shutdown,
)
from launch.conditions import IfCondition
from launch.events.process import ProcessExited
from launch.launch_context import LaunchContext
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, NotSubstitution, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

ARGUMENTS = (
    ("task", "hopper", "hopper, walker2d, halfcheetah, ant, humanoid or a Gymnasium id"),
    ("policy", "", "task name such as hopper/fp32, or a .safetensors file; empty takes task"),
    ("backend", "integer", "what computes the action: integer, fp32 or fpga"),
    ("realtime", "false", "true: wall-clock speed; false: lock-step, exact and as fast as it goes"),
    ("record", "false", "true records a bag: `ros2 bag record`, else this package's recorder"),
    ("headless", "true", "false opens a window"),
    ("seed", "0", "seed of the first episode"),
    ("episodes", "0", "episodes to play before everything ends; 0 = for ever"),
    ("video", "", "file (.mp4) for a film of the robot; empty = none"),
)


def generate_launch_description() -> LaunchDescription:
    """Return the description; the arguments are described where they are declared."""

    def typed(name: str, kind: type) -> ParameterValue:
        return ParameterValue(LaunchConfiguration(name), value_type=kind)

    share = FindPackageShare("qpolicy_ros")
    policy = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([share, "launch", "policy.launch.py"])),
        launch_arguments={
            **{name: LaunchConfiguration(name) for name in ("task", "policy", "backend")},
            "lockstep": NotSubstitution(LaunchConfiguration("realtime")),
        }.items(),
    )
    simulator = Node(
        package="qpolicy_ros",
        executable="mujoco_sim_node",
        name="mujoco_sim_node",
        output="screen",
        parameters=[
            PathJoinSubstitution([share, "config", "mujoco_sim_node.yaml"]),
            {name: typed(name, str) for name in ("task", "video")},
            {name: typed(name, int) for name in ("seed", "episodes")},
            {name: typed(name, bool) for name in ("realtime", "headless")},
        ],
        on_exit=_end,
    )
    recorder = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([share, "launch", "record.launch.py"])),
        condition=IfCondition(LaunchConfiguration("record")),
    )
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in ARGUMENTS
    ]
    return LaunchDescription([*declared, recorder, policy, simulator])


def _end(_: ProcessExited, context: LaunchContext) -> list[Shutdown]:
    """End the launch with the simulation, unless the launch is ending already."""
    return [] if context.is_shutdown else [Shutdown(reason="the simulation ended")]
