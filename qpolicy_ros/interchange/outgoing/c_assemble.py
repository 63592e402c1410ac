"""The robot's half of the C header: from raw values to the observation, as ``Assembler`` does it.

Behind the macro ``QPOLICY_ASSEMBLE``; it computes in double, needs ``math.h`` and, where the policy
walks to a clock, its cosine and sine.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from qpolicy_ros.policy import Contract
from qpolicy_ros.policy.model import EFFORT, POSITION, VELOCITY
from qpolicy_ros.policy.places import Places
from qpolicy_ros.policy.sources import parse_source

_UNITS = {POSITION: "rad", VELOCITY: "rad/s", EFFORT: "N m"}


def c_assemble(contract: Contract, prefix: str) -> str:
    """Return the section for a robot's contract; empty for a feature vector's.

    Args:
        contract: of the policy.
        prefix: of every symbol.
    """
    if not contract.robot:
        return ""
    places = Places(contract)
    channels, actions, gaits = contract.observation, contract.action, contract.gaits
    sources = [parse_source(source) for source in places.sources]
    values = {
        "p": prefix,
        "P": prefix.upper(),
        "raw": max(len(places.sources), 1),
        "given": len(places.sources),
        "places": places.values.size,
        "n": len(channels),
        "m": len(actions),
        "depth": max(places.depth, 1),
        "histories": len(places.historic),
        "gaits": max(len(gaits), 1),
        "first_action": places.actions.start,
        "first_output": places.outputs.start,
        "period": _real(contract.period),
        "sources": _texts(places.sources),
        "source_units": _texts(source.unit for source in sources),
        "value_names": _texts(channel.name for channel in channels),
        "action_names": _texts(action.name for action in actions),
        "action_units": _texts(a.unit or _UNITS[a.kind] for a in actions),
        "start": _reals(places.values),
        "take": _whole(places.take),
        "offset": _reals(places.offset),
        "scale": _reals(places.scale),
        "low": _reals(places.low),
        "high": _reals(places.high),
        "default": _reals(contract.default),
        "output_scale": _reals(a.scale for a in actions),
        "output_offset": _reals(a.offset for a in actions),
        "phases": _reals([gait.offset for gait in gaits] or [0.0]),
        "turn": "\n".join(_turn(contract, places)),
        "history": "\n".join(_history(places, prefix)),
    }
    return re.sub(r"@(\w+?)@", lambda match: str(values[match[1]]), _TEMPLATE)


def _turn(contract: Contract, places: Places) -> list[str]:
    """The gaits at this tick, and their phases at the next."""
    lines = []
    if places.command:
        squares = " + ".join(f"v[{place}] * v[{place}]" for place in places.command)
        lines.append(f"    const double speed = sqrt({squares});")
    for index, gait in enumerate(contract.gaits):
        at = places.gaits + 3 * index
        lines += ["    {", f"        double phase = memory->phases[{index}];"]
        frequency = _real(gait.frequency)
        if gait.top_speed:
            lines += [
                f"        double share = speed / {_real(gait.top_speed)};",
                "        if (share > 1.0) share = 1.0;",
            ]
            rise = _real(gait.top_frequency - gait.frequency)
            frequency = f"({frequency} + {rise} * share)"
        turned = f"phase + {_real(2 * math.pi)} * {frequency} * {_real(contract.period)}"
        lines.append(f"        memory->phases[{index}] = fmod({turned}, {_real(2 * math.pi)});")
        standing = f"speed < {_real(gait.stand_below)}"
        if gait.stand_below and gait.stand_phase is not None:
            lines.append(f"        if ({standing}) phase = {_real(gait.stand_phase)};")
        lines += [
            f"        v[{at}] = cos(phase);",
            f"        v[{at + 1}] = sin(phase);",
            f"        v[{at + 2}] = fmod(phase / {_real(2 * math.pi)}, 1.0);",
            f"        if (v[{at + 2}] < 0.0) v[{at + 2}] += 1.0;",
        ]
        if gait.stand_below and gait.stand_phase is None:
            lines.append(f"        if ({standing}) v[{at}] = v[{at + 1}] = v[{at + 2}] = 0.0;")
        lines.append("    }")
    return lines


def _history(places: Places, prefix: str) -> list[str]:
    if not places.depth:
        return []
    rows = zip(places.historic.tolist(), places.other.tolist(), places.ticks.tolist(), strict=True)
    table = ", ".join(f"{{{a}, {b}, {c}}}" for a, b, c in rows)
    depth = places.depth
    return [
        f"    static const int past[{len(places.historic)}][3] = {{{table}}};",
        "    if (memory->fresh) {",
        f"        for (i = 0; i < {depth}; i++)",
        "            memcpy(memory->ring[i], observation, sizeof memory->ring[i]);",
        "        memory->fresh = 0;",
        "    }",
        f"    for (i = 0; i < {len(places.historic)}; i++) {{",
        f"        const int row = (memory->tick + {depth} - past[i][2]) % {depth};",
        "        const double value = memory->ring[row][past[i][1]];",
        f"        observation[past[i][0]] = {prefix}_channel(value, past[i][0]);",
        "    }",
        "    memcpy(memory->ring[memory->tick], observation, sizeof memory->ring[0]);",
        f"    memory->tick = (memory->tick + 1) % {depth};",
    ]


def _real(value: float) -> str:
    """A double, exactly; a macro of ``math.h`` for an infinity."""
    if math.isinf(value):
        return "-HUGE_VAL" if value < 0 else "HUGE_VAL"
    return float(value).hex() if value >= 0 else f"({float(value).hex()})"


def _reals(values: Iterable[float]) -> str:
    return ", ".join(_real(float(value)) for value in values)


def _whole(values: Iterable[int]) -> str:
    return ", ".join(str(int(value)) for value in values)


def _texts(texts: Iterable[str]) -> str:
    """String literals in ASCII; nothing in a name ends one."""
    return ", ".join(f'"{"".join(map(_escaped, text.encode()))}"' for text in texts) or '""'


def _escaped(byte: int) -> str:
    plain = 32 <= byte < 127 and chr(byte) not in '"\\?'
    return chr(byte) if plain else f"\\{byte:03o}"


_TEMPLATE = """
#ifdef QPOLICY_ASSEMBLE
#include <math.h>
#include <string.h>

