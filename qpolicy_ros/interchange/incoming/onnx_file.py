"""ONNX files, opset 7 to today's: read with bounds, run by ONNX Runtime."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.interchange.incoming.graph import (
    HELD_BY_NONE,
    MOST_BYTES,
    MOST_NODES,
    Graph,
    Incoming,
    Node,
    refused,
)
from qpolicy_ros.interchange.incoming.onnx_run import EXPORT, INSTALL, onnx_runner
from qpolicy_ros.interchange.incoming.reduce import Reducer

FIRST_OPSET = 7
_DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
# What protobuf's fields raise where a file has other types in them than the format says.
_DAMAGED = (TypeError, ValueError, AttributeError, IndexError, KeyError, OverflowError)
_MEANS = ("action", "mean", "mu", "loc", "deterministic")
_SPREADS = ("std", "sigma", "var", "scale", "value", "critic", "state", "hidden")


def read_onnx(path: Path, output: str = "", *, parts: Sequence[str] = ()) -> Incoming:
    """Read an ONNX file with what lies beside it.

    Args:
        path: of the file.
        output: which output is the action; empty where its name says it.
        parts: inputs that make the observation, side by side in this order; empty: there is one.

    Raises:
        InputError: no ONNX file, too large, several inputs, a width that is not fixed, an operator
            that a policy file cannot hold.
    """
    try:
        return _read(path, output, parts)
    except InputError:
        raise
    except _DAMAGED as error:
        wrong = f"is damaged: {type(error).__name__}: {error}"
        raise InputError.at(path, "graph", wrong, EXPORT) from error


def _read(path: Path, output: str, parts: Sequence[str]) -> Incoming:
    model = load_model(path)
    inputs = _inputs(path, model)
    if parts:
        inputs = _in_order(path, inputs, parts)
    elif len(inputs) != 1:
        names = ", ".join(repr(value.name) for value in inputs)
        recurrent = next((n.op_type for n in model.graph.node if _held(n.op_type)), "")
        also = f" and a {recurrent}" if recurrent else ""
        wrong = f"{len(inputs)} inputs ({names}){also}; a policy has one observation"
        raise refused(path, "graph", wrong, "export it with one vector in")
    sizes = [_width(path, value) for value in inputs]
    chosen, left = _output(path, model, output)
    model.graph.ClearField("quantization_annotation")
    notes = (
        [f"of its outputs {chosen!r} is taken, not {', '.join(map(repr, left))}"] if left else []
    )
    graph = _graph(model, inputs, sizes, chosen)
    width = graph.width
    network = Reducer(graph, path).network(chosen)
    run, runtime = onnx_runner(path, model, inputs, sizes, chosen)
    return Incoming(
        kind="ONNX",
        network=network,
        run=run,
        runtime=runtime,
        width=width,
        outputs=network.outputs,
        notes=notes,
        metadata={entry.key: entry.value for entry in model.metadata_props},
    )


def onnx_metadata(path: Path) -> dict[str, str]:
    """Return the texts that an ONNX file holds beside its graph.

    Raises:
        InputError: no ONNX file, or too large.
    """
    return {entry.key: entry.value for entry in _parsed(path).metadata_props}


def load_model(path: Path) -> Any:
    """Return a parsed file with its weights; its operators are those that ONNX Runtime has.

    Raises:
        InputError: no ONNX file, too large, too old, or with operators of somebody's own.
    """
    model = _parsed(path)
    import onnx  # noqa: PLC0415  parsed already, so it is there

    opset = max((entry.version for entry in model.opset_import if not entry.domain), default=1)
    if opset < FIRST_OPSET:
        wrong = f"opset {opset}, read are {FIRST_OPSET} and newer"
        raise InputError.at(path, "opset", wrong, EXPORT)
    nodes = len(model.graph.node) + sum(len(function.node) for function in model.functions)
    if nodes > MOST_NODES:
        raise InputError.at(path, "graph", f"{nodes} operators, at most {MOST_NODES}", EXPORT)
    if model.functions:
        try:
            from onnx import inliner  # noqa: PLC0415

            model = inliner.inline_local_functions(model)
        except Exception as error:  # onnx raises its own C++ errors
            wrong = f"its functions cannot be put in place: {error}"
            raise InputError.at(path, "graph", wrong, EXPORT) from error
    left = MOST_BYTES - path.stat().st_size
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            left -= _load_external(path, tensor, left)
    _check_operators(path, model)
    return model


def _parsed(path: Path) -> Any:
    size = path.stat().st_size
    if size > MOST_BYTES:
        wrong = f"{size} bytes, at most {MOST_BYTES} are read"
        raise InputError.at(path, "file", wrong, "give a policy's network")
    try:
        import onnx  # noqa: PLC0415  for this format only
        from google.protobuf.message import DecodeError  # noqa: PLC0415
    except ImportError as error:
        raise InputError.at(path, "onnx", "onnx is not installed", INSTALL) from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except (DecodeError, ValueError, RecursionError, MemoryError) as error:
        raise InputError.at(path, "file", f"is no ONNX file: {error}", EXPORT) from error
    if not model.graph.node:
        raise InputError.at(path, "file", "is no ONNX file, or has no operators", EXPORT)
    return model


def _load_external(path: Path, tensor: Any, left: int) -> int:
    """Read a tensor that lies in a file beside; return how many bytes."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    field, place = f"tensor {tensor.name!r}", entries.get("location", "")
    folder = path.resolve().parent
    try:
        file = (folder / place).resolve()
        offset, length = int(entries.get("offset") or 0), int(entries.get("length") or -1)
    except (ValueError, OSError) as error:
        raise InputError.at(path, field, f"its place is damaged: {error}", EXPORT) from error
    if not place or not file.is_relative_to(folder):
        wrong = f"lies in {place!r}, which is not beside the file"
        raise InputError.at(path, field, wrong, "put the files into one folder")
    if not file.is_file():
        wrong = f"lies in {place!r}, which is not there"
        raise InputError.at(path, field, wrong, "put that file beside it")
    size = file.stat().st_size
    length = size - offset if length < 0 else length
    if offset < 0 or offset + length > size:
        wrong = f"bytes {offset} to {offset + length} of {place!r}, which has {size}"
        raise InputError.at(path, field, wrong, "copy that file again")
    if length > left:
        wrong = f"with {place!r} more than {MOST_BYTES} bytes"
        raise InputError.at(path, "file", wrong, "give a policy's network")
    with file.open("rb") as stream:
        stream.seek(offset)
        tensor.raw_data = stream.read(length)
    tensor.data_location = 0
    del tensor.external_data[:]
    return length


