"""What a policy is made of: its contract, its integer network, its FP32 baseline, its goldens.

Shapes: ``n`` observation values, ``m`` actions, ``k`` golden vectors. Arrays of a loaded
artifact are read-only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

FEATURE = "feature"
HOLD, ZERO, DEFAULT = "hold", "zero", "default"

POSITION, VELOCITY, EFFORT = "position", "velocity", "effort"

MIN_BITS = 2
MAX_BITS = 8


Step = tuple[str | float, ...]
"""One step of a baseline: its kind, then its numbers."""


def plain_steps(layers: int) -> tuple[Step, ...]:
    """Return the steps of a network with ReLU between its layers and tanh at its end."""
    inner: tuple[Step, ...] = (("linear",), ("relu",)) * (layers - 1)
    return (*inner, ("linear",), ("tanh",))


@dataclass(frozen=True)
class Channel:
    """One observation value: ``clip((raw - offset) * scale, low, high)``.

    Computed in float64 and rounded once to float32. ``feature`` values are taken as they are.

    Attributes:
        name: unique in the observation.
        source: where the raw value comes from, see :mod:`qpolicy_ros.policy.sources`.
        scale, offset: of the raw value, whose units are those of its message (SI).
        low, high: limits of the result, infinite where there are none.
        missed: what stands in for a raw value that is older than its topic's time limit: the last
            one (``hold``), 0 (``zero``) or ``default``.
        default: the raw value that ``missed = default`` puts in.
        unit: of the raw value, for people; empty where its source says it.
    """

    name: str
    source: str = FEATURE
    scale: float = 1.0
    offset: float = 0.0
    low: float = -math.inf
    high: float = math.inf
    missed: str = HOLD
    default: float = 0.0
    unit: str = ""


@dataclass(frozen=True)
class ActionChannel:
    """One action, in actuator units: for a robot, the command of the joint of that name.

    Attributes:
        name: unique among the actions.
        low, high: limits.
        safe: the value that is safe to hold.
        default: the pose from which the policy starts; None takes ``safe``.
        rate: largest change a second, infinite where there is none.
        kind: what is commanded: ``position`` (rad or m), ``velocity`` (rad/s or m/s) or ``effort``
            (N m or N).
        scale, offset: ``action = output * scale + offset``, where the output is the network's own,
            before either; ``previous_output`` undoes them.
        kp, kd: gains of the joint's position or velocity loop that the policy was trained with,
            N m/rad and N m s/rad; None where they are not known.
        effort_limit: of the joint's drive, N m or N; infinite where it is not known.
        unit: of the action, for people; empty where ``kind`` says it.
    """

    name: str
    low: float
    high: float
    safe: float
    default: float | None = None
    rate: float = math.inf
    kind: str = POSITION
    scale: float = 1.0
    offset: float = 0.0
    kp: float | None = None
    kd: float | None = None
    effort_limit: float = math.inf
    unit: str = ""


@dataclass(frozen=True)
class Gait:
    """A clock that the policy walks to: its phase begins at ``offset`` and turns with time.

    Attributes:
        name: unique among the gaits; a source ``gait.cos:<name>`` reads it.
        frequency: cycles a second.
        offset: phase at the first tick, rad.
        stand_below: while the norm of the commanded speed (vx, vy, wz) is below it, the policy
            stands; 0 = it never does. The phase runs on.
        stand_phase: the phase that the policy sees while it stands, rad; None: sine, cosine and
            fraction all read 0.
        top_speed, top_frequency: the clock turns faster with the commanded speed: linearly, from
            ``frequency`` at 0 to ``top_frequency`` at ``top_speed`` and above; 0 = it does not.
    """

    name: str
    frequency: float
    offset: float = 0.0
    stand_below: float = 0.0
    stand_phase: float | None = None
    top_speed: float = 0.0
    top_frequency: float = 0.0

    @property
    def listens(self) -> bool:
        """Whether it depends on the commanded speed."""
        return self.stand_below > 0 or self.top_speed > 0


@dataclass(frozen=True)
class Contract:
    """What goes in and out of a policy, in order, and how often.

    Attributes:
        task: short name of the task, for example ``hopper``.
        env_id: Gymnasium id, empty for a real robot.
        observation: ``n`` channels.
        action: ``m`` channels.
        period: control period, s.
        time_limits: ``(topic, s)``: how old the last message of a topic may be.
        gaits: the clocks that sources ``gait...`` read.
        commands: ``(source, low, high)``: the commands that the policy was trained for.
    """

    task: str
    env_id: str
    observation: tuple[Channel, ...]
    action: tuple[ActionChannel, ...]
    period: float
    time_limits: tuple[tuple[str, float], ...] = ()
    gaits: tuple[Gait, ...] = ()
    commands: tuple[tuple[str, float, float], ...] = ()

    @property
    def robot(self) -> bool:
        """Whether the observation is put together from a robot's topics."""
        return any(channel.source != FEATURE for channel in self.observation)

    @property
    def low(self) -> Float32:
        """Lower action limits, float32 ``(m,)``."""
        return np.array([channel.low for channel in self.action], np.float32)

    @property
    def high(self) -> Float32:
        """Upper action limits, float32 ``(m,)``."""
        return np.array([channel.high for channel in self.action], np.float32)

    @property
    def safe(self) -> Float32:
        """Safe action, float32 ``(m,)``."""
        return np.array([channel.safe for channel in self.action], np.float32)

    @property
    def default(self) -> Float32:
        """Default pose, float32 ``(m,)``."""
        poses = [a.safe if a.default is None else a.default for a in self.action]
        return np.array(poses, np.float32)

    @property
    def output_scale(self) -> Float32:
        """What the network's outputs are multiplied by to be actions, float32 ``(m,)``."""
        return np.array([channel.scale for channel in self.action], np.float32)

    @property
    def output_offset(self) -> Float32:
        """What is added to them then, float32 ``(m,)``."""
        return np.array([channel.offset for channel in self.action], np.float32)

    @property
    def rate(self) -> Float32:
        """Largest change of each action a second, float32 ``(m,)``."""
        return np.array([channel.rate for channel in self.action], np.float32)


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """The integer policy, complete: nothing else takes part in computing an action.

    1. ``q = clip(rint((x - mean) * gain), -2^(input_bits-1), 2^(input_bits-1) - 1)``, float32,
       half to even;
    2. hidden layer: ``code = number of T in the neuron's row with W q >= T``, unsigned;
    3. last layer: ``count`` the same way, ``code = -2^(output_bits-1) + count``;
    4. ``action[j] = table[j, count]``.

    Attributes:
        mean: float32 ``(n,)``; gain: float32 ``(n,)``, finite and > 0.
        weights: one int8 ``(out, in)`` a layer, the output layer last.
        thresholds: one int32 ``(out, 2^bits - 1)`` a layer, rows ascending, each value within
            ``[acc_min, acc_max + 1]`` of its neuron (always ... never).
        table: float32 ``(m, 2^output_bits)``, within the action limits.
    """

    mean: Float32
    gain: Float32
    input_bits: int
    core_bits: int
    output_bits: int
    weights: tuple[Int8, ...]
    thresholds: tuple[Int32, ...]
    table: Float32

    @property
    def hidden(self) -> tuple[int, ...]:
        """Widths of the hidden layers."""
        return tuple(int(weight.shape[0]) for weight in self.weights[:-1])

    @property
    def input_range(self) -> tuple[int, int]:
        """Lowest and highest input code."""
        return -(1 << (self.input_bits - 1)), (1 << (self.input_bits - 1)) - 1

    @property
    def output_min(self) -> int:
        """Output code of count 0."""
        return -(1 << (self.output_bits - 1))

    def layer_input_range(self, layer: int) -> tuple[int, int]:
        """Lowest and highest code that layer ``layer`` (0-based) can receive."""
        return self.input_range if layer == 0 else (0, (1 << self.core_bits) - 1)


