"""Faults planted into flights, with the class that a replay has to find.

Each kind is planted into a feature vector's policy, a robot's, or both; the seed chooses the tick,
the flight and the fault's details.
"""

# ruff: noqa: ARG001, ARG005 every fault is planted by the same call

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from bags import Message
from flights import Fault, Settings, feature_flight, flip_weight, robot_flight

from qpolicy_ros.backends import create_backend
from qpolicy_ros.policy import PolicyArtifact, find_policy, load_policy

Rng = np.random.Generator
Plant = Callable[[PolicyArtifact, Settings, int, Rng], "tuple[Settings, Fault]"]
FEATURE, ROBOT = "hopper/paper", "go2/walk"


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        name: in a few words.
        right: the class that it is.
        policies: names of the policies into whose flights it is planted.
        plant: gives settings and fault for a tick.
    """

    name: str
    right: str
    policies: tuple[str, ...]
    plant: Plant


@functools.cache
def policy(name: str) -> PolicyArtifact:
    return load_policy(find_policy(name))


def planted(kind: Kind, seed: int) -> tuple[list[Message], PolicyArtifact]:
    """Return a recording with the fault, and the policy that shall have flown."""
    rng = np.random.default_rng([seed, *kind.name.encode()])
    name = kind.policies[seed % len(kind.policies)]
    artifact = policy(name)
    fly = robot_flight if artifact.contract.robot else feature_flight
    while True:
        at = int(rng.integers(80, 160))
        settings, fault = kind.plant(artifact, Settings(seed=seed), at, rng)
        flight = fly(artifact, settings, replace(fault, at=at))
        # A bit that no answer hangs on is no fault in flight.
        if fault.policy is None or flight.changed:
            return flight.messages, artifact


BOTH, ONLY_FEATURE, ONLY_ROBOT = (FEATURE, ROBOT), (FEATURE,), (ROBOT,)
KINDS: list[Kind] = []


def kind(name: str, right: str, policies: tuple[str, ...] = BOTH) -> Callable[[Plant], Plant]:
    def add(plant: Plant) -> Plant:
        KINDS.append(Kind(name, right, policies, plant))
        return plant

    return add


# Engine


@kind("one bit of a weight", "engine")
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    return settings, Fault(policy=flip_weight(artifact, rng))


@kind("one threshold moved", "engine")
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    network = artifact.network
    thresholds = [each.copy() for each in network.thresholds]
    layer = int(rng.integers(len(thresholds)))
    row = thresholds[layer][int(rng.integers(len(thresholds[layer])))]
    row += int(rng.choice([-3, 3]))
    changed = replace(network, thresholds=tuple(thresholds))
    return settings, Fault(policy=replace(artifact, network=changed))


@kind("one output code off by one", "engine")
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    joint, table = int(rng.integers(len(artifact.contract.action))), artifact.network.table

    def off(answer: np.ndarray, _: int) -> np.ndarray:
        changed = answer.copy()
        code = int(np.argmin(np.abs(table[joint] - answer[joint])))
        changed[joint] = table[joint][
            min(code + 1, table.shape[1] - 1) if code + 1 < table.shape[1] else code - 1
        ]
        return changed

    return settings, Fault(answer=off)


@kind("a neuron stuck at zero", "engine")
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    network = artifact.network
    weights = [each.copy() for each in network.weights]
    weights[1][:, int(rng.integers(weights[1].shape[1]))] = 0
    return settings, Fault(
        policy=replace(artifact, network=replace(network, weights=tuple(weights)))
    )


@kind("another backend than said", "engine")
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    backend, seen = create_backend("fp32", artifact), {}

    def watch(observation: np.ndarray, tick: int) -> np.ndarray:
        seen[tick] = np.array(observation)
        return observation

    return settings, Fault(seen=watch, answer=lambda _, tick: backend.act(seen[tick]))


# Contract


@kind("two values swapped", "contract")
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    names = [c.name for c in artifact.contract.observation]
    first = int(rng.integers(len(names) - 1))
    second = first + 1
    order = list(range(len(names)))
    order[first], order[second] = second, first
    return settings, Fault(seen=lambda o, _: o[order])


@kind("two sensor joints swapped", "contract", ONLY_ROBOT)
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    joint = int(rng.integers(len(artifact.contract.action) - 1))
    names = [a.name for a in artifact.contract.action]

    def swap(raw: list[float], sources: tuple[str, ...], _: int) -> list[float]:
        raw = list(raw)
        one, two = (sources.index(f"joint_states.position:{names[j]}") for j in (joint, joint + 1))
        raw[one], raw[two] = raw[two], raw[one]
        return raw

    return settings, Fault(raw=swap)


@kind("two commanded joints swapped", "contract")
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    joint = int(rng.integers(len(artifact.contract.action) - 1))
    order = list(range(len(artifact.contract.action)))
    order[joint], order[joint + 1] = joint + 1, joint
    return settings, Fault(answer=lambda a, _: a[order])


@kind("a sensor's scale", "contract", ONLY_ROBOT)
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    factor = float(rng.choice([-1.0, np.pi / 180, 2.0, 0.5]))
    field = str(rng.choice(["joint_states.velocity", "imu.angular_velocity"]))
    return settings, Fault(
        raw=lambda raw, sources, _: [
            v * factor if s.startswith(field) else v for v, s in zip(raw, sources, strict=True)
        ]
    )


@kind("a value in another unit", "contract")
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    factor = np.float32(rng.choice([-1.0, np.pi / 180, 180 / np.pi, 0.0]))
    column = int(rng.integers(len(artifact.contract.observation)))

    def scale(observation: np.ndarray, _: int) -> np.ndarray:
        changed = observation.copy()
        changed[column] *= factor
        return changed

    return settings, Fault(seen=scale)


@kind("a command turned round", "contract")
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    return settings, Fault(answer=lambda a, _: -a)


@kind("another policy's hash", "contract")
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    return settings, Fault(said_hash="ab" * 32)


@kind("another policy, hash unchanged", "contract", ONLY_FEATURE)
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    return settings, Fault(policy=policy("hopper/selected"))


# Sensor


def _late(ticks: int) -> Callable[[np.ndarray, int], np.ndarray]:
    kept: list[np.ndarray] = []

    def late(observation: np.ndarray, _: int) -> np.ndarray:
        kept.append(np.array(observation))
        return kept[max(0, len(kept) - 1 - ticks)]

    return late


@kind("an observation one tick old", "sensor")
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    return settings, Fault(seen=_late(1))


@kind("an observation some ticks old", "sensor")
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    return settings, Fault(seen=_late(int(rng.integers(2, 6))))


@kind("a stale sensor behind a fresh stamp", "sensor", ONLY_ROBOT)
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    topic, kept = str(rng.choice(["imu", "joint_states"])), {}

    def freeze(raw: list[float], sources: tuple[str, ...], _: int) -> list[float]:
        raw = list(raw)
        for place, source in enumerate(sources):
            if source.startswith(topic):
                raw[place] = kept.setdefault(source, raw[place])
        return raw

    return settings, Fault(raw=freeze)


@kind("an observation lost to the recorder", "sensor", ONLY_FEATURE)
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    return settings, Fault(lost=lambda topic, tick: topic == "observation" and tick == at)


@kind("a sensor message lost to the recorder", "sensor", ONLY_ROBOT)
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    which = str(rng.choice(["imu", "joint_states"]))
    return settings, Fault(lost=lambda topic, tick: topic == which and tick == at)


@kind("a command lost to the recorder", "sensor")
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    return settings, Fault(lost=lambda topic, tick: topic == "action_stamped" and tick == at)


@kind("an answer lost to the recorder", "sensor", ONLY_FEATURE)
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    gone = {"action_stamped", "timing"}
    return settings, Fault(lost=lambda topic, tick: topic in gone and tick == at)


@kind("a value that is not finite", "sensor", ONLY_ROBOT)
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    def spoil(message: Any, topic: str, _: int) -> Any:
        if topic == "imu":
            message.angular_velocity.x = float("nan")
        return message

    return replace(settings, lockstep=False, timeout=0.1), Fault(spoilt=spoil)


@kind("a position in degrees", "sensor", ONLY_ROBOT)
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    def spoil(message: Any, topic: str, _: int) -> Any:
        if topic == "joint_states":
            message.position = message.position * 180 / np.pi
        return message

    return replace(settings, lockstep=False, timeout=0.1), Fault(spoilt=spoil)


@kind("a value that no message has", "sensor", ONLY_ROBOT)
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    def disturb(raw: list[float], sources: tuple[str, ...], tick: int) -> list[float]:
        raw = list(raw)
        raw[at % len(raw)] += 0.01 * (1 + tick % 7)
        return raw

    return settings, Fault(raw=disturb)


# Timing


@kind("the clock set back", "timing")
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    return settings, Fault(clock=-int(rng.integers(1, 20)) * 10**9 // 2)


@kind("the clock set forward", "timing")
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    return settings, Fault(clock=int(rng.integers(1, 20)) * 10**9 // 2)


@kind("the stamps' clock set", "timing")
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    back = -((at - 20) * round(artifact.contract.period * 1e9))
    return settings, Fault(stamps=int(rng.choice([10**9, 5 * 10**9, back])))


@kind("a sensor that goes silent", "timing", ONLY_ROBOT)
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    frozen = (str(rng.choice(["imu", "joint_states"])),)
    return replace(settings, lockstep=False, timeout=0.1), Fault(frozen=frozen)


@kind("the executor stands still", "timing", ONLY_ROBOT)
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    pause = int(rng.integers(3, 10)) * 10**8
    return replace(settings, lockstep=False, timeout=0.2), Fault(
        pause=lambda tick: pause if tick == at else 0
    )


@kind("the executor stands still and nobody minds", "timing", ONLY_ROBOT)
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    pause = int(rng.integers(3, 10)) * 10**8
    return replace(settings, lockstep=False, timeout=0.2), Fault(
        pause=lambda tick: pause if tick == at else 0, slow=lambda _: -1.0
    )


@kind("an answer later than its deadline", "timing")
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    return replace(settings, inference_deadline=0.002), Fault(
        slow=lambda tick: 5000.0 if tick == at else 0.0
    )


@kind("a command sent again", "timing")
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    return settings, Fault(sent=lambda action, before, tick: before if tick < at + 5 else action)


# Safety


@kind("rate limit off", "safety")
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    return replace(settings, rate_limit=2.0), Fault(rate_limit=1e9)


@kind("another rate limit", "safety")
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    return replace(settings, rate_limit=2.0), Fault(rate_limit=4.0)


@kind("a rate limit that nobody set", "safety")
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    return settings, Fault(rate_limit=float(rng.uniform(1.0, 4.0)))


@kind("beyond the limits", "safety")
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    high = artifact.contract.high * np.float32(1.5) + np.float32(0.1)
    joint = int(rng.integers(len(high)))

    def beyond(action: np.ndarray, _: np.ndarray, __: int) -> np.ndarray:
        changed = action.copy()
        changed[joint] = high[joint]
        return changed

    return settings, Fault(sent=beyond)


@kind("the safe action without a reason", "safety")
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    safe = artifact.contract.safe
    return settings, Fault(sent=lambda action, before, tick: safe if tick < at + 5 else action)


@kind("the watchdog takes over", "safety", ONLY_ROBOT)
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    return settings, Fault(watchdog=True)


@kind("a ramp that leaves its way", "safety", ONLY_ROBOT)
def _(artifact: PolicyArtifact, settings: Settings, at: int, rng: Rng) -> Any:
    joint = int(rng.integers(len(artifact.contract.action)))

    def astray(action: np.ndarray, _: np.ndarray, tick: int) -> np.ndarray:
        changed = action.copy()
        changed[joint] += np.float32(0.02) * ((tick % 3) + 1)
        return changed

    return replace(settings, ramp_time=6.0), Fault(sent=astray)
