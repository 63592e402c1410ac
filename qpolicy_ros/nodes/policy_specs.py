"""The parameters of ``policy_node``."""

from __future__ import annotations

from qpolicy_ros.nodes.parameters import Spec

SUMMARY = (
    "Serve a policy: `observation`, or a robot's topics, in; `action_stamped` and `action` out."
)

SPECS = (
    Spec("policy", "", "task name such as hopper or hopper/fp32, or a .safetensors file; "
         "empty takes `task`"),
    Spec("task", "", "the task that the policy must be for; empty accepts any"),
    Spec("trusted_keys", [""], "files of Ed25519 public keys; a policy that none of them signed "
         "(`qpolicy sign`) is refused; [''] takes any", read_only=True),
    Spec("backend", "integer", "what computes the action; can be swapped while serving, among "
         "`preload`"),
    Spec("preload", ["integer", "fp32"], "backends built and checked at configure, ready to be "
         "swapped in; [] for `backend` alone", read_only=True),
    Spec("timeout", 0.5, "s without a good observation until the safe action is sent; 0 = off",
         (0.0, 3600.0)),
    Spec("rate_limit", 0.0, "largest change of an action, actuator units per s, counted over the "
         "time since the last one, one control period at most; 0 = off",
         (0.0, 1e9)),
    Spec("deadline", 0.0, "s between observations that DDS shall watch; needs a publisher that "
         "offers it; 0 = off", (0.0, 3600.0), read_only=True),
    Spec("inference_deadline", 0.0, "s that a backend may take; a later action is not sent; 0 = "
         "off", (0.0, 3600.0)),
    Spec("unseen", "count", "input codes that the policy never saw in its episodes (`qpolicy "
         "seen`): off, count (in /diagnostics, value by value) or refuse", read_only=True),
    Spec("seen_codes", "", "file of the codes seen; empty takes the .seen.json beside the policy, "
         "if there is one", read_only=True),
    Spec("engage", True, "true: serve as soon as everything is there; false: wait for ~/start",
         read_only=True),
    Spec("ramp_time", 2.0, "robots: s from the measured pose to the default pose before the "
         "policy acts, longer where a joint's rate asks for it; 0 = no ramp", (0.0, 600.0),
         read_only=True),
    Spec("position_commands", True, "robots: the actions are joint positions; false: the ramp "
         "starts at the safe action, and positions are not checked against the limits",
         read_only=True),
    Spec("enable_stamped_cmd_vel", False, "robots: `cmd_vel` carries TwistStamped; false: Twist",
         read_only=True),
    Spec("odom_twist_frame", "child", "robots: frame of the twist in `odom`: child (as "
         "nav_msgs/Odometry says) or world (as some simulators send it)", read_only=True,
         choices=("child", "world")),
    Spec("controller", "", "robots: the ros2_control controller that takes `action`, such as "
         "/policy_controller: ~/start is refused until its `joints` are the policy's, in order; "
         "empty asks nobody", read_only=True),
    Spec("joint_trajectory", False, "robots: send `joint_trajectory` too, for a "
         "joint_trajectory_controller", read_only=True),
    Spec("lockstep", False, "reliable observations, and an observation sent again gets the same "
         "answer again; robots: a tick for each new stamp", read_only=True),
    Spec("autostart", False, "configure and activate at start; exit with status 2 if that fails",
         read_only=True),
    Spec("executor", "fast", "fast: observations, messages and ticks are served below rclpy, with "
         "a C part that is compiled once; rclpy: through its executor, same answers, slower",
         read_only=True),
    Spec("realtime.priority", 0, "SCHED_FIFO priority of the node's process; 0 = as it was "
         "started", (0, 99), read_only=True),
    Spec("realtime.cpus", [], "CPUs that the node's process keeps to, for example [2, 3]; [] = "
         "those it was started on", read_only=True),
    Spec("realtime.lock_memory", False, "true: keep the process's memory from being paged out",
         read_only=True),
    Spec("load.backend", "", "backend that ~/load builds; empty takes the serving one"),
    Spec("load.policy", "", "policy that ~/load takes it from: a task name or a file; empty takes "
         "the serving one"),
    Spec("integer.engine", "auto", "engine of the integer backend: auto, c or numpy",
         choices=("auto", "c", "numpy")),
    Spec("fpga.transport", "rtlsim", "how the fpga backend is reached: rtlsim (the generated "
         "Verilog, simulated), pynq or uart", choices=("rtlsim", "pynq", "uart")),
    Spec("fpga.device", "", "uart: the serial port, `@` and its baud rate if not 1000000; pynq: "
         "the IP's name in the overlay, empty for qpolicy_0"),
    Spec("fpga.bitstream", "", "pynq: the .bit to load, its .hwh beside it; rtlsim: a folder "
         "of `qpolicy fpga generate`, empty to generate one"),
)  # fmt: skip

# What `qpolicy replay` needs beside the messages to compute the commands again.
REPORTED = (
    "rate_limit",
    "timeout",
    "inference_deadline",
    "ramp_time",
    "position_commands",
    "lockstep",
)
