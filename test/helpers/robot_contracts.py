"""A small robot's contract with a value of every kind of source."""

from __future__ import annotations

from qpolicy_ros.policy import ActionChannel, Channel, Contract

JOINTS = ("hip", "knee")


def robot_contract(period: float = 0.02) -> Contract:
    """Two joints, an IMU, odometry and a commanded speed; 13 values, 2 actions."""
    observation = [
        *(Channel(f"q_{j}", f"joint_states.position:{j}", offset=0.1, scale=2.0) for j in JOINTS),
        *(Channel(f"v_{j}", f"joint_states.velocity:{j}", scale=0.05) for j in JOINTS),
        *(Channel(f"gravity_{a}", f"imu.projected_gravity:{a}") for a in "xyz"),
        Channel("yaw_rate", "imu.angular_velocity:z", scale=0.25, low=-1.0, high=1.0),
        Channel("forward", "odom.linear_velocity:x"),
        Channel("wanted", "cmd_vel.linear:x", low=-0.5, high=0.5, missed="zero"),
        *(Channel(f"last_{j}", f"previous_action:{j}", offset=-0.1) for j in JOINTS),
        Channel("v_hip_before", "history.2:v_hip"),
    ]
    return Contract(
        task="robot",
        env_id="",
        observation=tuple(observation),
        action=tuple(
            ActionChannel(j, -1.0, 1.0, 0.0, default=0.25 * (i + 1), rate=20.0)
            for i, j in enumerate(JOINTS)
        ),
        period=period,
        time_limits=(("cmd_vel", 0.5), ("joint_states", 0.1)),
    )