/* Raw values to give, in this order, SI units; names of the observation's values; actions. */
#define @P@_RAW @given@
static const char *const @p@_sources[@raw@] = {@sources@};
static const char *const @p@_source_units[@raw@] = {@source_units@};
static const char *const @p@_value_names[@n@] = {@value_names@};
static const char *const @p@_action_names[@m@] = {@action_names@};
static const char *const @p@_action_units[@m@] = {@action_units@};
/* s between two ticks */
static const double @p@_period = @period@;
/* A value is (raw - offset) * scale, cut to low and high. */
static const double @p@_offset[@n@] = {@offset@};
static const double @p@_scale[@n@] = {@scale@};
static const double @p@_low[@n@] = {@low@};
static const double @p@_high[@n@] = {@high@};

/* What an episode remembers; @p@_reset begins one. */
typedef struct {
    double v[@places@], phases[@gaits@];
    float ring[@depth@][@n@];
    int tick, fresh;
} @p@_memory;

static inline void @p@_reset(@p@_memory *memory) {
    static const double start[@places@] = {@start@};
    static const double phases[@gaits@] = {@phases@};
    static const double pose[@m@] = {@default@};
    memcpy(memory->v, start, sizeof start);
    memcpy(memory->phases, phases, sizeof phases);
    memcpy(memory->v + @first_action@, pose, sizeof pose);
    memory->tick = 0;
    memory->fresh = 1;
}

static inline float @p@_channel(double value, int i) {
    value -= @p@_offset[i];
    value *= @p@_scale[i];
    if (value < @p@_low[i]) value = @p@_low[i];
    if (value > @p@_high[i]) value = @p@_high[i];
    return (float)value;
}

/* The observation of this tick. Returns -1, or the index of a raw value that is not finite; then
 * nothing is remembered. */
static inline int @p@_assemble(@p@_memory *memory, const double raw[@raw@],
                               float observation[@n@]) {
    static const int take[@n@] = {@take@};
    double *const v = memory->v;
    int i;
    for (i = 0; i < @given@; i++)
        if (!(raw[i] > -HUGE_VAL && raw[i] < HUGE_VAL)) return i;
    for (i = 0; i < @given@; i++) v[i] = raw[i];
@turn@
    for (i = 0; i < @n@; i++) observation[i] = @p@_channel(v[take[i]], i);
@history@
    return -1;
}

/* Tell the next tick what was done: the action that was sent, and what the policy had answered
 * before limits cut it (the same where nothing did). */
static inline void @p@_acted(@p@_memory *memory, const float action[@m@],
                             const float computed[@m@]) {
    static const double scale[@m@] = {@output_scale@};
    static const double offset[@m@] = {@output_offset@};
    for (int j = 0; j < @m@; j++) {
        memory->v[@first_action@ + j] = action[j];
        memory->v[@first_output@ + j] = (computed[j] - offset[j]) / scale[j];
    }
}
#endif /* QPOLICY_ASSEMBLE */
"""
