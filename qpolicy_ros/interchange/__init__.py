"""A policy in the formats of other tools: a C99 header for microcontrollers."""

from qpolicy_ros.interchange.c_header import c_header, symbol_prefix
from qpolicy_ros.interchange.c_library import CompiledHeader

__all__ = ["CompiledHeader", "c_header", "symbol_prefix"]
