"""``base.yaml`` and ``config.yaml`` of rl_sar: the robot's order, and the policy's.

Entry ``i`` of the policy's vectors is joint ``joint_mapping[i]`` of ``joint_names``; gains, scales
and limits are in the policy's order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qpolicy_ros.interchange.incoming.contracts import terms
from qpolicy_ros.interchange.incoming.contracts.context import Context, Reader, check_joints
from qpolicy_ros.interchange.incoming.contracts.terms import Term
from qpolicy_ros.interchange.incoming.contracts.yaml_file import read_yaml
from qpolicy_ros.policy import Channel, Contract, Gait
from qpolicy_ros.policy.model import POSITION, VELOCITY

_NEEDED = {"observations", "action_scale", "default_dof_pos"}
_BODY = {
    "lin_vel": "lin_vel_scale",
    "ang_vel": "ang_vel_scale",
    "ang_vel_body": "ang_vel_scale",
    "gravity_vec": "",
    "commands": "commands_scale",
}
# Clocks of the project's own, in s: one turn; sine and cosine of it.
_PERIODS = {"g1_phase": 0.8}


def describes(content: Mapping[str, Any]) -> bool:
    """Whether a file is a ``config.yaml`` (or ``base.yaml``) of rl_sar."""
    inner = _inner(content)
    return inner is not None and ("num_of_dofs" in inner or "fixed_kp" in inner)


def read_rl_sar(content: Mapping[str, Any], path: Path, context: Context) -> Contract:
    """Return the contract of a ``config.yaml`` with its ``base.yaml``.

    Raises:
        InputError: a field is missing or wrong, or the sizes disagree with the network.
    """
    config = dict(_inner(content) or {})
    reader = Reader(path)
    missing = sorted(name for name in _NEEDED if config.get(name) is None)
    if missing:
        wrong = "is missing: this is the robot's base.yaml" if "dt" in config else "is missing"
        raise reader.fail(missing[0], wrong, "give the policy's config.yaml")
    above = list(path.resolve().parents)[:4]
    base = next((folder for folder in above if (folder / "base.yaml").is_file()), None)
    robot: dict[str, Any] = {}
    if base is not None:
        read = read_yaml(base / "base.yaml")
        robot = dict(_inner(read if isinstance(read, Mapping) else {}) or {})
    return _Config(reader, {**robot, **config}, context, next(iter(content))).contract()


def _inner(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The one mapping under the robot's name, or the file itself."""
    if len(content) == 1:
        value = next(iter(content.values()))
        return value if isinstance(value, Mapping) else None
    return content


