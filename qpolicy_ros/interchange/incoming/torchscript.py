"""TorchScript files: their operators are looked at before PyTorch runs one of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.interchange.incoming.aten import OPERATORS, Call, constant
from qpolicy_ros.interchange.incoming.graph import (
    HELD_BY_NONE,
    MOST_NODES,
    Graph,
    Incoming,
    Node,
    refused,
)
from qpolicy_ros.interchange.incoming.reduce import Reducer
from qpolicy_ros.interchange.incoming.zip_files import Zip
from qpolicy_ros.policy.model import Float32

_EXPORT = "export the policy again"
INSTALL = "pip install 'qpolicy_ros[train]'"
# They touch files, or bring code that is none of a graph's.
_FORBIDDEN = {"save", "load", "from_file", "_load_for_lite_interpreter", "import_ir_module"}
_SCALARS = {"NumToTensor", "Int", "ScalarImplicit", "IntImplicit", "device", "dtype", "dim"}
_CODE = re.compile(r"__setstate__|torch\.classes|ops\.(?!aten\.|prim\.|inductor\.)\w+")


def read_torchscript(path: Path, archive: Zip) -> Incoming:
    """Read a TorchScript file.

    Args:
        path: of the file.
        archive: the same, opened.

    Raises:
        InputError: its code does more than compute, or an operator cannot be held.
    """
    torch = import_torch(path)
    module = load_checked(torch, path, archive)
    inputs = list(module.inlined_graph.inputs())[1:]
    if len(inputs) != 1:
        names = ", ".join(value.debugName().split(".")[0] for value in inputs)
        wrong = f"{len(inputs)} inputs ({names}); a policy has one observation"
        raise refused(path, "forward", wrong, "export it with one vector in")
    neutral = _Translator(torch, module, path).graph()
    network = Reducer(neutral, path).network(neutral.outputs[0])

    def run(observations: Float32) -> Float32:
        with torch.inference_mode():
            rows = [module(torch.from_numpy(row[None].copy())) for row in observations]
        first = [row[0] if isinstance(row, tuple) else row for row in rows]
        return np.array([row.numpy().ravel() for row in first], np.float32)

    return Incoming(
        kind="TorchScript",
        network=network,
        run=run,
        runtime=f"torch {torch.__version__}",
        width=network.mean.size,
        outputs=network.outputs,
    )


def load_checked(torch: Any, path: Path, archive: Zip) -> Any:
    """Return the module of a TorchScript file whose operators do no more than compute.

    Raises:
        InputError: one of them, or its code, does more.
    """
    for name in archive.ending(".py"):
        text = archive.read(name).decode(errors="replace")
        match = _CODE.search(text)
        if match:
            wrong = f"its code uses {match[0]!r}, which is not run here"
            raise InputError.at(path, name, wrong, "export it as ONNX")
    module = _load(torch, path)
    _check(path, _inlined(module, path))
    return module


def import_torch(path: Path) -> Any:
    """Return PyTorch with one thread.

    Raises:
        InputError: it is not installed.
    """
    try:
        import torch  # noqa: PLC0415  for these formats only
    except ImportError as error:
        raise InputError.at(path, "torch", "PyTorch is not installed", INSTALL) from error
    return torch


def _load(torch: Any, path: Path) -> Any:
    try:
        return torch.jit.load(str(path), map_location="cpu").eval()
    except Exception as error:  # its C++ errors have no common base
        reason = str(error).strip().splitlines()[0]
        raise InputError.at(path, "file", f"is no TorchScript file: {reason}", _EXPORT) from error


def _inlined(module: Any, path: Path) -> Any:
    try:
        return module.inlined_graph
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError.at(path, "forward", f"is missing: {reason}", _EXPORT) from error


def _nodes(block: Any) -> list[Any]:
    """All nodes of a block and of those inside it."""
    found, blocks = [], [block]
    while blocks:
        for node in blocks.pop().nodes():
            found.append(node)
            blocks += list(node.blocks())
    return found


def _check(path: Path, graph: Any) -> None:
    """Refuse what does more than compute, and what a chain of layers cannot hold."""
    nodes = _nodes(graph)
    if len(nodes) > MOST_NODES:
        raise InputError.at(path, "graph", f"{len(nodes)} operators, at most {MOST_NODES}", _EXPORT)
    for node in nodes:
        space, _, op = node.kind().partition("::")
        if space not in {"aten", "prim"} or op in _FORBIDDEN:
            wrong = f"{node.kind()} does more than compute"
            raise InputError.at(path, "forward", wrong, "export it as ONNX")


class _Translator:
    """Makes a neutral graph of a frozen module."""

    def __init__(self, torch: Any, module: Any, path: Path) -> None:
        self._torch, self._module, self._path = torch, module, path
        self._values: dict[str, Any] = {}  # what is known of a value: a number, a list, or its name
        self._constants: dict[str, Any] = {}
        self._nodes: list[Node] = []

    def graph(self) -> Graph:
        """Return the graph.

        Raises:
            InputError: an operator is unknown.
        """
        frozen = self._frozen()
        source = list(frozen.inputs())[1].debugName()
        self._values[source] = source
        for node in frozen.nodes():
            self._take(node)
        outputs = [self._values.get(value.debugName()) for value in frozen.outputs()]
        first = outputs[0][0] if isinstance(outputs[0], list) and outputs[0] else outputs[0]
        if not isinstance(first, str):
            raise refused(self._path, "forward", "answers no tensor", _EXPORT)
        width = self._first_width()
        return Graph(self._nodes, self._constants, source, width, 2, [first])

    def _frozen(self) -> Any:
        for node in _nodes(self._module.inlined_graph):
            op = node.kind().partition("::")[2]
            if op in HELD_BY_NONE and op not in {"if", "loop"}:
                wrong = f"is {HELD_BY_NONE[op]}, which a policy file cannot hold"
                raise refused(self._path, node.kind(), wrong)
        try:
            return self._torch.jit.freeze(self._module).graph
        except Exception as error:
            reason = str(error).strip().splitlines()[0]
            raise refused(self._path, "forward", f"cannot be frozen: {reason}") from error

    def _first_width(self) -> int:
        """The observation's width: what the first thing with a width that it meets takes."""
        for node in self._nodes:
            for name in node.inputs:
                value = self._constants.get(name)
                if value is None or value.size == 1:
                    continue
                if node.op == "linear":
                    return int(value.shape[1])
                if node.op in {"matmul", "gemm"}:
                    return int(value.shape[0] if value.ndim > 1 else value.size)
                if node.op in {"add", "sub", "mul", "div", "clip", "batch_norm", "layer_norm"}:
                    return int(value.size)
        raise refused(self._path, "forward", "has no layer", "give a policy's network")

    def _take(self, node: Any) -> None:
        kind, names = node.kind(), [value.debugName() for value in node.outputs()]
        op = kind.partition("::")[2]
        arguments = [self._values.get(value.debugName()) for value in node.inputs()]
        if op in {"ListUnpack", "TupleUnpack"} and not isinstance(arguments[0], list):
            self._unpack(node, names)
        elif kind.startswith("prim::") or op in _SCALARS:
            self._structure(node, op, arguments, names)
        else:
            self._operator(kind, op, arguments, names)

    def _structure(self, node: Any, op: str, arguments: list[Any], names: list[str]) -> None:
        """What makes no tensor: constants, lists, numbers of shapes."""
        if op == "Constant":
            self._values[names[0]] = self._constant(node, names[0])
        elif op in {"ListConstruct", "TupleConstruct"}:
            self._values[names[0]] = arguments
        elif op in {"ListUnpack", "TupleUnpack"}:
            self._values.update(zip(names, arguments[0], strict=False))
        elif op in _SCALARS:
            self._values[names[0]] = arguments[0] if op != "dim" else 2
        elif op != "Print":
            held = HELD_BY_NONE.get(op.lower())
            wrong = f"is {held}, which a policy file cannot hold" if held else "is not known here"
            raise refused(self._path, node.kind(), wrong)

    def _operator(self, kind: str, op: str, arguments: list[Any], names: list[str]) -> None:
        make = OPERATORS.get(op)
        if make is None:
            raise refused(self._path, kind, "is an operator that is not known here")
        try:
            self._nodes.append(make(Call(op, arguments, names, self._fixed, 2)))
        except (ValueError, TypeError) as error:
            raise refused(self._path, kind, str(error)) from error
        for name in names:
            self._values[name] = name

    def _unpack(self, node: Any, names: list[str]) -> None:
        """A list that an operator has made: its parts are the operator's outputs."""
        listed = next(iter(node.inputs())).debugName()
        last = self._nodes[-1]
        if last.outputs != (listed,):
            raise refused(self._path, node.kind(), "of a list that is not known here")
        self._nodes[-1] = last._replace(outputs=tuple(names))
        if "sizes" in last.attributes and len(last.attributes["sizes"]) == 1:
            sizes = last.attributes["sizes"] * len(names)
            self._nodes[-1] = self._nodes[-1]._replace(
                attributes={**last.attributes, "sizes": sizes}
            )
        self._values.update(zip(names, names, strict=True))

    def _constant(self, node: Any, name: str) -> Any:
        if not node.hasAttribute("value"):
            return None
        kind = node.kindOf("value")
        if kind == "t":
            self._constants[name] = node.t("value").detach().to("cpu").double().numpy()
            return name
        if kind in {"i", "f", "s"}:
            return getattr(node, kind)("value")
        if kind in {"is", "fs"}:
            return list(getattr(node, kind)("value"))
        if kind == "ival":
            value = node.ival("value")
            return list(value) if isinstance(value, (list, tuple)) else value
        return None

    def _fixed(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        name = f"number_{len(self._constants)}"
        self._constants[name] = constant(value)
        return name
