"""The contract of an imported policy, from whatever says it: a file, the source or a task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.interchange.incoming.contracts import leapp, mjlab
from qpolicy_ros.interchange.incoming.contracts.context import Context
from qpolicy_ros.interchange.incoming.contracts.read import read_contract
from qpolicy_ros.interchange.incoming.contracts.terms import UNKNOWN_LIMIT
from qpolicy_ros.interchange.incoming.contracts.yaml_file import read_yaml
from qpolicy_ros.interchange.incoming.graph import Incoming, Network
from qpolicy_ros.policy import ActionChannel, Channel, Contract
from qpolicy_ros.policy.activations import CLIP
from qpolicy_ros.policy.robot_facts import RobotFacts

PERIOD = 0.02
"""s, where nothing says it."""
_ENDS = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}


def make_contract(
    incoming: Incoming,
    source: Path,
    contract: str = "",
    *,
    robot: RobotFacts | None = None,
    task: Contract | None = None,
    name: str = "",
    period: float = 0.0,
) -> tuple[Contract, Incoming]:
    """Return the contract and the source, of whose outputs only the actions are left.

    Args:
        incoming: the source.
        source: its file.
        contract: file or name of the contract; empty where there is none.
        robot: what its model says.
        task: contract of the simulated task that it is of.
        name: name of the policy's task; empty takes the contract's.
        period: control period, s; 0 takes the contract's.

    Raises:
        InputError: the contract is wrong, or its sizes disagree with the network.
    """
    ends = output_ends(incoming)
    context = Context(
        incoming.width,
        incoming.outputs,
        robot,
        name,
        period,
        None if ends is None else ends[0].tolist(),
        None if ends is None else ends[1].tolist(),
        metadata=incoming.metadata,
    )
    if task is not None:
        return _of_task(task, context, source), incoming
    if not contract and "bundle" in incoming.facts:
        bundle = incoming.facts["bundle"]
        content = read_yaml(bundle.file)
        return leapp.read_leapp(content, bundle.file, context, bundle), incoming
    if not contract and not mjlab.describes(incoming.metadata):
        return _nameless(incoming, source, context), incoming
    try:
        return _read(contract, source, context), incoming
    except InputError as error:
        half = incoming.outputs // 2
        if incoming.outputs % 2 or incoming.network is None:
            raise
        # A distribution's mean and spread side by side: the contract has joints for one of them.
        low, high = (None if e is None else e[:half] for e in (context.low, context.high))
        narrow = replace(context, outputs=half, low=low, high=high)
        try:
            found = _read(contract, source, narrow)
        except InputError:
            raise error from None
        note = f"of {incoming.outputs} outputs the first {half} are the actions' means"
        network = incoming.network.first_outputs(half)
        notes = [*incoming.notes, note]
        return found, replace(incoming, network=network, outputs=half, notes=notes)


def output_ends(incoming: Incoming) -> tuple[np.ndarray, np.ndarray] | None:
    """Lowest and highest output ``(m,)``, where the network or its file limits them."""
    if incoming.low is not None and incoming.high is not None:
        return incoming.low, incoming.high
    network = incoming.network
    return None if network is None else _limits(network)


def _limits(network: Network) -> tuple[np.ndarray, np.ndarray] | None:
    kind, *numbers = network.steps[-1]
    ends = (numbers[0], numbers[1]) if kind == CLIP else _ENDS.get(kind)
    if ends is None or not np.isfinite(ends).all():
        return None
    both = np.stack([network.scale * end + network.bias for end in ends])
    return both.min(axis=0), both.max(axis=0)


def _read(contract: str, source: Path, context: Context) -> Contract:
    if contract:
        return read_contract(contract, context)
    return mjlab.read_metadata(context.metadata, source, context)


def _of_task(task: Contract, context: Context, source: Path) -> Contract:
    """The simulated task's contract; its actions are the network's outputs themselves."""
    for field, expected, found in (
        ("observation", len(task.observation), context.inputs),
        ("action", len(task.action), context.outputs),
    ):
        if expected != found:
            wrong = f"{task.env_id or task.task} has {expected} values, the network {found}"
            raise InputError.at(source, field, wrong, "give the task that the policy is of")
    return replace(task, task=context.task or task.task, period=context.period or task.period)


def _nameless(incoming: Incoming, source: Path, context: Context) -> Contract:
    """Values of a feature vector without names."""
    if context.robot is not None:
        wrong = "a robot alone does not say what the network's values are"
        raise InputError.at(source, "--robot", wrong, "add --contract FILE")
    low = context.low or [-UNKNOWN_LIMIT] * context.outputs
    high = context.high or [UNKNOWN_LIMIT] * context.outputs
    note = "no contract: values and actions have no names; give --contract or --task"
    incoming.notes.append(note)
    if not context.period:
        incoming.notes.append(f"no period: {PERIOD} s is taken; give --period")
    name = context.task or "".join(c if c.isprintable() else "_" for c in source.stem)
    return Contract(
        task=name or "policy",
        env_id="",
        observation=tuple(Channel(f"value_{index}") for index in range(context.inputs)),
        action=tuple(
            ActionChannel(f"action_{i}", float(a), float(b), float(min(max(0.0, a), b)))
            for i, (a, b) in enumerate(zip(low, high, strict=True))
        ),
        period=context.period or PERIOD,
    )
