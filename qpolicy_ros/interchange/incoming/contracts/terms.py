"""Terms of an observation, as every project lists them, and the channels that they become."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from qpolicy_ros.interchange.incoming.contracts.context import Context, Reader
from qpolicy_ros.policy import ActionChannel, Channel
from qpolicy_ros.policy.model import POSITION
from qpolicy_ros.policy.sources import (
    CMD_VEL,
    IMU,
    JOINT_STATES,
    MAX_HISTORY,
    ODOM,
    PREVIOUS_OUTPUT,
)

OLDEST, NEWEST = "oldest", "newest"
TERM, STEP = "term", "step"

#: How far a network's own output may go where nothing says it: joint targets rarely pass 5.
UNKNOWN_LIMIT = 10.0


@dataclass(frozen=True)
class Term:
    """Some values of one kind.

    Attributes:
        name: of the term.
        channels: of one tick, the newest.
        ticks: how many ticks ago each copy is, in order; ``(0,)`` has no history.
    """

    name: str
    channels: tuple[Channel, ...]
    ticks: tuple[int, ...] = (0,)

    @property
    def size(self) -> int:
        """How many values it has, with its history."""
        return len(self.channels) * len(self.ticks)


def ticks_of(length: int, first: str = OLDEST) -> tuple[int, ...]:
    """How many ticks ago the copies of a history of ``length`` are."""
    ticks = range(max(length, 1))
    return tuple(reversed(ticks)) if first == OLDEST else tuple(ticks)


def vector(prefix: str, head: str, keys: Sequence[str]) -> tuple[Channel, ...]:
    """Channels of one field, named after the term and the key."""
    return tuple(Channel(f"{prefix}:{key}", f"{head}:{key}") for key in keys)


def body_term(name: str, kind: str) -> tuple[Channel, ...] | None:
    """The channels of a term that is no joint's, by what projects call it; None: not known."""
    known: dict[str, tuple[str, str]] = {
        "base_lin_vel": (f"{ODOM}.linear_velocity", "xyz"),
        "base_ang_vel": (f"{IMU}.angular_velocity", "xyz"),
        "projected_gravity": (f"{IMU}.projected_gravity", "xyz"),
        "base_pos": (f"{ODOM}.position", "xyz"),
        "base_pos_z": (f"{ODOM}.position", "z"),
        "base_quat": (f"{IMU}.orientation", "wxyz"),
        "imu_lin_acc": (f"{IMU}.linear_acceleration", "xyz"),
    }
    kind = _SAME_AS.get(kind, kind)
    if kind == "velocity_commands":
        parts = ("linear:x", "linear:y", "angular:z")
        return tuple(Channel(f"{name}:{part}", f"{CMD_VEL}.{part}") for part in parts)
    if kind not in known:
        return None
    head, keys = known[kind]
    return vector(name, head, tuple(keys))


_SAME_AS = {
    "lin_vel": "base_lin_vel", "root_lin_vel_b": "base_lin_vel",
    "base_linear_velocity": "base_lin_vel", "local_linvel": "base_lin_vel",
    "imu_lin_vel": "base_lin_vel",
    "ang_vel": "base_ang_vel", "ang_vel_body": "base_ang_vel", "root_ang_vel_b": "base_ang_vel",
    "base_angular_velocity": "base_ang_vel", "gyro": "base_ang_vel", "imu_ang_vel": "base_ang_vel",
    "gravity_vec": "projected_gravity", "gravity": "projected_gravity",
    "imu_projected_gravity": "projected_gravity", "gravity_orientation": "projected_gravity",
    "generated_commands": "velocity_commands", "commands": "velocity_commands",
    "command": "velocity_commands", "velocity_command": "velocity_commands",
    "base_velocity": "velocity_commands", "twist": "velocity_commands", "cmd": "velocity_commands",
    "keyboard_velocity_commands": "velocity_commands",
    "root_pos_w": "base_pos", "base_height": "base_pos_z",
    "root_quat_w": "base_quat", "imu_orientation": "base_quat", "base_orientation": "base_quat",
}  # fmt: skip
JOINT_POSITION = {"joint_pos_rel", "joint_pos", "dof_pos", "joint_positions", "qpos"}
JOINT_VELOCITY = {"joint_vel_rel", "joint_vel", "dof_vel", "joint_velocities", "qvel"}
JOINT_EFFORT = {"joint_effort", "joint_torque", "dof_torque", "joint_torques"}
LAST_ACTION = {
    "last_action",
    "actions",
    "action",
    "last_actions",
    "previous_actions",
    "prev_actions",
}


def joint_term(
    name: str, field: str, joints: Sequence[str], offsets: Sequence[float] | None = None
) -> tuple[Channel, ...]:
    """The channels of a field of ``joint_states``, less ``offsets``."""
    offsets = offsets or [0.0] * len(joints)
    return tuple(
        Channel(f"{name}:{joint}", f"{JOINT_STATES}.{field}:{joint}", offset=offset)
        for joint, offset in zip(joints, offsets, strict=True)
    )


def output_term(name: str, joints: Sequence[str]) -> tuple[Channel, ...]:
    """The channels of the network's own last outputs."""
    return tuple(Channel(f"{name}:{joint}", f"{PREVIOUS_OUTPUT}:{joint}") for joint in joints)


def zeroed(channels: Sequence[Channel]) -> tuple[Channel, ...]:
    """The same channels, each of which is always 0."""
    return tuple(Channel(channel.name, "constant:0") for channel in channels)


