"""LEAPP bundles: a YAML file beside the network says what each input and output is.

Read are bundles of one network. Its inputs become the observation, side by side in the file's
order; an output that is fed back is the network's own last output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.interchange.incoming.contracts import terms
from qpolicy_ros.interchange.incoming.contracts.context import Context, Reader, task_name
from qpolicy_ros.interchange.incoming.contracts.terms import Term
from qpolicy_ros.interchange.incoming.graph import Network
from qpolicy_ros.policy import Channel, Contract
from qpolicy_ros.policy.model import EFFORT, POSITION, VELOCITY

KEYS = {"models", "pipeline"}
_JOINTS = {
    "state/joint/position": "position",
    "state/joint/velocity": "velocity",
    "state/joint/effort": "effort",
}
_BODY = {
    "state/body/linear_velocity": "base_lin_vel",
    "state/body/angular_velocity": "base_ang_vel",
    "state/body/linear_acceleration": "imu_lin_acc",
    "command/body/velocity": "velocity_commands",
}
_TARGETS = {
    "target/joint/position": POSITION,
    "target/joint/velocity": VELOCITY,
    "target/joint/effort": EFFORT,
    "target/joint/torques": EFFORT,
}
_QUATERNION = {"w", "x", "y", "z"}


@dataclass(frozen=True)
class Bundle:
    """What a bundle's YAML says.

    Attributes:
        file: the YAML.
        model: the network's file.
        inputs: names, in order.
        target: output that commands the joints.
        raw: output that is fed back as the last action; empty where there is none.
        scale, offset: ``target = raw * scale + offset``, once the networks are known.
    """

    file: Path
    model: Path
    inputs: tuple[str, ...]
    target: str
    raw: str
    scale: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()


def read_bundle(content: Mapping[str, Any], file: Path) -> Bundle:
    """Return what a bundle's YAML says of its network.

    Raises:
        InputError: several networks, or a field is missing or wrong.
    """
    reader = Reader(file)
    name, node = _node(reader, content)
    where = f"models.{name}"
    parameters = reader.mapping(node.get("parameters"), f"{where}.parameters")
    backend = str(parameters.get("backend"))
    if "onnx" not in backend:
        wrong = f"{backend!r:.40} networks of a bundle are not read"
        raise reader.fail(f"{where}.parameters.backend", wrong, "export it as onnx")
    place = reader.text(parameters.get("model_path"), f"{where}.parameters.model_path")
    model = (file.parent / place).resolve()
    if not model.is_relative_to(file.parent.resolve()) or not model.is_file():
        wrong = f"{place!r} is no file beside the bundle's YAML"
        raise reader.fail(f"{where}.parameters.model_path", wrong, "copy the whole folder")
    inputs = [port["name"] for port in _ports(reader, node, where, "inputs")]
    outputs = _ports(reader, node, where, "outputs")
    targets = [port["name"] for port in outputs if str(port.get("kind")) in _TARGETS]
    if len(targets) != 1:
        wrong = f"{len(targets)} outputs command joints ({', '.join(targets)}); one does"
        raise reader.fail(f"{where}.outputs", wrong)
    fed = _fed_back(reader, content, name)
    raw = set(fed.values())
    if len(raw) > 1:
        wrong = f"{len(raw)} outputs are fed back: a state, which a policy file cannot hold"
        raise reader.fail("pipeline.feedback_flow", wrong, "import it with `--teacher-only`")
    return Bundle(file, model, tuple(inputs), targets[0], next(iter(raw), ""))


def relation(target: Network, raw: Network, reader: Reader) -> tuple[Any, Any]:
    """Scale and offset of ``target = raw * scale + offset``, each ``(m,)``.

    Raises:
        InputError: the two are no such pair: a state is fed back.
    """
    same = len(target.weights) == len(raw.weights) and target.steps == raw.steps
    same = same and all(
        a.shape == b.shape and np.allclose(a, b, atol=1e-7)
        for a, b in zip(target.weights, raw.weights, strict=True)
    )
    if not same:
        wrong = "what is fed back is no last action, but a state"
        raise reader.fail("pipeline.feedback_flow", wrong, "import it with `--teacher-only`")
    scale = target.scale / raw.scale
    return scale, target.bias - raw.bias * scale


def read_leapp(
    content: Mapping[str, Any], file: object, context: Context, bundle: Bundle | None = None
) -> Contract:
    """Return the contract of a bundle's YAML.

    Raises:
        InputError: a field is missing or wrong, or the sizes disagree with the network.
    """
    reader, path = Reader(file), Path(str(file))
    bundle = bundle or read_bundle(content, path)
    name, node = _node(reader, content)
    where = f"models.{name}"
    fed = _fed_back(reader, content, name)
    target = next(p for p in _ports(reader, node, where, "outputs") if p["name"] == bundle.target)
    joints = reader.names(_names(target), f"{where}.outputs.{bundle.target}.element_names")
    found = [
        Term(port["name"], _channels(reader, port, where, list(joints), port["name"] in fed))
        for port in _ports(reader, node, where, "inputs")
    ]
    pipeline = reader.mapping(content["pipeline"], "pipeline")
    configs = reader.mapping(pipeline.get("configs") or {}, "pipeline.configs")
    if not context.period and "frequency" not in configs:
        raise reader.fail("pipeline.configs.frequency", "is missing", "give --period")
    count = len(joints)
    period = context.period
    if not period:
        hertz = reader.number(configs["frequency"], "pipeline.configs.frequency")
        if hertz <= 0:
            wrong = f"{hertz:g} Hz is no rate"
            raise reader.fail("pipeline.configs.frequency", wrong, "give --period")
        period = 1 / hertz
    return Contract(
        task=task_name(context, file),
        env_id="",
        observation=terms.observation(reader, found, context.inputs),
        action=terms.actions(
            reader, context, joints,
            scale=bundle.scale or [1.0] * count, offset=bundle.offset or [0.0] * count,
            kinds=[_TARGETS[str(target["kind"])]] * count,
        ),
        period=period,
    )  # fmt: skip


def _node(reader: Reader, content: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    models = reader.mapping(content["models"], "models")
    if len(models) != 1:
        wrong = f"{len(models)} networks ({', '.join(list(models)[:4])}); read are bundles of one"
        raise reader.fail("models", wrong, "export policy and processing as one node")
    name = next(iter(models))
    return name, reader.mapping(models[name], f"models.{name}")


def _ports(reader: Reader, node: Mapping[str, Any], where: str, side: str) -> list[dict[str, Any]]:
    ports = []
    for index, value in enumerate(reader.sequence(node.get(side), f"{where}.{side}")):
        port = reader.mapping(value, f"{where}.{side}[{index}]")
        port["name"] = reader.text(port.get("name"), f"{where}.{side}[{index}].name")
        ports.append(port)
    return ports


def _fed_back(reader: Reader, content: Mapping[str, Any], node: str) -> dict[str, str]:
    """Which output each fed-back input takes, by the input's name."""
    pipeline = reader.mapping(content["pipeline"], "pipeline")
    flow = reader.mapping(pipeline.get("feedback_flow") or {}, "pipeline.feedback_flow")
    found = {}
    for source, targets in flow.items():
        for target in reader.sequence(targets, f"pipeline.feedback_flow.{source}"):
            found[str(target).removeprefix(f"{node}/")] = source.removeprefix(f"{node}/")
    return found