def _inputs(path: Path, model: Any) -> list[Any]:
    given = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in given]
    if not inputs:
        raise InputError.at(path, "graph", "has no input", EXPORT)
    return inputs


def _in_order(path: Path, inputs: list[Any], names: Sequence[str]) -> list[Any]:
    """The inputs in the order of ``names``."""
    known = {value.name: value for value in inputs}
    if set(known) != set(names):
        wrong = (
            f"inputs {', '.join(map(repr, known))}, where {', '.join(map(repr, names))} are said"
        )
        raise InputError.at(path, "graph", wrong, EXPORT)
    return [known[name] for name in names]


def _width(path: Path, value: Any) -> tuple[int, int]:
    """How many values the observation has, and how many axes."""
    kind = value.type.tensor_type
    field = f"input {value.name!r}"
    if kind.elem_type not in {1, 10, 11}:
        wrong = f"has elements of type {kind.elem_type}, not floating point"
        raise InputError.at(path, field, wrong, "export it with float32 in")
    axes = [axis.dim_value or axis.dim_param or "?" for axis in kind.shape.dim]
    shown = "[" + ", ".join(map(str, axes)) + "]"
    if not axes or not isinstance(axes[-1], int):
        wrong = f"has the shape {shown}: how many values it has is not fixed"
        raise InputError.at(path, field, wrong, "export it with a fixed width, only the batch free")
    if any(isinstance(axis, int) and axis != 1 for axis in axes[:-1]):
        wrong = f"has the shape {shown}, not one vector of values"
        raise refused(path, field, wrong, "export it for one observation")
    return axes[-1], len(axes)


def _output(path: Path, model: Any, wanted: str) -> tuple[str, list[str]]:
    """Which output is the action, and which are left."""
    names = [value.name for value in model.graph.output]
    if wanted:
        if wanted not in names:
            wrong = f"{wanted!r} is none of its outputs"
            raise InputError.at(path, "--output", wrong, f"known: {', '.join(names)}")
        return wanted, [name for name in names if name != wanted]
    if len(names) == 1:
        return names[0], []
    words = {name: re.split(r"[^a-z]+", name.lower()) for name in names}
    likely = [
        name
        for name in names
        if any(part.startswith(_MEANS) for part in words[name])
        and not any(part in _SPREADS or part.startswith("log") for part in words[name])
    ]
    if len(likely) != 1:
        wrong = f"{len(names)} outputs: {', '.join(map(repr, names))}"
        raise InputError.at(path, "graph", wrong, "say which is the action: --output NAME")
    return likely[0], [name for name in names if name != likely[0]]


