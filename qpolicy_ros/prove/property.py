"""A property file: a box of observations, a condition, a claim. Every mistake is one line."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.json_files import is_count, is_number, is_text, read_text, shown
from qpolicy_ros.policy import PolicyArtifact
from qpolicy_ros.policy.model import Float32
from qpolicy_ros.prove.codes import LARGEST, whole_box

MOST_BYTES = 4 << 20
LARGEST_OF = "largest"
_REMEDY = "see docs/proofs.md"
# What each kind of claim needs and may have, beside `action`.
KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "bounds": ((), ("low", "high")),
    "never": (("never",), ()),
    "range": (("range",), ()),
    "robust": (("robust", "radius"), ("around", "count")),
    "change": (("change", "within"), ()),
    "monotone": (("monotone", "in"), ()),
    "symmetric": (("symmetric", "in"), ("as", "within")),
}


@dataclass(frozen=True)
class Property:
    """What is claimed.

    Attributes:
        name: of the property, the file's if it gives none.
        low, high: the box and the condition together, float32 ``(n,)``.
        kind: one of ``KINDS``.
        actions: which actions, by number.
        claim: the claim's other fields, checked.
        file: it was read from.
    """

    name: str
    low: Float32
    high: Float32
    kind: str
    actions: tuple[int, ...]
    claim: dict[str, Any]
    file: str


def read_property(path: Path, artifact: PolicyArtifact) -> Property:
    """Read a property file for a policy.

    Raises:
        InputError: no such file, no YAML, a name that the policy has not, an empty box, a claim
            that cannot be.
    """
    import yaml  # noqa: PLC0415  an extra

    text = read_text(path, "property", MOST_BYTES, _REMEDY)
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError.at(path, "property", f"is no YAML: {reason}", _REMEDY) from error
    return parse_property(content, artifact, str(path), path.stem)


def parse_property(
    content: Any, artifact: PolicyArtifact, file: str = "", name: str = ""
) -> Property:
    """Check what a property file says; see ``read_property``."""
    reader = _Reader(artifact, file)
    reader.fields(content, "property", ("claim",), ("name", "box", "condition", "about"))
    network = artifact.network
    if network is None:
        raise InputError.at(
            artifact.path,
            "integer",
            "holds an FP32 baseline alone",
            "give a policy with an integer network",
        )
    low, high = whole_box(network)
    for part in ("box", "condition"):
        reader.box(content.get(part), part, low, high)
    given = content.get("name", name)
    reader.require(is_text(given), "name", f"{shown(given)} is no name")
    claim = content["claim"]
    kind = reader.kind(claim)
    actions = reader.actions(claim.get("action"))
    checked = reader.claim(kind, claim)
    return Property(str(given), low, high, kind, actions, checked, file)


class _Reader:
    """Checks of one file's fields against one policy."""

    def __init__(self, artifact: PolicyArtifact, file: str) -> None:
        self._file = file
        self._contract = artifact.contract
        self._channels = [channel.name for channel in artifact.contract.observation]
        self._actions = [action.name for action in artifact.contract.action]

    def require(self, condition: bool, field: str, wrong: str, remedy: str = _REMEDY) -> None:
        if not condition:
            raise InputError.at(self._file, field, wrong, remedy)

    def fields(
        self, value: Any, where: str, needed: Sequence[str], optional: Sequence[str]
    ) -> None:
        self.require(isinstance(value, dict), where, f"{shown(value)} is no mapping")
        for key in value:
            known = [*needed, *optional]
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
                self.require(False, f"{where}.{key}", "is not known", hint)
        for key in needed:
            self.require(key in value, f"{where}.{key}", "is missing")

    def index(self, key: Any, names: list[str], where: str, what: str) -> int:
        """The number of a channel or an action, given by name or number."""
        if is_count(key):
            wrong = f"{key} is no {what}: there are {len(names)}"
            self.require(key < len(names), where, wrong, f"give 0 to {len(names) - 1}")
            return int(key)
        if key in names:
            return names.index(key)
        near = _nearest(str(key), names)
        self.require(False, where, f"{shown(key)} is no {what} of this policy", near)
        raise AssertionError

    def channel(self, key: Any, where: str) -> int:
        return self.index(key, self._channels, where, "channel")

    def actions(self, key: Any) -> tuple[int, ...]:
        """The actions that a claim is about; all of them where none is named."""
        if key is None or key == "all":
            return tuple(range(len(self._actions)))
        keys = key if isinstance(key, list) else [key]
        return tuple(self.index(k, self._actions, "claim.action", "action") for k in keys)

    def box(self, value: Any, part: str, low: Float32, high: Float32) -> None:
        """Narrow ``low`` and ``high`` by ``{name or number: [low, high]}``."""
        if value is None:
            return
        self.require(isinstance(value, dict), part, f"{shown(value)} is no mapping")
        seen: dict[int, Any] = {}
        for key, limits in value.items():
            where = f"{part}.{key}"
            at = self.channel(key, where)
            self.require(at not in seen, where, f"is the same value as {shown(seen.get(at))}")
            seen[at] = key
            good = isinstance(limits, list) and len(limits) == 2 and all(map(_is_limit, limits))
            self.require(good, where, f"{limits!r:.60} is not [low, high]")
            least, most = (_float32(limit) for limit in limits)
            wrong = f"[{limits[0]}, {limits[1]}] is empty"
            self.require(limits[0] <= limits[1], where, wrong, "give the lower limit first")
            least = _up(least, float(limits[0]))
            most = _down(most, float(limits[1]))
            none = f"{wrong}: no float32 value lies in it"
            self.require(least <= most, where, none, "make it wider")
            low[at], high[at] = max(low[at], least), min(high[at], most)
            wrong = "box and condition have nothing in common"
            self.require(low[at] <= high[at], where, wrong, "make one of them wider")

    def kind(self, claim: Any) -> str:
        """Which kind of claim it is, by the fields that it has."""
        self.require(isinstance(claim, dict), "claim", f"{shown(claim)} is no mapping")
        kinds = [kind for kind in KINDS if kind in claim]
        if "low" in claim or "high" in claim:
            kinds.append("bounds")
        known = "one of low/high, never, range, robust, change, monotone, symmetric"
        self.require(len(kinds) > 0, "claim", "claims nothing", f"give {known}")
        wrong = f"claims several things: {', '.join(kinds)}"
        self.require(len(kinds) == 1, "claim", wrong, f"give {known}")
        needed, optional = KINDS[kinds[0]]
        self.fields(claim, "claim", needed, ("action", *optional))
        return kinds[0]

    def claim(self, kind: str, claim: dict[str, Any]) -> dict[str, Any]:
        """The checked fields of a claim."""
        result: dict[str, Any] = {}
        if kind == "bounds":
            for key, default in (("low", -math.inf), ("high", math.inf)):
                value = claim.get(key, default)
                self.require(_is_limit(value), f"claim.{key}", f"{shown(value)} is no number")
                result[key] = float(value)
            wrong = f"no action lies in [{result['low']:g}, {result['high']:g}]"
            self.require(result["low"] <= result["high"], "claim", wrong, "give low <= high")
        elif kind == "never":
            result["never"] = self._one_of(claim, "never", ("negative", "positive"))
        elif kind == "range":
            self.require(
                claim["range"] is True, "claim.range", f"{shown(claim['range'])}, not true"
            )
        elif kind == "robust":
            result["robust"] = self._size(claim, "robust")
            result["radius"] = self._size(claim, "radius", whole=True, largest=True)
            result["around"] = claim.get("around", "golden")
            result["count"] = claim.get("count", 1)
            good = is_count(result["count"], 1, 10_000)
            self.require(good, "claim.count", f"{shown(result['count'])} is not 1 to 10000")
        elif kind == "change":
            result["change"] = self._size(claim, "change", largest=True)
            result["within"] = self._steps(claim["within"])
        elif kind == "monotone":
            result["monotone"] = self._one_of(claim, "monotone", ("rising", "falling"))
            result["in"] = self.channel(claim["in"], "claim.in")
        else:
            result["symmetric"] = self._one_of(claim, "symmetric", ("even", "odd"))
            result["in"] = self._mirror(claim["in"])
            result["as"] = claim.get("as")
            if result["as"] is not None:
                result["as"] = self.index(result["as"], self._actions, "claim.as", "action")
            result["within"] = self._size(claim, "within") if "within" in claim else 0.0
        return result

    def _one_of(self, claim: dict[str, Any], key: str, words: tuple[str, ...]) -> str:
        value = claim[key]
        self.require(
            value in words,
            f"claim.{key}",
            f"{shown(value)} is unknown",
            f"give {' or '.join(words)}",
        )
        return str(value)

    def _size(
        self, claim: dict[str, Any], key: str, *, whole: bool = False, largest: bool = False
    ) -> Any:
        value = claim[key]
        if largest and value == LARGEST_OF:
            return value
        good = is_count(value, 0, 255) if whole else is_number(value, 0.0)
        what = "a whole number from 0 to 255" if whole else "a number of 0 or more"
        more = f", or {LARGEST_OF!r}" if largest else ""
        self.require(good, f"claim.{key}", f"{shown(value)} is not {what}{more}")
        return int(value) if whole else float(value)

    def _steps(self, value: Any) -> list[int]:
        """How many codes each value may differ by."""
        if isinstance(value, dict):
            steps = [0] * len(self._channels)
            for key, step in value.items():
                at = self.channel(key, f"claim.within.{key}")
                good = is_count(step, 0, 255)
                wrong = f"{shown(step)} is not 0 to 255 codes"
                self.require(good, f"claim.within.{key}", wrong)
                steps[at] = int(step)
        else:
            good = is_count(value, 0, 255)
            self.require(good, "claim.within", f"{shown(value)} is not 0 to 255 codes")
            steps = [int(value)] * len(self._channels)
        return steps

    def _mirror(self, value: Any) -> dict[int, tuple[int, int]]:
        """``{channel: (channel it comes from, sign)}`` of a mirrored observation."""
        if not isinstance(value, dict):
            at = self.channel(value, "claim.in")
            return {at: (at, -1)}
        self.require(len(value) > 0, "claim.in", "mirrors nothing")
        mirror = {}
        for key, other in value.items():
            where = f"claim.in.{key}"
            sign = -1 if isinstance(other, str) and other.startswith("-") else 1
            name = other[1:] if sign < 0 else other
            mirror[self.channel(key, where)] = (self.channel(name, where), sign)
        return mirror


def _nearest(name: str, names: list[str]) -> str:
    """The names that are most like ``name``."""
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.3)
    near = near or [each for each in names if name.lower() in each.lower()][:3]
    return f"nearest: {', '.join(near or names[:3])}"


def _is_limit(value: object) -> bool:
    """Whether ``value`` is a number, an infinity or a word that stands for one."""
    return is_number(value, -math.inf, math.inf)


def _float32(value: Any) -> Any:
    return np.float32(np.clip(float(value), -LARGEST, LARGEST))


def _up(rounded: Any, limit: float) -> Any:
    """The lowest float32 value that is ``limit`` or more."""
    lower = float(rounded) < limit and math.isfinite(limit)
    return np.nextafter(rounded, np.float32(np.inf)) if lower else rounded


def _down(rounded: Any, limit: float) -> Any:
    """The highest float32 value that is ``limit`` or less."""
    higher = float(rounded) > limit and math.isfinite(limit)
    return np.nextafter(rounded, np.float32(-np.inf)) if higher else rounded
