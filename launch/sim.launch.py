"""A simulated robot and its policy, closed loop: `ros2 launch qpolicy_ros sim.launch.py`."""

from __future__ import annotations

from pathlib import Path

from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    Shutdown,
)
from launch.conditions import IfCondition
from launch.events.process import ProcessExited
from launch.launch_context import LaunchContext
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("qpolicy_ros")

ARGUMENTS = (
    ("task", "hopper", "hopper, walker2d, halfcheetah, ant, humanoid, a Gymnasium id or MJCF file"),
    ("policy", "", "task name such as hopper/fp32, or a .safetensors file; empty takes task"),
    ("backend", "", "what computes the action: integer, fp32 or fpga; empty: integer"),
    ("realtime", "false", "true: wall-clock speed; false: lock-step, exact and as fast as it goes"),
    ("record", "false", "true records a bag: `ros2 bag record`, else this package's recorder"),
    ("headless", "true", "false opens a window"),
    ("seed", "0", "seed of the first episode"),
    ("episodes", "0", "episodes to play before everything ends; 0 = for ever"),
    ("video", "", "file (.mp4) for a film of the robot; empty = none"),
    ("use_sim_time", "", "true where the policy's and the recorder's time is /clock's"),
    ("namespace", "", "namespace of all nodes and topics; /clock stays one"),
    ("params_file", "", "YAML file with further parameters of both nodes"),
)


def generate_launch_description() -> LaunchDescription:
    """Return the description; the arguments are described where they are declared."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in ARGUMENTS
    ]
    recorder = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "record.launch.py"])),
        launch_arguments=_same("namespace", "use_sim_time").items(),
        condition=IfCondition(LaunchConfiguration("record")),
    )
    return LaunchDescription([*declared, recorder, OpaqueFunction(function=_nodes)])


def _nodes(context: LaunchContext) -> list[IncludeLaunchDescription | Node]:
    def said(name: str) -> str:
        text: str = LaunchConfiguration(name).perform(context)
        return text

    def typed(name: str, kind: type) -> ParameterValue:
        return ParameterValue(LaunchConfiguration(name), value_type=kind)

    shared = ("policy", "backend", "use_sim_time", "namespace", "params_file")
    # A policy is not called after the file of its robot.
    of_a_file = said("policy") and Path(said("task")).suffix in {".xml", ".yaml"}
    task = {"task": "" if of_a_file else said("task")}
    lockstep = "false" if said("realtime").lower() in {"true", "1"} else "true"
    policy = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "policy.launch.py"])),
        launch_arguments={**_same(*shared), **task, "lockstep": lockstep}.items(),
    )
    simulator = Node(
        package="qpolicy_ros",
        executable="mujoco_sim_node",
        name="mujoco_sim_node",
        namespace=said("namespace"),
        output="screen",
        parameters=[
            PathJoinSubstitution([SHARE, "config", "mujoco_sim_node.yaml"]),
            *filter(None, [said("params_file")]),
            # Read here, as an included file's arguments are its includer's from then on.
            {"task": ParameterValue(said("task"), value_type=str), "video": typed("video", str)},
            # A robot's file leaves out what the policy's contract says.
            *([{"policy": typed("policy", str)}] if said("policy") else []),
            {name: typed(name, int) for name in ("seed", "episodes")},
            {name: typed(name, bool) for name in ("realtime", "headless")},
        ],
        on_exit=_end,
    )
    return [policy, simulator]


def _same(*names: str) -> dict[str, LaunchConfiguration]:
    """Hand arguments on under their names."""
    return {name: LaunchConfiguration(name) for name in names}


def _end(event: ProcessExited, context: LaunchContext) -> list[Shutdown]:
    """End the launch with the simulation, and fail where that has failed."""
    if context.is_shutdown:
        return []
    if event.returncode:
        raise RuntimeError(f"{event.process_name} ended with exit code {event.returncode}")
    return [Shutdown(reason="the simulation ended")]