def _held(op_type: str) -> str:
    return HELD_BY_NONE.get(_neutral(op_type), "")


def _check_operators(path: Path, model: Any) -> None:
    for node in model.graph.node:
        if node.domain not in _DOMAINS:
            wrong = f"is an operator of {node.domain!r}, which nothing here can run"
            raise refused(path, repr(node.name or node.op_type), wrong, EXPORT)


def _graph(model: Any, inputs: list[Any], sizes: list[tuple[int, int]], output: str) -> Graph:
    from onnx import numpy_helper  # noqa: PLC0415

    constants: dict[str, Any] = {}
    nodes: list[Node] = []
    for tensor in model.graph.initializer:
        constants[tensor.name] = numpy_helper.to_array(tensor)
    for index, node in enumerate(model.graph.node):
        if node.op_type == "Constant":
            constants[node.output[0]] = _constant(node)
            continue
        nodes.append(_node(index, node, constants))
    width, rank = sum(size for size, _ in sizes), sizes[0][1]
    if len(inputs) == 1:
        return Graph(nodes, constants, inputs[0].name, width, rank, [output])
    parts, start = {}, 0
    for value, (size, _) in zip(inputs, sizes, strict=True):
        parts[value.name] = (start, size)
        start += size
    return Graph(nodes, constants, "", width, rank, [output], parts)


def _constant(node: Any) -> Any:
    from onnx import helper, numpy_helper  # noqa: PLC0415

    attribute = node.attribute[0]
    value = helper.get_attribute_value(attribute)
    return numpy_helper.to_array(value) if attribute.name == "value" else np.asarray(value)


def _neutral(op_type: str) -> str:
    """``LeakyRelu`` is ``leaky_relu`` here."""
    special = {"Swish": "silu", "QuickGelu": "quick_gelu", "MatMul": "matmul", "PRelu": "prelu"}
    if op_type in special:
        return special[op_type]
    if op_type.isupper():
        return op_type.lower()
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", op_type).lower()


_RENAMED = {
    "layer_normalization": "layer_norm",
    "batch_normalization": "batch_norm",
    "reciprocal": "reciprocal",
    "p_relu": "prelu",
}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "leaky_relu": {"alpha": 0.01},
    "elu": {"alpha": 1.0},
    "layer_norm": {"epsilon": 1e-5},
    "batch_norm": {"epsilon": 1e-5},
}


def _node(index: int, node: Any, constants: dict[str, Any]) -> Node:
    from onnx import helper  # noqa: PLC0415

    op = _RENAMED.get(_neutral(node.op_type), _neutral(node.op_type))
    attributes = dict(_DEFAULTS.get(op, {}))
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        attributes[attribute.name] = value.decode() if isinstance(value, bytes) else value
    inputs, axis = list(node.input), int(attributes.get("axis", 0))

    def fixed(place: int, key: str) -> Any:
        """An attribute of old opsets that is an input of new ones."""
        if len(inputs) > place and inputs[place]:
            value = constants[inputs[place]]
            return [int(part) for part in np.ravel(value)]
        return attributes.get(key)

    if op == "split":
        attributes["sizes"] = fixed(1, "split")
        inputs = inputs[:1]
    elif op == "slice":
        starts, ends = fixed(1, "starts"), fixed(2, "ends")
        axes, steps = fixed(3, "axes") or [0], fixed(4, "steps") or [1]
        if len(starts) != 1:
            raise ValueError(f"{node.op_type} along {len(starts)} axes")
        attributes |= {"start": starts[0], "stop": ends[0], "step": steps[0]}
        axis, inputs = axes[0], inputs[:1]
    elif op == "gather":
        attributes["index"] = constants.get(inputs[1])
        inputs = inputs[:1]
    elif op in {"squeeze", "unsqueeze", "expand", "flatten", "reduce_mean"}:
        inputs = inputs[:1]
    # Axis 0 of one vector counts as its batch; only a vector without one is split along it.
    attributes["feature_axis"] = axis != 0
    name = node.name or f"{node.op_type}_{index}"
    return Node(op, tuple(inputs), tuple(node.output), attributes, f"{node.op_type} {name}")
