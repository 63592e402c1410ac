"""Parameters with descriptors, declared from one table a node."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from qpolicy_ros.policy import PolicyError

Value = bool | int | float | str | list[str] | list[int] | list[float]


class Spec(NamedTuple):
    """One parameter.

    Attributes:
        name, default: as in ROS; the default's type is the parameter's type, [] is integers.
        description: what it does, with its unit.
        bounds: smallest and largest value of a number, or None.
        read_only: can be set at start only.
        choices: what a text may be; empty = anything.
    """

    name: str
    default: Value
    description: str
    bounds: tuple[float, float] | None = None
    read_only: bool = False
    choices: tuple[str, ...] = ()

    def check(self, value: object) -> None:
        """Raise PolicyError where ``value`` is none of the choices."""
        if self.choices and value not in self.choices:
            remedy = f"choose one of {', '.join(self.choices)}"
            raise PolicyError.at("", self.name, f"{value!r} is unknown", remedy)


def declare(node: Node, specs: Iterable[Spec]) -> None:
    """Declare ``specs`` on ``node`` and warn of overrides that none of them takes.

    Raises:
        PolicyError: a value given at start has a wrong type or is out of range.
    """
    specs = list(specs)
    for spec in specs:
        _declare_one(node, spec)
    known = {spec.name for spec in specs} | {"use_sim_time", "start_type_description_service"}
    for name in getattr(node, "_parameter_overrides", {}):
        if name not in known and not name.startswith("qos_overrides."):
            node.get_logger().warning(
                f"parameter {name!r} is unknown and ignored; known: {', '.join(sorted(known))}"
            )


def _declare_one(node: Node, spec: Spec) -> None:
    try:
        # ROS cannot tell the type of an empty list: such a parameter is unset at first.
        default = spec.default if spec.default != [] else Parameter.Type.INTEGER_ARRAY
        node.declare_parameter(spec.name, default, _descriptor(spec))
    except ParameterException as error:
        reason = " ".join(str(error).split()).rstrip(".")
        remedy = f"give a {type(spec.default).__name__}, for example {spec.default!r}"
        raise PolicyError.at("parameters", spec.name, reason, remedy) from error
    spec.check(node.get_parameter(spec.name).value if spec.choices else None)


def help_text(program: str, summary: str, specs: Sequence[Spec]) -> str:
    """Return what ``--help`` prints."""
    lines = [f"usage: {program} [--ros-args -p NAME:=VALUE ...]", "", summary, "", "parameters:"]
    for spec in specs:
        read_only = " [at start only]" if spec.read_only else ""
        default = "true" if spec.default is True else "false" if spec.default is False else None
        shown = default or (repr(spec.default) if spec.default == "" else spec.default)
        lines.append(f"  {spec.name} (default {shown}){read_only}")
        lines.append(f"      {spec.description}")
    return "\n".join(lines)


def _descriptor(spec: Spec) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=spec.description, read_only=spec.read_only)
    if spec.bounds is not None:
        low, high = spec.bounds
        if isinstance(spec.default, float):
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(low), to_value=float(high), step=0.0)
            ]
        else:
            descriptor.integer_range = [
                IntegerRange(from_value=int(low), to_value=int(high), step=1)
            ]
    return descriptor
