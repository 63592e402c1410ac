"""A robot on two wheels and a network that balances it: nothing of a legged robot, and it falls."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from qpolicy_ros.policy import (
    ActionChannel,
    Baseline,
    Channel,
    Contract,
    PolicyArtifact,
    make_artifact,
)
from qpolicy_ros.policy.model import EFFORT

MJCF = """
<mujoco model="balancer"><option timestep="0.005" integrator="implicitfast"/>
  <worldbody><body name="frame" pos="0 0 0.1"><freejoint/>
    <geom name="frame" type="box" size="0.03 0.08 0.15" pos="0 0 0.2" mass="2"/>
    <site name="imu" pos="0 0 0.1"/>
    <body name="left" pos="0 0.13 0"><joint name="left_wheel" axis="0 1 0" damping="0.01"/>
      <geom name="left" type="cylinder" size="0.1 0.02" zaxis="0 1 0" mass="0.3"/></body>
    <body name="right" pos="0 -0.13 0"><joint name="right_wheel" axis="0 1 0" damping="0.01"/>
      <geom name="right" type="cylinder" size="0.1 0.02" zaxis="0 1 0" mass="0.3"/></body>
    </body></worldbody>
  <actuator><motor name="left_motor" joint="left_wheel" ctrlrange="-3 3"/>
    <motor name="right_motor" joint="right_wheel" ctrlrange="-3 3"/></actuator>
</mujoco>
"""
# What `contract` says, as a user writes it.
CONTRACT = """
task: balancer
period: 0.02
joints: [left_wheel, right_wheel]
default_pose: 0.0
action: {kind: effort, low: -3.0, high: 3.0}
observation:
  - {name: tilt, source: "imu.projected_gravity:x"}
  - {name: tilt_rate, source: "imu.angular_velocity:y"}
  - {name: speed, source: "odom.linear_velocity:x"}
  - {name: wanted_speed, source: "cmd_vel.linear:x"}
  - {name: turning, source: "imu.angular_velocity:z"}
  - {name: wanted_turning, source: "cmd_vel.angular:z"}
  - {source: "joint_states.velocity:*"}
commands: {lin_vel_x: [-0.5, 0.5], ang_vel_z: [-1, 1]}
"""
# Torque of a wheel, N m: of tilt, tilt rate, speed, commanded speed; of turning, commanded turning.
BALANCE = np.array([8.0, 1.0, 1.2, -1.2])
TURN = np.array([-0.25, 0.25])
LIMIT = 3.0


def contract(**changes: object) -> Contract:
    """Return what the network sees and drives, 50 times a second."""
    sources = {
        "tilt": "imu.projected_gravity:x",
        "tilt_rate": "imu.angular_velocity:y",
        "speed": "odom.linear_velocity:x",
        "wanted_speed": "cmd_vel.linear:x",
        "turning": "imu.angular_velocity:z",
        "wanted_turning": "cmd_vel.angular:z",
        "left": "joint_states.velocity:left_wheel",
        "right": "joint_states.velocity:right_wheel",
    }
    fields: dict[str, object] = {
        "task": "balancer",
        "env_id": "",
        "observation": tuple(Channel(name, source) for name, source in sources.items()),
        "action": tuple(
            ActionChannel(f"{side}_wheel", -LIMIT, LIMIT, 0.0, kind=EFFORT)
            for side in ("left", "right")
        ),
        "period": 0.02,
        "commands": (("cmd_vel.linear:x", -0.5, 0.5), ("cmd_vel.angular:z", -1.0, 1.0)),
        **changes,
    }
    return Contract(**fields)  # type: ignore[arg-type]


def baseline() -> Baseline:
    """Return the gains as a network with one hidden layer: each sum and its negative, cut at 0."""
    both = np.zeros((2, 8))
    both[:, :4] = BALANCE
    both[0, 4:6], both[1, 4:6] = -TURN, TURN
    hidden = np.concatenate([both, -both])
    out = np.array([[1.0, 0, -1, 0], [0, 1, 0, -1]])
    return Baseline(
        mean=np.zeros(8, np.float32),
        std=np.ones(8, np.float32),
        clip=100.0,
        weights=(hidden.astype(np.float32), out.astype(np.float32)),
        biases=(np.zeros(4, np.float32), np.zeros(2, np.float32)),
        scale=np.ones(2, np.float32),
        bias=np.zeros(2, np.float32),
        steps=(("linear",), ("relu",), ("linear",), ("clip", -LIMIT, LIMIT)),
    )


def balancer(given: Contract | None = None) -> PolicyArtifact:
    """Return the policy, perhaps with another contract."""
    seen = np.random.default_rng(0).normal(0, 0.2, (8, 8)).astype(np.float32)
    return make_artifact(given or contract(), baseline(), None, {"returns": {}}, seen)


def write_balancer(folder: Path) -> str:
    """Write the model into ``folder``; return its path."""
    path = folder / "balancer.xml"
    path.write_text(MJCF)
    return str(path)
