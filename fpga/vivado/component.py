"""The IP's description, ``component.xml`` (IP-XACT, IEEE 1685-2009, as Vivado reads it)."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import NamedTuple

from qpolicy_fpga.wrappers.tops import WRAPPERS, Sizes, top_name, widths
from qpolicy_ros.backends.fpga.registers import INPUT_END, REGISTERS, Register

SPIRIT = "http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009"
VENDOR, LIBRARY, VERSION = "qpolicy-ros.example", "robotics", "1.0"
_AXI = ("xilinx.com", "interface", "aximm", "1.0")
_AXIS = ("xilinx.com", "interface", "axis", "1.0")
_CLOCK = ("xilinx.com", "signal", "clock", "1.0")
_RESET = ("xilinx.com", "signal", "reset", "1.0")
_INTERRUPT = ("xilinx.com", "signal", "interrupt", "1.0")
_ACCESS = {"ro": "read-only", "wo": "write-only", "rw": "read-write", "w1c": "read-write"}


class _Bus(NamedTuple):
    """A bus interface of the IP: its ports by the bus's own names."""

    name: str
    role: str
    kind: tuple[str, str, str, str]
    ports: dict[str, str]
    parameters: dict[str, str]


class _Ip(NamedTuple):
    """What a wrapper is as an IP."""

    name: str
    about: str
    buses: tuple[_Bus, ...]


def _clock(name: str, buses: str, reset: str) -> _Bus:
    parameters = {"ASSOCIATED_BUSIF": buses, "ASSOCIATED_RESET": reset}
    return _Bus("clock", "slave", _CLOCK, {"CLK": name}, parameters)


def _reset(name: str) -> _Bus:
    return _Bus("reset", "slave", _RESET, {"RST": name}, {"POLARITY": "ACTIVE_LOW"})


def _ports(kind: str, prefix: str, leave_out: Sequence[str] = ()) -> dict[str, str]:
    """Ports of a wrapper that begin with ``prefix``, by what is behind it."""
    names = [name for _, name in WRAPPERS[kind].ports if name.startswith(prefix)]
    return {name.removeprefix(prefix).upper(): name for name in names if name not in leave_out}


_LITE = {"PROTOCOL": "AXI4LITE", "DATA_WIDTH": "32", "ADDR_WIDTH": "12"}
_STREAM = {"HAS_TLAST": "1", "HAS_TREADY": "1", "HAS_TKEEP": "0", "HAS_TSTRB": "0"}
IPS = {
    "axi_lite": _Ip(
        "qpolicy",
        "A low-bit control policy behind AXI4-Lite registers",
        (
            _Bus(
                "s_axi",
                "slave",
                _AXI,
                _ports("axi_lite", "s_axi_", ("s_axi_aclk", "s_axi_aresetn")),
                _LITE,
            ),
            _clock("s_axi_aclk", "s_axi", "s_axi_aresetn"),
            _reset("s_axi_aresetn"),
            _Bus(
                "irq",
                "master",
                _INTERRUPT,
                {"INTERRUPT": "irq"},
                {"SENSITIVITY": "LEVEL_HIGH"},
            ),
        ),
    ),
    "axi_stream": _Ip(
        "qpolicy_stream",
        "A low-bit control policy between two AXI4-Streams",
        (
            _Bus("s_axis", "slave", _AXIS, _ports("axi_stream", "s_axis_"), _STREAM),
            _Bus("m_axis", "master", _AXIS, _ports("axi_stream", "m_axis_"), _STREAM),
            _clock("aclk", "s_axis:m_axis", "aresetn"),
            _reset("aresetn"),
        ),
    ),
}


def component(kind: str, sizes: Sizes, files: Sequence[str]) -> str:
    """Return ``component.xml`` of a wrapper.

    Args:
        kind: of :data:`IPS`.
        sizes: of the core, from which the width of its ports follows.
        files: names of the sources.
    """
    ip = IPS[kind]
    ET.register_namespace("spirit", SPIRIT)
    root = ET.Element(_tag("component"))
    for name, value in (
        ("vendor", VENDOR),
        ("library", LIBRARY),
        ("name", ip.name),
        ("version", VERSION),
    ):
        _add(root, name, value)
    buses = _add(root, "busInterfaces")
    for each in ip.buses:
        bus = _bus(buses, each.name, each.kind)
        role = _add(bus, each.role)
        if each.kind == _AXI:
            _add(role, "memoryMapRef").set(_tag("memoryMapRef"), each.name)
        _port_maps(bus, each.ports)
        _parameters(bus, each.parameters)
    if any(each.kind == _AXI for each in ip.buses):
        _memory_map(_add(root, "memoryMaps"))
    _model(_add(root, "model"), kind, sizes)
    sets = _add(_add(root, "fileSets"), "fileSet")
    _add(sets, "name", "sources")
    for file in files:
        entry = _add(sets, "file")
        _add(entry, "name", file)
        _add(entry, "fileType", "verilogSource")
        if file.endswith(".vh"):
            _add(entry, "isIncludeFile", "true")
    _add(root, "description", ip.about)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, "unicode") + "\n"


