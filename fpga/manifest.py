"""The manifest of a generated folder: what ``generate`` wrote there, and how it is read again.

A folder may be damaged or come from a stranger, so ``read_manifest`` checks every field, once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qpolicy_fpga.folder import MANIFEST
from qpolicy_fpga.plan.devices import PARTS
from qpolicy_fpga.plan.layer import BUS_BITS
from qpolicy_ros.backends.fpga.packing import CoreShape
from qpolicy_ros.common.json_files import is_count, is_number, is_text, read_json
from qpolicy_ros.policy import PolicyError
from qpolicy_ros.policy.model import MAX_BITS, MIN_BITS

FORMAT = 1
MAX_BYTES = 4 << 20
MAX_COUNT = 10_000_000
_REMEDY = "generate the folder again with `qpolicy fpga generate`"


@dataclass(frozen=True)
class LayerEntry:
    """One layer of a core.

    Attributes:
        inputs, neurons: its sizes.
        fold: neurons that a tree serves, one after the other.
        planes: bit planes of a code that are added in one step.
        parts: the file's word for the chunks in which its input codes come, 1 = all at once.
        weights: where they are: ``lut`` or ``ram``.
        trees: adder trees.
        tail: how a sum becomes a code.
        steps: steps a frame.
        cycles: from its codes to its result.
    """

    inputs: int
    neurons: int
    fold: int
    planes: int
    parts: int
    weights: str
    trees: int
    tail: str
    steps: int
    cycles: int


@dataclass(frozen=True)
class Estimate:
    """What the cost model says of a choice of forms: cells, and each layer's form as a list."""

    cycles: int
    lut: int
    ff: int
    carry4: int
    bram36: float
    dsp: int
    forms: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class WordPorts:
    """The front and back that ``--with-io`` adds: what a user of the words must know.

    Attributes:
        top: the module around everything.
        files: Verilog beside the core's.
        word_bits: of a sensor or action word.
        words_per_beat, beats: sensor words of one beat, and beats of an observation.
        beats_per_core_beat: beats of words for one beat of the core.
        cycles, initiation_interval: as the core's, from words to words.
        sensor_fractions, action_fractions: binary places behind the point, a value each.
    """

    top: str
    files: tuple[str, ...]
    word_bits: int
    words_per_beat: int
    beats_per_core_beat: int
    beats: int
    cycles: int
    initiation_interval: int
    sensor_fractions: tuple[int, ...]
    action_fractions: tuple[int, ...]


