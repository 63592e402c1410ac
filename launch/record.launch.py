"""Records this package's topics: rosbag2 where it is installed, else this package's recorder."""

from __future__ import annotations

import contextlib
import importlib.util

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction
from launch.launch_context import LaunchContext
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

ARGUMENTS = (
    ("namespace", "", "namespace of the topics to record"),
    ("use_sim_time", "", "true where /clock gives the time; empty: false"),
)

TOPICS = (
    "^(/[^/]+)*/(observation|action_stamped|action|timing|round_trip|joint_states|imu|odom|cmd_vel"
    "|episode|diagnostics|clock)$"
)


def generate_launch_description() -> LaunchDescription:
    """Return the description; the arguments are described where they are declared."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=_recorder)])


def _recorder(context: LaunchContext) -> list[ExecuteProcess]:
    simulated = LaunchConfiguration("use_sim_time").perform(context).lower() == "true"
    if importlib.util.find_spec("ros2bag") is None:
        return [
            Node(
                package="qpolicy_ros",
                executable="bag_recorder",
                namespace=LaunchConfiguration("namespace"),
                output="screen",
                parameters=[{"use_sim_time": simulated}],
            )
        ]
    command = ["ros2", "bag", "record", "--regex", TOPICS]
    # On Humble MCAP is a package of its own; without it rosbag2 takes its default.
    with contextlib.suppress(PackageNotFoundError):
        get_package_prefix("rosbag2_storage_mcap")
        command += ["-s", "mcap"]
    command += ["--use-sim-time"] if simulated else []
    return [ExecuteProcess(cmd=command, output="screen")]
