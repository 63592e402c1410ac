"""What a robot's model says of its joints, for contracts that leave it to the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RobotFacts:
    """A robot's joints, without the simulator.

    Attributes:
        file: the model, for errors.
        joints: those that move, without a floating base, in the model's order.
        actuated: joints with an actuator, in the order of the actuators; empty where there are
            none.
        ranges: lowest and highest position of a joint, rad or m.
        poses: by the keyframe's name: joint -> position, rad or m.
        actuators: an actuator's name -> the joint that it drives.
        kp, kd: gains of the joints' position actuators, N m/rad and N m s/rad.
    """

    file: str
    joints: tuple[str, ...]
    actuated: tuple[str, ...] = ()
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    poses: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    actuators: Mapping[str, str] = field(default_factory=dict)
    kp: Mapping[str, float] = field(default_factory=dict)
    kd: Mapping[str, float] = field(default_factory=dict)

    @property
    def driven(self) -> tuple[str, ...]:
        """The joints that a policy commands: those with an actuator, else all."""
        return self.actuated or self.joints
