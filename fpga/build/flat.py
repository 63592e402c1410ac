"""A synthesised netlist as cells and nets, without hierarchy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class FlatCell:
    """A cell: its type, its name, and the net at each input and output pin; no constants."""

    kind: str
    name: str
    inputs: dict[str, int]
    outputs: dict[str, int]


@dataclass
class Flat:
    """Cells of a design.

    Attributes:
        cells: all of them.
        nets: name of each net.
    """

    cells: list[FlatCell] = field(default_factory=list)
    nets: list[str] = field(default_factory=list)

    def loads(self) -> Counter[int]:
        """Return how many pins each net leads to, those of clocks left out."""
        return Counter(
            net
            for cell in self.cells
            for pin, net in cell.inputs.items()
            if not pin.startswith("CLK")
        )


def flatten(modules: Mapping[str, Any]) -> Flat:
    """Return the cells of a design that Yosys wrote as JSON, those of kept modules too.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is none.
    """
    (top,) = (module for module in modules.values() if "top" in module["attributes"])
    flat = Flat()
    _add(flat, modules, top, "", {})
    return flat


def _add(
    flat: Flat, modules: Mapping[str, Any], module: Any, prefix: str, outside: dict[int, int]
) -> None:
    """Add a module's cells; ``outside`` has the nets of bits of its ports."""
    nets = dict(outside)
    for name, wire in module["netnames"].items():
        for at, bit in enumerate(wire["bits"], wire.get("offset", 0)):
            if bit not in nets and isinstance(bit, int):
                nets[bit] = len(flat.nets)
                flat.nets.append(f"{prefix}{name}" + (f"[{at}]" if len(wire["bits"]) > 1 else ""))
    for name, cell in module["cells"].items():
        inner = modules.get(cell["type"])
        if inner is not None and not {"blackbox", "whitebox"} & inner["attributes"].keys():
            ports = {
                low: nets[high]
                for pin, bits in cell["connections"].items()
                for low, high in zip(inner["ports"][pin]["bits"], bits, strict=True)
                if isinstance(low, int) and isinstance(high, int)
            }
            _add(flat, modules, inner, f"{prefix}{name}.", ports)
            continue
        ends: tuple[dict[str, int], dict[str, int]] = {}, {}
        for pin, bits in cell["connections"].items():
            way = ends[cell["port_directions"][pin] == "output"]
            for at, bit in enumerate(bits):
                if isinstance(bit, int):
                    way[pin if len(bits) == 1 else f"{pin}{at}"] = nets[bit]
        flat.cells.append(FlatCell(cell["type"], prefix + name, *ends))