def settings(kind: str) -> str:
    """Return ``ip.tcl``: what ``package_ip.tcl`` must know of a wrapper of :data:`IPS`."""
    ip = IPS[kind]
    (clock,) = (bus for bus in ip.buses if bus.kind == _CLOCK)
    interrupts = [bus.ports["INTERRUPT"] for bus in ip.buses if bus.kind == _INTERRUPT]
    values = {
        "top": top_name(kind),
        "name": ip.name,
        "about": ip.about,
        "vendor": VENDOR,
        "library": LIBRARY,
        "version": VERSION,
        "clock": clock.ports["CLK"],
        "buses": clock.parameters["ASSOCIATED_BUSIF"].replace(":", " "),
        "interrupts": " ".join(interrupts),
    }
    return "".join(f"set {name} {{{value}}}\n" for name, value in values.items())


def _bus(buses: ET.Element, name: str, kind: tuple[str, str, str, str]) -> ET.Element:
    bus = _add(buses, "busInterface")
    _add(bus, "name", name)
    vendor, library, bus_name, version = kind
    for element, suffix in (("busType", ""), ("abstractionType", "_rtl")):
        values = {"vendor": vendor, "library": library, "name": bus_name + suffix}
        reference = _add(bus, element)
        for key, value in {**values, "version": version}.items():
            reference.set(_tag(key), value)
    return bus


def _port_maps(bus: ET.Element, maps: dict[str, str]) -> None:
    element = _add(bus, "portMaps")
    for logical, physical in maps.items():
        entry = _add(element, "portMap")
        _add(_add(entry, "logicalPort"), "name", logical)
        _add(_add(entry, "physicalPort"), "name", physical)


def _parameters(bus: ET.Element, values: dict[str, str]) -> None:
    element = _add(bus, "parameters")
    for name, value in values.items():
        entry = _add(element, "parameter")
        _add(entry, "name", name)
        _add(entry, "value", value)


def _memory_map(maps: ET.Element) -> None:
    element = _add(maps, "memoryMap")
    _add(element, "name", "s_axi")
    block = _add(element, "addressBlock")
    _add(block, "name", "reg0")
    _add(block, "baseAddress", "0")
    _add(block, "range", str(INPUT_END))
    _add(block, "width", "32")
    _add(block, "usage", "register")
    for index, register in enumerate(REGISTERS):
        after = REGISTERS[index + 1].offset if index + 1 < len(REGISTERS) else INPUT_END
        _register(block, register, (after - register.offset) // 4)


def _register(block: ET.Element, register: Register, words: int) -> None:
    element = _add(block, "register")
    _add(element, "name", register.name)
    _add(element, "description", register.meaning)
    if register.name in ("OUTPUT", "INPUT"):
        _add(element, "dim", str(words))
    _add(element, "addressOffset", f"0x{register.offset:X}")
    _add(element, "size", "32")
    _add(element, "access", _ACCESS[register.access])
    for bit in register.bits:
        field = _add(element, "field")
        _add(field, "name", bit.name)
        _add(field, "description", bit.meaning)
        _add(field, "bitOffset", str(bit.low))
        _add(field, "bitWidth", str(bit.high - bit.low + 1))


def _model(model: ET.Element, kind: str, sizes: Sizes) -> None:
    views = _add(model, "views")
    for name, label in (
        ("xilinx_anylanguagesynthesis", ":vivado.xilinx.com:synthesis"),
        ("xilinx_anylanguagebehavioralsimulation", ":vivado.xilinx.com:simulation"),
    ):
        view = _add(views, "view")
        _add(view, "name", name)
        _add(view, "envIdentifier", label)
        _add(view, "language", "Verilog")
        _add(view, "modelName", top_name(kind))
        _add(_add(view, "fileSetRef"), "localName", "sources")
    ports = _add(model, "ports")
    names = {f"{name.upper()}-1": str(bits - 1) for name, bits in widths(sizes).items()}
    for direction, name in WRAPPERS[kind].ports:
        port = _add(ports, "port")
        _add(port, "name", name)
        wire = _add(port, "wire")
        _add(wire, "direction", "in" if direction.startswith("input") else "out")
        vector = re.search(r"\[([\w-]+):(\d+)\]", direction)
        if vector:
            element = _add(wire, "vector")
            _add(element, "left", names.get(vector.group(1), vector.group(1)))
            _add(element, "right", vector.group(2))


def _add(parent: ET.Element, name: str, text: str | None = None) -> ET.Element:
    element = ET.SubElement(parent, _tag(name))
    element.text = text
    return element


def _tag(name: str) -> str:
    return f"{{{SPIRIT}}}{name}"
