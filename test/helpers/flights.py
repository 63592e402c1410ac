"""Recordings of policies that serve, made without ROS, and faults to be planted into them.

The parts that decide are the nodes' own: server, guard, inputs, modes. Clocks and messages are made
up, so that a flight takes a second and is the same every time. A fault is something that goes wrong
inside the robot while the recorder writes what was sent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from bags import DIAGNOSTICS, JOINT_STATE, TYPES, WALL, Message, joint_state
from wandering_robot import TYPE_OF, World, as_taken

from qpolicy_ros.backends import create_backend
from qpolicy_ros.nodes.serving.modes import Mode, Modes, Reason
from qpolicy_ros.nodes.serving.robot_inputs import RobotInputs
from qpolicy_ros.nodes.serving.safety import ActionGuard
from qpolicy_ros.nodes.serving.server import PolicyServer
from qpolicy_ros.policy import Assembler, ObservationError, PolicyArtifact

STAGES = ("age", "queue", "quantise", "infer", "publish", "total", "elapsed")
Values = np.ndarray


def same(values: Any, *_: Any, **_options: Any) -> Any:
    """Change nothing."""
    return values


@dataclass
class Fault:
    """What goes wrong from tick ``at`` on; each function gets the tick's number last.

    Attributes:
        at: tick.
        seen: changes what the policy sees, behind the recorded observation or message.
        raw: changes a robot's raw values, by source.
        answer: changes the policy's answer before limits.
        sent: changes the command behind limits, given (command, command before, tick).
        policy: computes from then on.
        rate_limit: in force from then on, without being reported.
        limits: whether limits are applied.
        lost: whether a message is lost to the recorder, by topic and tick.
        clock: added to the recorder's times, ns.
        stamps: added to stamps, ns.
        pause: ns that the node stands still before the tick.
        behind: ns that it stands still between the limits and the sending.
        frozen: sensors that send nothing any more.
        spoilt: changes a robot's message, given (message, topic, tick).
        anew: whether a simulated robot's next episode begins at ``at``: nothing is remembered.
    """

    at: int = 0
    seen: Callable[..., Values] = same
    raw: Callable[..., Any] = same
    answer: Callable[..., Values] = same
    sent: Callable[..., Values] = same
    policy: PolicyArtifact | None = None
    rate_limit: float | None = None
    limits: bool = True
    lost: Callable[[str, int], bool] = lambda *_: False
    clock: int = 0
    stamps: int = 0
    pause: Callable[[int], int] = lambda _: 0
    behind: Callable[[int], int] = lambda _: 0
    frozen: tuple[str, ...] = ()
    spoilt: Callable[..., Any] = same
    anew: bool = False
    said_hash: str = ""
    watchdog: bool = False
    slow: Callable[[int], float] = lambda _: 0.0


@dataclass
class Settings:
    """How the policy serves."""

    ticks: int = 300
    rate_limit: float = 0.0
    lockstep: bool = True
    timeout: float = 0.5
    ramp_time: float = 0.5
    inference_deadline: float = 0.0
    seed: int = 0
    backends: Callable[[int], str] = lambda _: "integer"
    jitter_ns: int = 300_000


@dataclass
class Flight:
    """Writes down what the node sends; ``messages`` is the recording."""

    artifact: PolicyArtifact
    settings: Settings
    fault: Fault
    messages: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        contract = self.artifact.contract
        self.rng = np.random.default_rng(self.settings.seed)
        self.period = round(contract.period * 1e9)
        self.now = 10**12  # monotonic
        backends = ("integer",) if self.artifact.network is not None else ("fp32",)
        self.server = PolicyServer(self.artifact, backends[0], ("integer", "fp32"))
        self.server.guard = self.guard = ActionGuard(
            contract, self.settings.rate_limit, lambda: self.now
        )
        # Not by the server, which compares with golden vectors and refuses it.
        self.other = create_backend("integer", self.fault.policy) if self.fault.policy else None
        self.tick = -1
        self.before = contract.safe
        self.changed = False  # whether a fault of the engine has changed any answer
        self.no_action: dict[str, int] = {}
        self.stale = 0
        self.last_reason = ""
        self.session = f"{self.settings.seed:08x}"
        self.report()

    @property
    def broken(self) -> bool:
        return self.tick >= self.fault.at

    def wall(self) -> int:
        return WALL + self.now - 10**12 + (self.fault.clock if self.broken else 0)

    def stamp(self) -> int:
        return self.period * (self.tick + 1) + (self.fault.stamps if self.broken else 0)

    def emit(self, topic: str, kind: str, data: bytes) -> None:
        self.now += 2_000
        if not (self.broken and self.fault.lost(topic, self.tick)):
            self.messages.append(Message(f"/{topic}", kind, self.wall(), data))

    def report(self, mode: str = "policy", reason: str = "") -> None:
        settings = self.settings
        digest = self.artifact.function_hash
        if self.fault.said_hash and self.broken and self.tick >= 0:
            digest = self.fault.said_hash
        values = {
            "backend": self.server.backend,
            "mode": mode,
            "reason": reason,
            "function_hash": digest,
            "session": self.session,
            "last_reason": self.last_reason,
            "stale": str(self.stale),
            **{f"no_action.{name}": str(count) for name, count in self.no_action.items()},
            **{
                f"parameter.{name}": str(getattr(settings, name))
                for name in ("rate_limit", "timeout", "inference_deadline", "ramp_time", "lockstep")
            },
            "parameter.position_commands": "True",
        }
        self.emit("diagnostics", DIAGNOSTICS, status(values))

    def send(self, action: Values, stamp: int, sender: str = "") -> None:
        """Send a command; ``sender`` is empty for the policy node itself."""
        names = [each.name for each in self.artifact.contract.action]
        frame = sender or f"/policy_node@robot:{self.settings.seed + 100}"
        self.emit("action_stamped", JOINT_STATE, joint_state(stamp, names, action.tolist(), frame))
        if not sender:
            self.before = action

    def act(self, observation: Values) -> Values:
        """One answer, within limits, with all that goes wrong."""
        fault, broken = self.fault, self.broken
        if broken:
            observation = np.asarray(fault.seen(observation, self.tick), np.float32)
        server, backend = self.server, self.settings.backends(self.tick)
        if backend != server.backend:
            server.swap(backend)
        server.guard = SimpleNamespace(limit=same, is_inside=lambda _: True)
        wrong = self.other if broken else None
        answer = server.act(observation)
        if wrong is not None:
            right, answer = answer, wrong.act(observation)
            self.changed = self.changed or bool((right != answer).any())
        if broken:
            answer = np.asarray(fault.answer(answer, self.tick), np.float32)
            if fault.rate_limit is not None:
                self.guard.set_rate_limit(fault.rate_limit)
        before = self.before
        self.now += 50_000
        action = self.guard.limit(answer)
        if broken:
            self.now += fault.behind(self.tick)
        if broken and not fault.limits:
            action = answer
        if broken:
            action = np.asarray(fault.sent(action, before, self.tick), np.float32)
            self.guard._last = action
        return action

    def timing(
        self, stamp: int, extra: tuple[str, ...] = (), values: tuple[float, ...] = ()
    ) -> None:
        infer = 50.0 + (self.fault.slow(self.tick) if self.broken else 0.0)
        stages = [100.0, 50.0, 1.0, infer, 40.0, infer + 60.0, self.guard.elapsed_ns / 1000.0]
        data = joint_state(stamp, (*STAGES, *extra), (*stages, *values), self.server.backend)
        self.emit("timing", JOINT_STATE, data)

    def wait(self) -> None:
        """Let a control period pass, and the fault's pause."""
        self.tick += 1
        self.now += self.period + int(self.rng.integers(0, self.settings.jitter_ns + 1))
        if self.broken:
            self.now += self.fault.pause(self.tick)
        if not self.tick % 25 and self.tick:
            self.report()


