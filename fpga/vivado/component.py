"""The IP's description, ``component.xml`` (IP-XACT, IEEE 1685-2009, as Vivado reads it)."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from qpolicy_fpga.wrappers.tops import WRAPPERS, top_name
from qpolicy_ros.backends.fpga.registers import INPUT_END, REGISTERS, Register

SPIRIT = "http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009"
VENDOR, LIBRARY, NAME, VERSION = "qpolicy-ros.example", "robotics", "qpolicy", "1.0"
_AXI = ("xilinx.com", "interface", "aximm", "1.0")
_CLOCK = ("xilinx.com", "signal", "clock", "1.0")
_RESET = ("xilinx.com", "signal", "reset", "1.0")
_INTERRUPT = ("xilinx.com", "signal", "interrupt", "1.0")
_ACCESS = {"ro": "read-only", "wo": "write-only", "rw": "read-write", "w1c": "read-write"}


def component(files: Sequence[str]) -> str:
    """Return ``component.xml`` of the AXI4-Lite wrapper made of these source files."""
    ET.register_namespace("spirit", SPIRIT)
    root = ET.Element(_tag("component"))
    for name, value in (
        ("vendor", VENDOR),
        ("library", LIBRARY),
        ("name", NAME),
        ("version", VERSION),
    ):
        _add(root, name, value)
    buses = _add(root, "busInterfaces")
    _axi_bus(buses)
    _signal_bus(
        buses, "clock", "slave", _CLOCK, "CLK", "s_axi_aclk",
        {"ASSOCIATED_BUSIF": "s_axi", "ASSOCIATED_RESET": "s_axi_aresetn"},
    )  # fmt: skip
    low = {"POLARITY": "ACTIVE_LOW"}
    _signal_bus(buses, "reset", "slave", _RESET, "RST", "s_axi_aresetn", low)
    high = {"SENSITIVITY": "LEVEL_HIGH"}
    _signal_bus(buses, "irq", "master", _INTERRUPT, "INTERRUPT", "irq", high)
    _memory_map(_add(root, "memoryMaps"))
    _model(_add(root, "model"))
    sets = _add(_add(root, "fileSets"), "fileSet")
    _add(sets, "name", "sources")
    for file in files:
        entry = _add(sets, "file")
        _add(entry, "name", file)
        _add(entry, "fileType", "verilogSource")
        if file.endswith(".vh"):
            _add(entry, "isIncludeFile", "true")
    _add(root, "description", "A low-bit control policy behind AXI4-Lite registers")
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, "unicode") + "\n"


def _axi_bus(buses: ET.Element) -> None:
    bus = _bus(buses, "s_axi", _AXI)
    _add(_add(bus, "slave"), "memoryMapRef").set(_tag("memoryMapRef"), "s_axi")
    ports = [name for _, name in WRAPPERS["axi_lite"].ports if name not in _SIGNALS]
    _port_maps(bus, {port.removeprefix("s_axi_").upper(): port for port in ports})
    _parameters(bus, {"PROTOCOL": "AXI4LITE", "DATA_WIDTH": "32", "ADDR_WIDTH": "12"})


_SIGNALS = ("s_axi_aclk", "s_axi_aresetn", "irq")


def _signal_bus(
    buses: ET.Element,
    name: str,
    role: str,
    kind: tuple[str, str, str, str],
    logical: str,
    port: str,
    parameters: dict[str, str],
) -> None:
    bus = _bus(buses, name, kind)
    _add(bus, role)
    _port_maps(bus, {logical: port})
    _parameters(bus, parameters)


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


def _model(model: ET.Element) -> None:
    views = _add(model, "views")
    for name, label in (
        ("xilinx_anylanguagesynthesis", ":vivado.xilinx.com:synthesis"),
        ("xilinx_anylanguagebehavioralsimulation", ":vivado.xilinx.com:simulation"),
    ):
        view = _add(views, "view")
        _add(view, "name", name)
        _add(view, "envIdentifier", label)
        _add(view, "language", "Verilog")
        _add(view, "modelName", top_name("axi_lite"))
        _add(_add(view, "fileSetRef"), "localName", "sources")
    ports = _add(model, "ports")
    for direction, name in WRAPPERS["axi_lite"].ports:
        port = _add(ports, "port")
        _add(port, "name", name)
        wire = _add(port, "wire")
        _add(wire, "direction", "in" if direction.startswith("input") else "out")
        vector = re.search(r"\[(\d+):(\d+)\]", direction)
        if vector:
            element = _add(wire, "vector")
            _add(element, "left", vector.group(1))
            _add(element, "right", vector.group(2))


def _add(parent: ET.Element, name: str, text: str | None = None) -> ET.Element:
    element = ET.SubElement(parent, _tag(name))
    element.text = text
    return element


def _tag(name: str) -> str:
    return f"{{{SPIRIT}}}{name}"
