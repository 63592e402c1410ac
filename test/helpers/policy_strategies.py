"""Hypothesis strategies for valid policies: any contract, any network that fits it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from policy_builders import random_baseline, random_network, random_observations

from qpolicy_ros.policy import ActionChannel, Channel, Contract, make_artifact
from qpolicy_ros.policy.sources import HISTORY, PREVIOUS_ACTION, TOPICS, parse_source

NAMES = st.text(min_size=1, max_size=6).filter(str.isprintable)
NUMBERS = st.floats(-1e6, 1e6)
BITS = st.integers(2, 8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@st.composite
def _actions(draw: Any, name: str) -> ActionChannel:
    low, span = draw(st.floats(-1e3, 1e3, width=32)), draw(st.floats(0.125, 1e3, width=32))
    inside = st.floats(low, low + span)
    return ActionChannel(
        name,
        low,
        low + span,
        draw(inside),
        default=draw(st.none() | inside),
        rate=draw(st.just(math.inf) | st.floats(0.01, 1e6)),
    )


@st.composite
def _channels(draw: Any, name: str, actions: list[str], plain: list[str]) -> Channel:
    """A value of a robot; ``plain``: channels that a history may be of."""
    kinds = [*TOPICS, PREVIOUS_ACTION, *([HISTORY] if plain else [])]
    kind = draw(st.sampled_from(kinds))
    if kind == PREVIOUS_ACTION:
        source = f"{kind}:{draw(st.sampled_from(actions))}"
    elif kind == HISTORY:
        source = f"{kind}.{draw(st.integers(1, 100))}:{draw(st.sampled_from(plain))}"
    else:
        field = draw(st.sampled_from(sorted(TOPICS[kind])))
        keys = TOPICS[kind][field]
        source = f"{kind}.{field}:{draw(st.sampled_from(keys) if keys else NAMES)}"
    missed = draw(st.sampled_from(["hold", "zero", "default"])) if kind in TOPICS else "hold"
    return Channel(
        name,
        source,
        scale=draw(NUMBERS.filter(bool)),
        offset=draw(NUMBERS),
        low=draw(st.just(-math.inf) | st.floats(-1e6, -1.0)),
        high=draw(st.just(math.inf) | st.floats(-0.5, 1e6)),
        missed=missed,
        default=draw(NUMBERS),
    )


@st.composite
def contracts(draw: Any) -> Contract:
    """Any contract of up to 5 values and 3 actions: of a feature vector, or of a robot."""
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    motors = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    actions = [draw(_actions(name)) for name in motors]
    limits = []
    if draw(st.booleans()):
        channels: list[Channel] = []
        for name in names:
            plain = [c.name for c in channels if not c.source.startswith(HISTORY)]
            channels.append(draw(_channels(name, motors, plain)))
        topics = {parse_source(channel.source) for channel in channels}
        heard = sorted({source.topic for source in topics if source.external})
        limits = [(topic, draw(st.floats(0.001, 10))) for topic in heard if draw(st.booleans())]
    else:
        channels = [Channel(name) for name in names]
    return Contract(
        task=draw(NAMES),
        env_id=draw(st.just("") | NAMES),
        observation=tuple(channels),
        action=tuple(actions),
        period=draw(st.floats(1e-4, 10)),
        time_limits=tuple(limits),
    )


@st.composite
def artifacts(draw: Any) -> Any:
    """Any policy of such a contract: up to 3 hidden layers, all bit-widths, or FP32 alone."""
    contract = draw(contracts())
    n, m, seed = len(contract.observation), len(contract.action), draw(st.integers(0, 2**31))
    hidden = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    low, high = contract.low[:, None], contract.high[:, None]
    network = None
    if draw(st.integers(0, 9)):
        bits, extreme = [draw(BITS) for _ in range(3)], draw(st.booleans())
        network = random_network(seed, n, hidden, m, *bits, extreme=extreme)
        table = (network.table + 1) / 2 * (high - low) + low
        network = replace(network, table=np.clip(table, low, high).astype(np.float32))
    baseline = random_baseline(seed, n, hidden, m)
    middle, half = (low + high)[:, 0] / 2, (high - low)[:, 0] / 2
    provenance = draw(st.dictionaries(st.text(max_size=4), JSON, max_size=3).filter(_printable))
    return make_artifact(
        contract,
        replace(baseline, scale=half, bias=middle),
        network,
        provenance,
        random_observations(seed, draw(st.integers(1, 4)), n),
    )


def _printable(value: object) -> bool:
    """Whether a JSON value has neither infinities nor half surrogates."""
    import json  # noqa: PLC0415

    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        return False
    return True
