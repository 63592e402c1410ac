"""What the policy node is doing, and why it gives no action: the state machine, without ROS.

``standby`` → ``~/start`` → ``ramp`` to the default pose → ``policy`` → a fault or ``~/stop`` →
``safe`` → ``~/reset`` → ``standby``.
"""

from __future__ import annotations

import enum
import math

import numpy as np

from qpolicy_ros.policy import Contract
from qpolicy_ros.policy.model import Float32


class Mode(str, enum.Enum):
    """Where the state machine stands."""

    STANDBY = "standby"  # no command is sent
    RAMP = "ramp"  # from the measured pose to the default pose
    POLICY = "policy"
    SAFE = "safe"  # the safe action is sent until a reset


class Reason(str, enum.Enum):
    """Why a tick or an observation had no action of the policy."""

    STANDBY = "standby"  # waits for ~/start
    WAITING = "waiting"  # a topic has sent nothing usable yet
    STOPPED = "stopped"  # ~/stop
    STALE = "stale"  # nothing usable for longer than `timeout`
    STALLED = "stalled"  # this process or its backend stood still for longer than `timeout`
    OVERRIDDEN = "overridden"  # somebody else commands: the watchdog has taken over
    DEADLINE = "deadline"  # the backend took longer than `inference_deadline`
    BACKEND = "backend"  # the backend failed, or its action is not finite
    NON_FINITE = "non_finite"
    WRONG_LENGTH = "wrong_length"
    MISSING = "missing"
    EXTRA = "extra"
    MISNAMED = "misnamed"
    IMPLAUSIBLE = "implausible"  # a value that the unit or the robot does not allow


#: Reasons that somebody asked for: no cause for a warning.
INTENDED = frozenset({Reason.STANDBY, Reason.WAITING, Reason.STOPPED})


class Modes:
    """The state machine of one activation.

    Args:
        contract: gives default pose, limits, rates and control period.
        ramp_time: s from the measured to the default pose; longer where a joint's rate asks for
            it; 0 = no ramp.

    Attributes:
        mode: where it stands.
        reason: why it is not serving, in one word.
        text: the same in a sentence.
    """

    def __init__(self, contract: Contract, ramp_time: float = 0.0) -> None:
        self.mode = Mode.STANDBY
        self.reason = Reason.STANDBY
        self.text = "waits for ~/start"
        self._contract = contract
        self._ramp_time = ramp_time
        self._step = self._steps = 0
        self._from = contract.default

    def start(self, pose: Float32 | None = None) -> str:
        """Leave standby for the ramp from ``pose`` (m,), or for the policy where there is none.

        Returns:
            What is wrong, empty if it has started.
        """
        if self.mode is Mode.SAFE:
            return f"safe since {self.reason.value}: {self.text}; call ~/reset first"
        if self.mode is not Mode.STANDBY:
            return f"already started: {self.mode.value}"
        self._steps = 0
        if pose is not None and self._ramp_time > 0:
            self._from, self._step = pose, 0
            way = np.abs(self._contract.default - pose, dtype=np.float64) / self._contract.rate
            seconds = max(self._ramp_time, float(way.max()))
            self._steps = math.ceil(seconds / self._contract.period)
        self.mode = Mode.RAMP if self._steps else Mode.POLICY
        return ""

    def stop(self) -> None:
        """Go to safe because somebody wants it."""
        self.fault(Reason.STOPPED, "~/stop was called")

    def fault(self, reason: Reason, text: str) -> None:
        """Go to safe; the first reason stands until a reset."""
        if self.mode is not Mode.SAFE:
            self.mode, self.reason, self.text = Mode.SAFE, reason, text

    def reset(self) -> str:
        """Leave safe for standby; return what is wrong, empty if nothing is."""
        if self.mode in {Mode.RAMP, Mode.POLICY}:
            return f"{self.mode.value}; call ~/stop first"
        self.mode, self.reason, self.text = Mode.STANDBY, Reason.STANDBY, "waits for ~/start"
        return ""

    def next_pose(self) -> Float32:
        """Return the ramp's next pose (m,); the last one is the default, then the policy serves."""
        self._step += 1
        if self._step >= self._steps:
            self.mode = Mode.POLICY
            return self._contract.default
        share = np.float32(self._step / self._steps)
        pose: Float32 = self._from + share * (self._contract.default - self._from)
        return pose
