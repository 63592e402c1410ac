"""The C part, loaded into this process, and the layouts of messages that it needs."""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
from typing import Any

from qpolicy_ros.nodes.rcl.compile import HERE, CompileError, compiled, loaded_library

_NAME = "qpolicy_hot_path"
_LAYOUT = "rosidl_typesupport_introspection_c"


@functools.lru_cache(maxsize=1)
def load() -> Any:
    """Return the C part, compiled on the first use on a machine (a second or two).

    Raises:
        CompileError: it cannot be compiled, or does not fit the rclpy that is loaded.
    """
    importlib.import_module("rclpy")
    headers = [HERE / "view.h", HERE / "symbols.h"]
    path = compiled(HERE / "hot_path.c", headers)
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
