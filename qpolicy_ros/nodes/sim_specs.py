"""The parameters of ``mujoco_sim_node``."""

from __future__ import annotations

from qpolicy_ros.nodes.parameters import Spec

SUMMARY = (
    "Simulate a robot: `action_stamped` in; `observation`, or what a robot's sensors publish, out."
)

NAMES_UP_TO = 64

SPECS = (
    Spec("task", "hopper", "hopper, walker2d, halfcheetah, ant, humanoid, a Gymnasium id, an "
         "MJCF file, or a robot: a name of config/robots or its description (.yaml)",
         read_only=True),
    Spec("policy", "", "robots: policy whose contract says what the robot's description, or its "
         "MJCF file, leaves out; empty = none", read_only=True),
    Spec("seed", 0, "seed of the first episode; each next episode takes the next one",
         (0, 2**31 - 1), read_only=True),
    Spec("episodes", 0, "episodes to play, then exit; 0 = for ever", (0, 2**31 - 1),
         read_only=True),
    Spec("max_episode_steps", 0, "control steps until an episode is cut; 0 = the task's own limit",
         (0, 2**31 - 1), read_only=True),
    Spec("period", 0.0, "control period of an MJCF file, s; 0 = its time step", (0.0, 10.0),
         read_only=True),
    Spec("realtime", False, "true: one control step per control period of wall time, with the "
         "last action; false: lock-step, each step waits for its action", read_only=True),
    Spec("resend_timeout", 0.2, "s of wall time until an unanswered observation is sent again "
         "(lock-step)", (0.001, 3600.0), read_only=True),
    Spec("action_timeout", 0.5, "s of wall time without an action until the safe action is "
         "applied, as by an actuator's own command timeout (real-time); 0 = off", (0.0, 3600.0),
         read_only=True),
    Spec("policy_timeout", 30.0, "s of wall time without an action until the node gives up; "
         "0 = never", (0.0, 86400.0), read_only=True),
    Spec("deadline", 0.0, "s between observations that DDS shall offer (real-time); 0 = off",
         (0.0, 3600.0), read_only=True),
    Spec("speed", 0.0, "robots: m/s forwards, commanded on `cmd_vel` while nobody else does",
         (-10.0, 10.0), read_only=True),
    Spec("command", [0.0, 0.0, 0.0], "robots: forward and left (m/s) and turning (rad/s), instead "
         "of `speed`", read_only=True),
    Spec("command_period", 0.0, "robots: s between commands that are drawn from those that the "
         "policy was trained for; 0 = `command` for ever", (0.0, 3600.0), read_only=True),
    Spec("fallen_below", 0.0, "robots: share of the start's height below which the base has "
         "fallen, which ends the episode; 0 = never", (0.0, 1.0), read_only=True),
    Spec("headless", True, "false opens a window", read_only=True),
    Spec("video", "", "file (.mp4) for a film rendered offscreen; empty = none", read_only=True),
    Spec("names", "auto", "names in `observation`: always, never, or auto (up to "
         f"{NAMES_UP_TO} values)", read_only=True),
)  # fmt: skip
