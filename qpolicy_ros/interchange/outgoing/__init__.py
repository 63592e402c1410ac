"""A policy in the formats of other tools: a C99 header, QONNX, controllers of ros2_control."""

from qpolicy_ros.interchange.outgoing.c_header import c_header, symbol_prefix
from qpolicy_ros.interchange.outgoing.c_library import CompiledHeader
from qpolicy_ros.interchange.outgoing.qonnx_quant import quant_model
from qpolicy_ros.interchange.outgoing.qonnx_run import QonnxModel, compare
from qpolicy_ros.interchange.outgoing.qonnx_thresholds import input_edges, threshold_model
from qpolicy_ros.interchange.outgoing.ros2_control import controllers

__all__ = [
    "CompiledHeader",
    "QonnxModel",
    "c_header",
    "compare",
    "controllers",
    "input_edges",
    "quant_model",
    "symbol_prefix",
    "threshold_model",
]
