"""The C part, loaded into this process, and the layouts of messages that it needs."""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
from typing import Any

from rclpy.executors import SingleThreadedExecutor

from qpolicy_ros.nodes.rcl.compile import HERE, CompileError, compiled, loaded_library

_NAME = "qpolicy_hot_path"
_LAYOUT = "rosidl_typesupport_introspection_c"


@functools.lru_cache(maxsize=1)
def load() -> Any:
    """Return the C part, compiled on the first use on a machine (a second or two).

    Raises:
        CompileError: it cannot be compiled, or does not fit the rclpy that is loaded.
    """
    path = compiled(HERE / "hot_path.c", sorted(HERE.glob("*.h")))
    try:
        spec = importlib.util.spec_from_file_location(_NAME, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.open(str(loaded_library("librcl.so")))
    except (ImportError, OSError) as error:
        raise CompileError(f"{path}: {' '.join(str(error).split())}") from error
    return module


def make_executor(library: Any) -> SingleThreadedExecutor:
    """Return an executor that serves below rclpy.

    Raises:
        CompileError: rclpy is not one that this was written for; it leans on parts of its executor
            that are not documented.
    """
    try:
        module = importlib.import_module("qpolicy_ros.nodes.rcl.executor")
        made: SingleThreadedExecutor = module.HotExecutor(library)
    except (ImportError, AttributeError, TypeError) as error:
        raise CompileError(f"another rclpy: {' '.join(str(error).split())}") from error
    return made


@functools.lru_cache(maxsize=64)
def layout(message: type) -> int:
    """Return the address of the C description of a message type, a class of rclpy.

    Raises:
        CompileError: the message's package brings none.
    """
    package = message.__module__.partition(".")[0]
    name = message.__name__
    importlib.import_module(package)
    message.__import_type_support__()  # type: ignore[attr-defined]
    beside = loaded_library(f"lib{package}__rosidl_typesupport_c.so")
    try:
        library = ctypes.CDLL(str(beside.with_name(f"lib{package}__{_LAYOUT}.so")))
        symbol = f"{_LAYOUT}__get_message_type_support_handle__{package}__msg__{name}"
        function = getattr(library, symbol)
    except (OSError, AttributeError) as error:
        raise CompileError(f"{package}/{name}: {' '.join(str(error).split())}") from error
    function.restype = ctypes.c_void_p
    address: int = function()
    return address