@dataclass(frozen=True, eq=False)
class Baseline:
    """The FP32 policy of the same task, with its own normalisation.

    ``h = clip((x - mean) / std, -clip, clip)``, then the steps, then
    ``action = last * scale + bias``; all float32.

    Attributes:
        mean, std: float32 ``(n,)``, ``std`` > 0.
        weights, biases: float32 ``(out, in)`` and ``(out,)`` a ``linear`` step.
        scale, bias: float32 ``(m,)``.
        steps: what is computed, in order: :mod:`qpolicy_ros.policy.activations` lists the kinds.
            Empty: ReLU between the layers and tanh after the last one.
        norm_scales, norm_shifts: float32 ``(width,)`` each, of the ``layer_norm`` steps in order.
    """

    mean: Float32
    std: Float32
    clip: float
    weights: tuple[Float32, ...]
    biases: tuple[Float32, ...]
    scale: Float32
    bias: Float32
    steps: tuple[Step, ...] = ()
    norm_scales: tuple[Float32, ...] = ()
    norm_shifts: tuple[Float32, ...] = ()

    @property
    def hidden(self) -> tuple[int, ...]:
        """Widths of the hidden layers."""
        return tuple(int(weight.shape[0]) for weight in self.weights[:-1])

    @property
    def program(self) -> tuple[Step, ...]:
        """The steps, written out also where ``steps`` is empty."""
        return self.steps or plain_steps(len(self.weights))


@dataclass(frozen=True, eq=False)
class Golden:
    """Observations with the answers that every implementation must give.

    Attributes:
        observations: float32 ``(k, n)``.
        codes: signed output codes, int32 ``(k, m)``; None where there is no integer network.
        actions: float32 ``(k, m)`` of the integer network, exact; None as above.
        baseline_actions: float32 ``(k, m)``, within ``FP32_TOLERANCE``.
    """

    observations: Float32
    codes: Int32 | None
    actions: Float32 | None
    baseline_actions: Float32


@dataclass(frozen=True, eq=False)
class PolicyArtifact:
    """One policy file's content; made by ``make_artifact`` and ``load_policy`` only.

    Attributes:
        network: None in a file that holds an FP32 baseline alone.
        provenance: how the policy came to be, JSON-able.
        function_hash, file_hash: SHA-256 as 64 hex digits, see ``hashing``.
        path: the file that it was loaded from, empty if none.
    """

    contract: Contract
    baseline: Baseline
    network: IntegerNetwork | None
    provenance: dict[str, Any]
    golden: Golden
    function_hash: str
    file_hash: str
    path: str = field(default="")