@dataclass(frozen=True)
class Supervision:
    """The supervisor beside a core.

    Attributes:
        ranges: its name for its ranges, 8 hexadecimal digits.
        observations: how many had the codes that it knows.
        source: where they were seen.
    """

    ranges: str
    observations: int
    source: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A generated core, its policy, and where both come from.

    Attributes:
        format: of this file.
        generator, git_revision: who wrote it.
        policy, file_hash, function_hash, task: whose core it is; empty of a bare network.
        part, clock_mhz, fit, max_latency: what was asked for.
        n, m: input and output codes.
        b_in, b_core, b_out: bits of a code.
        hidden: widths.
        codes_per_beat, beats: input codes of one beat, and beats of a frame.
        cycles: from the first accepted beat to the result's validity.
        initiation_interval: cycles between two frames, at best.
        credits: frames in flight or waiting, at most.
        layers: first to last.
        top: the core's module.
        files: its Verilog.
        estimate, pareto: of the chosen forms, and of those beside it that are not worse in both.
        bench: files of the self-checking test bench.
        device: the part as its maker orders it.
        io: the front and back, if they were asked for.
        supervisor: what counts codes beside the core, if it was asked for.
    """

    format: int = FORMAT
    generator: str
    git_revision: str
    policy: str = ""
    file_hash: str = ""
    function_hash: str = ""
    task: str = ""
    part: str
    clock_mhz: float
    fit: str
    n: int
    m: int
    b_in: int
    b_core: int
    b_out: int
    hidden: tuple[int, ...]
    codes_per_beat: int
    beats: int
    cycles: int
    initiation_interval: int
    credits: int
    layers: tuple[LayerEntry, ...]
    top: str
    files: tuple[str, ...]
    max_latency: int | None = None
    estimate: Estimate | None = None
    pareto: tuple[Estimate, ...] = ()
    bench: tuple[str, ...] = ()
    device: str = ""
    io: WordPorts | None = None
    supervisor: Supervision | None = None

    @property
    def ranges(self) -> str:
        """The supervisor's name for its ranges; empty without one."""
        return self.supervisor.ranges if self.supervisor else ""

    @property
    def shape(self) -> CoreShape:
        """Sizes as the drivers know them."""
        return CoreShape(self.n, self.m, self.b_in, self.b_out, self.codes_per_beat, self.beats)

    def verilog(self, folder: Path) -> list[Path]:
        """Return the core's Verilog files in ``folder``."""
        return [folder / name for name in self.files if name.endswith(".v")]

    def as_json(self) -> dict[str, Any]:
        """Return the fields as they are written; without what was not asked for."""
        fields = asdict(self)
        return {k: v for k, v in fields.items() if v is not None or k not in _PARTS}


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a generated folder.

    Raises:
        PolicyError: there is none, or it is not one of a generated core; the text names the field.
    """
    path = folder / MANIFEST
    try:
        if path.exists() and (not path.is_file() or path.stat().st_size > MAX_BYTES):
            wrong = f"is not one of a generated core: no file of at most {MAX_BYTES} bytes"
            raise PolicyError.at(path, "manifest", wrong, _REMEDY)
    except OSError as error:
        raise PolicyError.at(path, "manifest", f"cannot be read: {error}", _REMEDY) from error
    fields = read_json(path, "manifest", MAX_BYTES, _REMEDY)
    if not isinstance(fields, dict):
        raise PolicyError.at(path, "manifest", "is not one of a generated core", _REMEDY)
    records: dict[str, Any] = {}
    for name, (record, rules) in _PARTS.items():
        if name in fields:
            if not isinstance(fields[name], dict):
                raise _wrong(path, name, fields[name])
            records[name] = record(**_checked(path, f"{name}.", fields[name], rules))
    known = _checked(path, "", fields, _RULES)
    # Two that must go with others.
    if known["codes_per_beat"] * known["b_in"] > BUS_BITS:
        raise _wrong(path, "codes_per_beat", known["codes_per_beat"])
    if known["beats"] != -(-known["n"] // known["codes_per_beat"]):
        raise _wrong(path, "beats", known["beats"])
    known["layers"] = tuple(LayerEntry(**_tuples(layer)) for layer in known["layers"])
    known["pareto"] = tuple(Estimate(**_tuples(point)) for point in known["pareto"])
    known["estimate"] = Estimate(**_tuples(known["estimate"]))
    return Manifest(**known, **records)


_Rules = Mapping[str, Callable[[Any], bool]]


def _checked(path: Path, prefix: str, fields: Mapping[str, Any], rules: _Rules) -> dict[str, Any]:
    """Return the fields that there are rules for, lists as tuples.

    Raises:
        PolicyError: a field is missing or breaks its rule.
    """
    for field, rule in rules.items():
        if field not in fields:
            raise PolicyError.at(path, prefix + field, "is missing", _REMEDY)
        if not rule(fields[field]):
            raise _wrong(path, prefix + field, fields[field])
    return _tuples({field: fields[field] for field in rules})


def _wrong(path: Path, field: str, value: object) -> PolicyError:
    return PolicyError.at(path, field, f"{value!r:.80} is not one of a generated core", _REMEDY)


def _tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``fields`` with lists, and lists in them, as tuples."""

    def frozen(value: Any) -> Any:
        return tuple(map(frozen, value)) if isinstance(value, list) else value

    return {name: frozen(value) for name, value in fields.items()}


def _is_count(value: object) -> bool:
    return is_count(value, 1, MAX_COUNT)