class _Config:
    def __init__(
        self, reader: Reader, config: Mapping[str, Any], context: Context, name: object
    ) -> None:
        self._reader, self._config, self._context = (
            reader,
            reader.mapping(config, "config"),
            context,
        )
        self._name = str(name).replace("/", "_")
        names = self._config.get("joint_names")
        if names is None and context.robot is None:
            wrong = "is missing, and so is base.yaml"
            raise reader.fail(
                "joint_names", wrong, "put base.yaml beside, or give --robot MODEL.xml"
            )
        robot = context.robot.joints if names is None and context.robot else ()
        robot = robot or reader.names(names, "joint_names")
        if context.robot is not None:
            check_joints(reader, "joint_names", robot, context.robot)
        mapping = self._config.get("joint_mapping")
        places = list(range(len(robot)))
        if mapping is not None:
            places = [
                reader.whole(value, f"joint_mapping[{index}]", 0, len(robot) - 1)
                for index, value in enumerate(reader.sequence(mapping, "joint_mapping"))
            ]
        self._joints = [robot[place] for place in places]
        if len(set(self._joints)) != len(self._joints):
            raise reader.fail("joint_mapping", "names a joint twice")
        self._wheels = {
            reader.whole(value, f"wheel_indices[{index}]", 0, len(self._joints) - 1)
            for index, value in enumerate(self._config.get("wheel_indices") or [])
        }
        self._default = self._numbers("default_dof_pos") or []
        self._gaits: list[Gait] = []

    def _numbers(self, field: str) -> list[float] | None:
        value = self._config.get(field)
        if value is None:
            return None
        return self._reader.spread(value, field, len(self._joints), "joints")

    def contract(self) -> Contract:
        """Put the contract together."""
        reader, config, context = self._reader, self._config, self._context
        found = [
            self._term(reader.text(name, f"observations[{index}]"), f"observations[{index}]")
            for index, name in enumerate(reader.sequence(config["observations"], "observations"))
        ]
        by_term = config.get("observations_history_priority") == "term"
        order = terms.TERM if by_term else terms.STEP
        period = context.period or reader.number(config.get("dt", 0.005), "dt") * reader.number(
            config.get("decimation", 4), "decimation"
        )
        return Contract(
            task=context.task or self._name,
            env_id="",
            observation=terms.observation(reader, found, context.inputs, order),
            action=self._actions(),
            period=period,
            gaits=tuple(self._gaits),
        )

    def _actions(self) -> Any:
        scale = self._numbers("action_scale") or []
        lower, upper = self._numbers("clip_actions_lower"), self._numbers("clip_actions_upper")
        wheels = self._wheels
        offset = [0.0 if i in wheels else pose for i, pose in enumerate(self._default)]
        limits = None
        if lower is not None and upper is not None and max(map(abs, [*lower, *upper])) < 100:
            # rl_sar's default of 100 is no limit at all.
            limits = [
                (min(a * s, b * s) + o, max(a * s, b * s) + o)
                for a, b, s, o in zip(lower, upper, scale, offset, strict=True)
            ]
        return terms.actions(
            self._reader, self._context, self._joints, scale=scale, offset=offset,
            default=self._default, limits=limits,
            kinds=[VELOCITY if i in wheels else POSITION for i in range(len(self._joints))],
            kp=self._numbers("rl_kp"), kd=self._numbers("rl_kd"),
            effort=self._numbers("torque_limits"),
        )  # fmt: skip

    def _term(self, name: str, where: str) -> Term:
        reader, config = self._reader, self._config
        channels, scale = self._channels(name, where)
        count = len(channels)
        value = config.get(scale, 1.0) if scale else 1.0
        factors = reader.spread(value, scale or where, count, "values")
        clip = math.inf
        if config.get("clip_obs") is not None:
            clip = reader.number(config["clip_obs"], "clip_obs")
        channels = terms.scaled(channels, factors, -clip, clip, first=True)
        history = config.get("observations_history") or [0]
        ticks = tuple(
            reader.whole(tick, "observations_history", 0, 100)
            for tick in reader.sequence(history, "observations_history")
        )
        return Term(name, channels, ticks)

    def _channels(self, name: str, where: str) -> tuple[tuple[Channel, ...], str]:
        if name in _BODY:
            body = terms.body_term(name, name)
            assert body is not None
            return body, _BODY[name]
        if name == "dof_pos":
            channels = list(terms.joint_term(name, "position", self._joints, self._default))
            for index in self._wheels:
                channels[index] = terms.zeroed([channels[index]])[0]
            return tuple(channels), "dof_pos_scale"
        if name == "dof_vel":
            return terms.joint_term(name, "velocity", self._joints), "dof_vel_scale"
        if name == "actions":
            return terms.output_term(name, self._joints), ""
        if name in _PERIODS:
            self._gaits.append(Gait(name, 1 / _PERIODS[name]))
            return self._clock(name, (name,)), ""
        if name == "phase":
            # Three clocks, each half as fast as the one before; the first turns in 4 s.
            gaits = [Gait(f"phase_{k}", 0.25 / 2**k) for k in range(3)]
            self._gaits += gaits
            return self._clock(name, [gait.name for gait in gaits]), ""
        wrong = f"{name!r} is no observation that is known here"
        remedy = "write a contract of ours with its sources: see docs/own-policy.md"
        raise self._reader.fail(where, wrong, remedy)

    def _clock(self, name: str, gaits: Sequence[str]) -> tuple[Channel, ...]:
        return tuple(
            Channel(f"{name}:{part}:{gait}", f"gait.{part}:{gait}")
            for gait in gaits
            for part in ("sin", "cos")
        )
