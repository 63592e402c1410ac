"""Orders in which people list a robot's joints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_LEGS = {"fl", "fr", "rl", "rr", "hl", "hr", "lf", "rf", "lh", "rh"}
_SIDES = {"left": "right", "right": "left", "l": "r", "r": "l"}
_LEG_SIDES = {
    "fl": "fr", "fr": "fl", "rl": "rr", "rr": "rl", "hl": "hr", "hr": "hl",
    "lf": "rf", "rf": "lf", "lh": "rh", "rh": "lh",
}  # fmt: skip
_LEG_ENDS = {
    "fl": "rl", "rl": "fl", "fr": "rr", "rr": "fr", "hl": "fl", "hr": "fr",
    "lf": "lh", "lh": "lf", "rf": "rh", "rh": "rf",
}  # fmt: skip
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^A-Za-z\d]+")


def joint_orders(current: Sequence[str], model: Any) -> dict[str, tuple[str, ...]]:
    """Return the orders that the joints may be in, by what they are called.

    Args:
        current: names in the order of the contract; all are joints of the model.
        model: ``mujoco.MjModel``.
    """
    place = {name: int(model.joint(name).qposadr[0]) for name in current}
    depth = {name: _depth(model, name) for name in current}
    in_model = sorted(current, key=place.__getitem__)
    limbs = list(dict.fromkeys(_limb(name) for name in in_model))
    kinds = list(dict.fromkeys(_kind(name) for name in in_model))
    found = {
        "of the robot's model": in_model,
        "alphabetical": sorted(current),
        "by depth in the tree, as Isaac lists them": sorted(
            in_model, key=lambda name: (depth[name], place[name])
        ),
        "by kind": sorted(in_model, key=lambda name: (kinds.index(_kind(name)), place[name])),
        "by leg": sorted(in_model, key=lambda name: (limbs.index(_limb(name)), place[name])),
        "with left and right swapped": _mapped(current, {**_SIDES, **_LEG_SIDES}),
        "with front and rear swapped": _mapped(current, _LEG_ENDS),
    }
    result: dict[str, tuple[str, ...]] = {}
    for name, order in found.items():
        if tuple(order) != tuple(current) and tuple(order) not in result.values():
            result[name] = tuple(order)
    return result


def _depth(model: Any, joint: str) -> int:
    body, count = int(model.joint(joint).bodyid[0]), 0
    while body:
        body, count = int(model.body_parentid[body]), count + 1
    return count


def _words(name: str) -> list[str]:
    return _WORDS.findall(name)


def _limb(name: str) -> str:
    """Return which limb a joint is of: its side, or its leg."""
    return next((w.lower() for w in _words(name) if w.lower() in _LEGS | _SIDES.keys()), "")


def _kind(name: str) -> str:
    """Return what a joint is called on every limb."""
    return "".join(w.lower() for w in _words(name) if w.lower() not in _LEGS | _SIDES.keys())


def _mapped(current: Sequence[str], swaps: dict[str, str]) -> list[str]:
    """Return the joints with those exchanged whose names differ by ``swaps`` only."""
    lower = {name.lower(): name for name in current}
    result = []
    for name in current:
        other = "".join(swaps.get(word.lower(), word.lower()) for word in _words(name))
        result.append(lower.get(other, name))
    return result if sorted(result) == sorted(current) else list(current)