def scaled(
    channels: Sequence[Channel], scale: Sequence[float], low: float, high: float, *, first: bool
) -> tuple[Channel, ...]:
    """Scale channels, and cut them: after the scale (``first``) or before it."""
    result = []
    for channel, factor in zip(channels, scale, strict=True):
        limits = (low, high) if first else tuple(sorted((low * factor, high * factor)))
        result.append(replace(channel, scale=factor, low=limits[0], high=limits[1]))
    return tuple(result)


def observation(
    reader: Reader, terms: Sequence[Term], inputs: int, order: str = TERM
) -> tuple[Channel, ...]:
    """Put terms together: term by term, or step by step.

    Raises:
        InputError: the values are not as many as the network's; which term has how many.
    """
    total = sum(term.size for term in terms)
    if inputs and total != inputs:
        sizes = ", ".join(f"{t.name} {_size(t)}" for t in terms)
        wrong = f"{total} values ({sizes}) where the network takes {inputs}"
        raise reader.fail("observation", wrong, "correct the term that is wrong")
    for term in terms:
        deepest = max(term.ticks)
        if deepest > MAX_HISTORY:
            wrong = f"a history of {deepest}, at most {MAX_HISTORY}"
            raise reader.fail(f"observation.{term.name}", wrong)
        if 0 not in term.ticks:
            wrong = "a history without the newest values"
            raise reader.fail(f"observation.{term.name}", wrong)
    if order == TERM:
        blocks = [(term, ticks) for term in terms for ticks in term.ticks]
    else:
        depths = {term.ticks for term in terms}
        if len(depths) != 1:
            wrong = "histories of several lengths, which cannot go step by step"
            raise reader.fail("observation", wrong)
        blocks = [(term, ticks) for ticks in depths.pop() for term in terms]
    return tuple(channel for term, ticks in blocks for channel in _before(term.channels, ticks))


def _size(term: Term) -> str:
    each, count = len(term.channels), len(term.ticks)
    return str(each) if count == 1 else f"{each}x{count}"


def _before(channels: Sequence[Channel], ticks: int) -> tuple[Channel, ...]:
    if not ticks:
        return tuple(channels)
    return tuple(Channel(f"{c.name}@{ticks}", f"history.{ticks}:{c.name}") for c in channels)


def actions(
    reader: Reader,
    context: Context,
    joints: Sequence[str],
    *,
    scale: Sequence[float],
    offset: Sequence[float],
    default: Sequence[float] | None = None,
    limits: Sequence[tuple[float, float]] | None = None,
    kinds: Sequence[str] = (),
    kp: Sequence[float] | None = None,
    kd: Sequence[float] | None = None,
    effort: Sequence[float] | None = None,
) -> tuple[ActionChannel, ...]:
    """The actions: limits from the contract, else from the network's outputs, else wide ones.

    Args:
        reader: for errors.
        context: limits of the network's outputs, and how many they are.
        joints: in the order of the outputs.
        scale: of each output.
        offset: of each output.
        default: pose that the policy starts from, a joint each; the offset where there is none.
        limits: of the actions, joint units; infinite where there is none.
        kinds: what is commanded; positions where left out.
        kp: gain of each joint's drive, N m/rad.
        kd: gain of each joint's drive, N m s/rad.
        effort: limit of each joint's drive, N m.

    Raises:
        InputError: the joints are not as many as the outputs.
    """
    if context.outputs and len(joints) != context.outputs:
        wrong = f"{len(joints)} joints where the network answers {context.outputs} values"
        raise reader.fail("action", wrong, "name the joints that it commands, in its order")
    result = []
    for index, joint in enumerate(joints):
        kind = kinds[index] if kinds else POSITION
        factor, shift = scale[index], offset[index]
        if factor == 0:
            raise reader.fail(f"action.{joint}", "a scale of 0 would still it")
        ends = [-UNKNOWN_LIMIT, UNKNOWN_LIMIT]
        if context.low is not None and context.high is not None:
            ends = [context.low[index], context.high[index]]
        low, high = sorted(end * factor + shift for end in ends)
        if limits is not None:
            given = limits[index]
            low = given[0] if math.isfinite(given[0]) else low
            high = given[1] if math.isfinite(given[1]) else high
        pose = shift if default is None else default[index]
        safe = pose if kind == POSITION else 0.0
        low, high = min(low, safe), max(high, safe)
        result.append(
            ActionChannel(
                joint,
                low,
                high,
                safe,
                kind=kind,
                scale=factor,
                offset=shift,
                kp=None if kp is None else kp[index],
                kd=None if kd is None else kd[index],
                effort_limit=math.inf if effort is None else effort[index],
            )
        )
    return tuple(result)


def commands(reader: Reader, ranges: object, where: str) -> tuple[tuple[str, float, float], ...]:
    """The commanded speeds that a policy was trained for, from Isaac Lab's ``ranges``."""
    keys = {"lin_vel_x": "linear:x", "lin_vel_y": "linear:y", "ang_vel_z": "angular:z"}
    found = []
    for name, value in reader.mapping(ranges, where).items():
        if name in keys and value is not None:
            low, high = reader.pair(value, f"{where}.{name}")
            if math.isfinite(low) and math.isfinite(high):
                found.append((f"{CMD_VEL}.{keys[name]}", low, high))
    return tuple(found)
