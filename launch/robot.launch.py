"""A robot and its policy: `ros2 launch qpolicy_ros robot.launch.py`, real or simulated.

The policy node waits for `~/start`, is started again when it dies, and is watched by a second
process. With `robot:=NAME` the robot is simulated; nothing else is different.
"""

from __future__ import annotations

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction, Shutdown
from launch.conditions import IfCondition
from launch.events.process import ProcessExited
from launch.launch_context import LaunchContext
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("qpolicy_ros")
CONFIG = PathJoinSubstitution([SHARE, "config", "robot.yaml"])
SIMULATED = PathJoinSubstitution([SHARE, "config", "robot_sim.yaml"])

# What is given here wins over the parameter files; what is left empty does not.
ARGUMENTS = (
    ("task", "", "the task that the policy must be for; empty: the parameter file's, else any"),
    ("policy", "", "task name, or a .safetensors file; empty takes task"),
    ("backend", "", "integer, fp32 or fpga; empty: the parameter file's, else integer"),
    ("engage", "", "true: serve as soon as everything is there; empty: wait for ~/start"),
    ("robot", "", "simulate: a name of config/robots, a .yaml or an MJCF file; empty = a real one"),
    ("headless", "", "false opens a window of the simulation; empty: none"),
    ("speed", "", "m/s that the simulation commands on cmd_vel while nobody else does; empty: 0"),
    ("watchdog", "true", "false leaves a hanging policy process to the actuators' own timeout"),
    ("respawn", "true", "start the policy node and the watchdog again when they die"),
    ("record", "false", "true records a bag: `ros2 bag record`, else this package's recorder"),
    ("use_sim_time", "", "true where /clock gives the time, also to the watchdog; empty: false"),
    ("namespace", "", "namespace of all nodes and topics"),
    ("params_file", "", "YAML file with parameters, read after config/robot.yaml"),
)

_RESPAWN_DELAY = 1.0  # s
_CANNOT_WORK = 2  # exit code of a node that could not start


def generate_launch_description() -> LaunchDescription:
    """Return the description; the arguments are described where they are declared."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in ARGUMENTS
    ]
    record = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "record.launch.py"])),
        launch_arguments={
            name: LaunchConfiguration(name) for name in ("namespace", "use_sim_time")
        }.items(),
        condition=IfCondition(LaunchConfiguration("record")),
    )
    return LaunchDescription([*declared, record, OpaqueFunction(function=_nodes)])


def _nodes(context: LaunchContext) -> list[Node]:
    said = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}

    def given(**kinds: type) -> list[dict[str, ParameterValue]]:
        """Return the parameters whose arguments are given, a list of none or one."""
        values = {
            name: ParameterValue(LaunchConfiguration(name), value_type=kind)
            for name, kind in kinds.items()
            if said[name]
        }
        return [values] if values else []

    simulated = [SIMULATED] if said["robot"] else []
    files = [CONFIG, *simulated, *filter(None, [said["params_file"]])]
    shared = {
        "package": "qpolicy_ros",
        "namespace": said["namespace"],
        "output": "screen",
    }
    kept = {
        "respawn": said["respawn"].lower() in {"true", "1"},
        "respawn_delay": _RESPAWN_DELAY,
        "on_exit": _end_unless_it_died,
    }
    policy = LifecycleNode(
        executable="policy_node",
        name="policy_node",
        parameters=[
            *files,
            *given(task=str, policy=str, backend=str, engage=bool, use_sim_time=bool),
        ],
        **shared,
        **kept,
    )
    watchdog = Node(
        executable="safety_watchdog",
        name="safety_watchdog",
        parameters=[*files, *given(task=str, policy=str, use_sim_time=bool)],
        **shared,
        **kept,
    )
    simulator = Node(
        executable="mujoco_sim_node",
        name="mujoco_sim_node",
        parameters=[
            *files,
            {"task": said["robot"], "realtime": True},
            # A robot's description leaves out what the policy's contract says.
            *given(policy=str, headless=bool, speed=float),
        ],
        on_exit=_end,
        **shared,
    )
    watched = said["watchdog"].lower() in {"true", "1"}
    return [*([watchdog] if watched else []), policy, *([simulator] if said["robot"] else [])]


def _end_unless_it_died(event: ProcessExited, context: LaunchContext) -> list[Shutdown]:
    """End the launch when a node ended by itself (0) or cannot work (2); respawn does the rest."""
    respawns = context.launch_configurations["respawn"].lower() in {"true", "1"}
    if respawns and event.returncode not in {0, _CANNOT_WORK}:
        return []
    return _end(event, context)


def _end(event: ProcessExited, context: LaunchContext) -> list[Shutdown]:
    """End the launch, and fail where its node has failed."""
    if context.is_shutdown:
        return []
    if event.returncode:
        raise RuntimeError(f"{event.process_name} ended with exit code {event.returncode}")
    return [Shutdown(reason=f"{event.process_name} ended")]