def feature_flight(
    artifact: PolicyArtifact, settings: Settings | None = None, fault: Fault | None = None
) -> Flight:
    """A policy answers a feature vector's observations; the last word is the safe action."""
    flight = Flight(artifact, settings or Settings(), fault or Fault(at=10**9))
    names = [channel.name for channel in artifact.contract.observation]
    for observation in observations(artifact, flight.settings):
        flight.wait()
        stamp = flight.stamp()
        flight.emit("observation", JOINT_STATE, joint_state(stamp, names, observation.tolist()))
        if not np.isfinite(observation).all():
            flight.no_action["non_finite"] = flight.no_action.get("non_finite", 0) + 1
            flight.last_reason = "non_finite: a value"
            flight.send(flight.guard.hold(), stamp)
            continue
        action = flight.act(observation)
        flight.send(action, stamp)
        flight.timing(stamp)
    flight.send(flight.guard.hold(), 0)
    flight.report("standby")
    return flight


def observations(artifact: PolicyArtifact, settings: Settings) -> np.ndarray:
    """Observations float32 (ticks, n) that wander between the policy's golden ones."""
    rng = np.random.default_rng(settings.seed + 1)
    golden = artifact.golden.observations.astype(np.float64)
    knots = rng.integers(0, len(golden), settings.ticks // 20 + 3)
    at = np.linspace(0, len(knots) - 1.01, settings.ticks)
    low = at.astype(int)
    share = (at - low)[:, None]
    way = golden[knots[low]] * (1 - share) + golden[knots[low + 1]] * share
    spread = golden.std(axis=0) * 0.1
    return (way + rng.normal(size=way.shape) * spread).astype(np.float32)


def robot_flight(  # noqa: C901, PLR0912, PLR0915 a robot's loop, top to bottom
    artifact: PolicyArtifact, settings: Settings | None = None, fault: Fault | None = None
) -> Flight:
    """A robot stands, is ramped to its default pose and serves its policy; real time or lock-step.

    Goes to safe as ``RobotLoop`` does, and stays there until the end.
    """
    settings = settings or Settings()
    flight = Flight(artifact, settings, fault or Fault(at=10**9))
    fault, contract = flight.fault, artifact.contract
    assembler = Assembler(contract)
    inputs = RobotInputs(contract, assembler.sources, clock=lambda: flight.now)
    modes = Modes(contract, settings.ramp_time)
    world = World(contract, flight.rng)
    timeout = 0 if settings.lockstep else round(settings.timeout * 1e9)
    names = [channel.name for channel in contract.observation]
    last_tick = flight.now
    while flight.tick < settings.ticks - 1:
        flight.wait()
        world.step()
        for topic in inputs.topics:
            if flight.broken and topic in fault.frozen:
                continue
            message = world.message(topic, flight.stamp())
            if flight.broken:
                message = fault.spoilt(message, topic, flight.tick)
            flight.emit(topic, TYPE_OF[topic], bytes(TYPES.serialize_cdr(message, TYPE_OF[topic])))
            inputs.take(topic, as_taken(message))
        flight.now += 100_000
        gap, last_tick = flight.now - last_tick, flight.now
        stamps = inputs.stamps()
        stamp = stamps[0][0] * 10**9 + stamps[0][1] if stamps else 0
        if modes.mode is Mode.STANDBY:
            inputs.read(flight.now, timeout)
            pose = np.array([inputs.pose[each.name] for each in contract.action], np.float32)
            modes.start(pose)
            flight.guard.begin(pose)
            assembler.reset()
            flight.report(modes.mode.value)
        if timeout and gap > timeout and not (flight.broken and fault.slow(flight.tick) < 0):
            modes.fault(Reason.STALLED, "the node stood still")
        raw: list[float] = []
        if modes.mode is not Mode.SAFE:
            try:
                raw = list(inputs.read(flight.now, timeout))
            except ObservationError as error:
                modes.fault(Reason(error.reason), str(error))
        if flight.broken and fault.watchdog:
            flight.send(contract.safe, 0, "safety_watchdog")
            modes.fault(Reason.OVERRIDDEN, "'safety_watchdog' sends commands")
        if modes.mode is Mode.SAFE:
            flight.send(flight.guard.hold(), stamp)
            flight.report("safe", f"{modes.reason.value}: {modes.text}")
        elif modes.mode is Mode.RAMP:
            action = flight.guard.limit(modes.next_pose())
            if flight.broken:
                action = np.asarray(fault.sent(action, flight.before, flight.tick), np.float32)
            flight.send(action, stamp)
        else:
            now = flight.now
            if flight.broken:
                raw = fault.raw(raw, assembler.sources, flight.tick)
            if fault.anew and flight.tick == fault.at:
                assembler.reset()
            observation = assembler.observation(raw)
            shown = observation.copy()
            action = flight.act(observation)
            flight.send(action, stamp)
            assembler.acted(action)
            flight.timing(stamp, tuple(inputs.used_names), tuple(inputs.used(now)))
            flight.emit("observation", JOINT_STATE, joint_state(stamp, names, shown.tolist()))
    flight.send(flight.guard.hold(), 0)
    flight.tick = flight.fault.at - 1
    flight.report("standby")
    return flight


def status(values: dict[str, str]) -> bytes:
    """Return a serialized status of the policy node at the root of the graph."""
    kinds = TYPES.types
    each = kinds["diagnostic_msgs/msg/DiagnosticStatus"](
        level=0, name="policy_node: policy", message="active", hardware_id="/policy_node",
        values=[kinds["diagnostic_msgs/msg/KeyValue"](key=k, value=v) for k, v in values.items()],
    )  # fmt: skip
    time = kinds["builtin_interfaces/msg/Time"](sec=1, nanosec=0)
    header = kinds["std_msgs/msg/Header"](stamp=time, frame_id="")
    return bytes(TYPES.serialize_cdr(kinds[DIAGNOSTICS](header=header, status=[each]), DIAGNOSTICS))


def flip_weight(artifact: PolicyArtifact, rng: np.random.Generator) -> PolicyArtifact:
    """Return the policy with one bit of one weight turned round; its file would be refused."""
    network = artifact.network
    assert network is not None
    weights = [weight.copy() for weight in network.weights]
    layer = int(rng.integers(len(weights)))
    place = tuple(int(rng.integers(size)) for size in weights[layer].shape)
    weights[layer][place] ^= np.int8(1 << int(rng.integers(0, 3)))
    changed = dataclasses.replace(network, weights=tuple(weights))
    return dataclasses.replace(artifact, network=changed)