def _names(port: Mapping[str, Any]) -> Any:
    """Names along the last axis that has some."""
    names = port.get("element_names")
    if isinstance(names, list) and names and all(n is None or isinstance(n, list) for n in names):
        names = next((n for n in reversed(names) if n), None)
    return names


def _channels(
    reader: Reader, port: Mapping[str, Any], where: str, joints: list[str], fed: bool
) -> tuple[Channel, ...]:
    name, kind = str(port["name"]), str(port.get("kind"))
    part = f"{where}.inputs.{name}"
    shape = port.get("shape")
    size = shape[-1] if isinstance(shape, list) and shape else 0
    if fed:
        return terms.output_term(name, joints)
    if kind in _JOINTS:
        given = reader.names(_names(port), f"{part}.element_names")
        return terms.joint_term(name, _JOINTS[kind], given)
    body = terms.body_term(name, _BODY.get(kind, name))
    names = _names(port)
    if kind == "state/body/rotation" or (
        isinstance(names, list) and set(map(str, names)) == _QUATERNION
    ):
        keys = [str(n) for n in names] if isinstance(names, list) else list("wxyz")
        body = terms.vector(name, "imu.orientation", keys)
    if body is None and "gravity" in name:
        body = terms.body_term(name, "projected_gravity")
    if body is None or (size and len(body) != size):
        wrong = (
            f"{name!r} of kind {kind!r:.60} and shape {shape} is no observation that is known here"
        )
        remedy = "write a contract of ours with its sources: see docs/own-policy.md"
        raise reader.fail(part, wrong, remedy)
    return body