def _is_amount(value: object) -> bool:
    return is_number(value, 0, MAX_COUNT)


def _is_bits(value: object) -> bool:
    return is_count(value, MIN_BITS, MAX_BITS)


def _is_place(value: object) -> bool:
    return is_count(value, -MAX_COUNT, MAX_COUNT)


def _matches(pattern: str) -> Callable[[object], bool]:
    """Whether a value is text of this form that can be shown in a line."""
    return lambda value: is_text(value) and re.fullmatch(pattern, str(value)) is not None


def _list_of(rule: Callable[[Any], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(rule, value))


def _record_of(rules: _Rules) -> Callable[[object], bool]:
    """Whether a value has these fields and no others."""
    return lambda value: (
        isinstance(value, dict)
        and value.keys() == rules.keys()
        and all(rule(value[name]) for name, rule in rules.items())
    )


_is_text = _matches(".{1,200}")
_is_any_text = _matches(".{0,255}")
_is_hash_32 = _matches("[0-9a-f]{8}")
# These go into a script of Yosys and into paths, so nothing but a plain name may pass.
_is_module = _matches("[A-Za-z_][A-Za-z0-9_]{0,80}")
_are_files = _list_of(_matches("[A-Za-z0-9_][A-Za-z0-9_.-]{0,80}"))
_is_layer = _record_of(
    {
        **dict.fromkeys(("inputs", "neurons", "fold", "planes", "parts"), _is_count),
        "weights": _is_text,
        "trees": _is_count,
        "tail": _is_text,
        **dict.fromkeys(("steps", "cycles"), _is_count),
    }
)
_is_estimate = _record_of(
    {
        **dict.fromkeys(("cycles", "lut"), _is_count),
        **dict.fromkeys(("ff", "carry4", "bram36", "dsp"), _is_amount),
        "forms": _list_of(_list_of(lambda value: isinstance(value, int))),  # flags among them,
    }
)
_RULES: _Rules = {
    "format": lambda value: is_count(value, FORMAT, FORMAT),
    **dict.fromkeys(("generator", "git_revision"), _is_text),
    "policy": _is_any_text,
    "file_hash": _matches("[0-9a-f]{64}"),
    "function_hash": _matches("[0-9a-f]{64}"),
    "task": _is_text,
    "part": lambda value: isinstance(value, str) and value in PARTS,
    "clock_mhz": lambda value: _is_amount(value) and value > 0,
    "fit": _is_text,
    **dict.fromkeys(("n", "m"), _is_count),
    **dict.fromkeys(("b_in", "b_core", "b_out"), _is_bits),
    "hidden": _list_of(_is_count),
    **dict.fromkeys(("codes_per_beat", "beats", "cycles"), _is_count),
    **dict.fromkeys(("initiation_interval", "credits"), _is_count),
    "layers": _list_of(_is_layer),
    "top": _is_module,
    "files": _are_files,
    "max_latency": lambda value: value is None or _is_count(value),
    "estimate": _is_estimate,
    "pareto": _list_of(_is_estimate),
    "bench": _are_files,
    "device": _is_any_text,
}
_IO_RULES: _Rules = {
    "top": _is_module,
    "files": _are_files,
    **dict.fromkeys(("word_bits", "words_per_beat", "beats_per_core_beat", "beats"), _is_count),
    **dict.fromkeys(("cycles", "initiation_interval"), _is_count),
    **dict.fromkeys(("sensor_fractions", "action_fractions"), _list_of(_is_place)),
}
_SUPERVISOR_RULES: _Rules = {
    "ranges": lambda value: _is_hash_32(value) and int(value, 16) > 0,
    "observations": _is_count,
    "source": _is_any_text,
}
# What a folder has where it was asked for.
_PARTS: dict[str, tuple[Callable[..., Any], _Rules]] = {
    "io": (WordPorts, _IO_RULES),
    "supervisor": (Supervision, _SUPERVISOR_RULES),
}
