"""Files of torch.export (``.pt2``): a graph in JSON and raw weights, read by ourselves.

PyTorch's own loader unpickles some of them; this one refuses what is pickled.
"""

from __future__ import annotations

import json
import math
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
from qpolicy_ros.interchange.incoming.torchscript import import_torch
from qpolicy_ros.interchange.incoming.zip_files import Zip
from qpolicy_ros.policy.model import Float32

_EXPORT = "export the policy again"
# torch's own numbering of element types in these files.
_DTYPES = {5: "int64", 4: "int32", 6: "float16", 7: "float32", 8: "float64", 12: "bool"}
_DAMAGED = (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError)


def read_exported(path: Path, archive: Zip) -> Incoming:
    """Read a file of ``torch.export.save``.

    Raises:
        InputError: it is damaged, has a pickled part, or an operator that cannot be held.
    """
    torch = import_torch(path)
    models = archive.ending("models/model.json")
    if len(models) != 1:
        wrong = f"{len(models)} graphs; read are files with one, in JSON"
        raise InputError.at(path, "file", wrong, "export it with a newer PyTorch, or as ONNX")
    try:
        program = json.loads(archive.read(models[0]))["graph_module"]
        reader = _Program(torch, path, archive, program)
        graph = reader.graph()
    except _DAMAGED as error:
        if isinstance(error, InputError):
            raise
        wrong = f"is damaged: {type(error).__name__}: {error}"
        raise InputError.at(path, "models/model.json", wrong, _EXPORT) from error
    network = Reducer(graph, path).network(graph.outputs[0])
    return Incoming(
        kind="torch.export",
        network=network,
        run=reader.run,
        runtime=f"torch {torch.__version__}",
        width=graph.width,
        outputs=network.outputs,
    )


class _Program:
    """An exported program: its graph, and torch's operators on it."""

    def __init__(self, torch: Any, path: Path, archive: Zip, program: dict[str, Any]) -> None:
        self._torch, self._path, self._archive = torch, path, archive
        self._graph, self._signature = program["graph"], program["signature"]
        if len(self._graph["nodes"]) > MOST_NODES:
            wrong = f"{len(self._graph['nodes'])} operators, at most {MOST_NODES}"
            raise InputError.at(path, "graph", wrong, _EXPORT)
        self._tensors: dict[str, Any] = {}
        self._source = self._inputs()
        self._calls = [self._call(node) for node in self._graph["nodes"]]
        outputs = [arg["as_tensor"]["name"] for arg in self._graph["outputs"] if "as_tensor" in arg]
        if not outputs:
            raise refused(path, "graph", "answers no tensor", _EXPORT)
        self._output = outputs[0]

    def graph(self) -> Graph:
        """Return the neutral graph."""
        sizes = self._graph["tensor_values"][self._source]["sizes"]
        width = sizes[-1].get("as_int")
        if not isinstance(width, int):
            wrong = "has a width that is not fixed"
            raise InputError.at(self._path, f"input {self._source!r}", wrong, _EXPORT)
        constants = {name: tensor.double().numpy() for name, tensor in self._tensors.items()}
        nodes: list[Node] = []

        def fixed(value: Any) -> str:
            if isinstance(value, _Name):
                return value.name
            name = f"number_{len(constants)}"
            constants[name] = constant(value)
            return name

        for name, op, arguments, outputs in self._calls:
            make = OPERATORS.get(op)
            if op in HELD_BY_NONE:
                wrong = f"is {HELD_BY_NONE[op]}, which a policy file cannot hold"
                raise refused(self._path, name, wrong)
            if make is None:
                raise refused(self._path, name, "is an operator that is not known here")
            if op == "getitem":
                continue
            try:
                nodes.append(make(Call(op, arguments, outputs, fixed, len(sizes))))
            except (ValueError, TypeError) as error:
                raise refused(self._path, name, str(error)) from error
        return Graph(nodes, constants, self._source, width, len(sizes), [self._output])

    def run(self, observations: Float32) -> Float32:
        """Compute the graph by torch's operators, one observation at a time."""
        torch, rows = self._torch, []
        rank = len(self._graph["tensor_values"][self._source]["sizes"])
        with torch.inference_mode():
            for row in observations:
                shape = (1,) * (rank - 1) + (row.size,)
                values = {**self._tensors, self._source: torch.from_numpy(row.copy()).view(shape)}
                for _, op, arguments, outputs in self._calls:
                    answer = self._answer(op, [_real(argument, values) for argument in arguments])
                    several = isinstance(answer, (list, tuple))
                    values.update(zip(outputs, answer if several else [answer], strict=False))
                rows.append(values[self._output].numpy().ravel())
        return np.array(rows, np.float32)

    def _answer(self, op: str, arguments: list[Any]) -> Any:
        """Run one of torch's operators; its last arguments may go by name only."""
        packet = getattr(self._torch.ops.aten, op)
        schema = getattr(packet, packet.overloads()[0])._schema.arguments  # noqa: SLF001  torch has no other way to it
        named = {
            argument.name: value
            for argument, value in zip(schema, arguments, strict=False)
            if argument.kwarg_only and value is not None
        }
        count = sum(not argument.kwarg_only for argument in schema)
        return packet(*arguments[:count], **named)

    def _inputs(self) -> str:
        """Load the weights; return the name of the observation."""
        sources = []
        for spec in self._signature["input_specs"]:
            ((kind, entry),) = spec.items()
            if kind == "user_input":
                sources.append(entry["arg"]["as_tensor"]["name"])
            elif kind == "parameter":
                self._load("weights", entry["parameter_name"], entry["arg"]["name"])
            elif kind == "buffer":
                folder = "weights" if entry.get("persistent", True) else "constants"
                self._load(folder, entry["buffer_name"], entry["arg"]["name"])
            elif kind == "tensor_constant":
                self._load("constants", entry["tensor_constant_name"], entry["arg"]["name"])
            else:
                raise refused(self._path, "graph", f"an input of kind {kind}", _EXPORT)
        if len(sources) != 1:
            wrong = f"{len(sources)} inputs ({', '.join(sources)}); a policy has one observation"
            raise refused(self._path, "graph", wrong, "export it with one vector in")
        return str(sources[0])

    def _load(self, folder: str, key: str, name: str) -> None:
        kind = "weights" if folder == "weights" else "constants"
        (config,) = self._archive.ending(f"data/{folder}/model_{kind}_config.json")
        entry = json.loads(self._archive.read(config))["config"][key]
        if entry.get("use_pickle"):
            remedy = "export it with a newer PyTorch, or as ONNX"
            raise InputError.at(self._path, key, "is pickled, which is not read here", remedy)
        meta = entry["tensor_meta"]
        shape = [int(size["as_int"]) for size in meta["sizes"]]
        strides = [int(stride["as_int"]) for stride in meta["strides"]]
        (place,) = self._archive.ending(f"data/{folder}/{entry['path_name']}")
        flat = np.frombuffer(self._archive.read(place), _DTYPES[meta["dtype"]])
        start = int(meta["storage_offset"]["as_int"])
        last = start + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        if math.prod(shape) and not (
            0 <= start <= last < flat.size and min(strides, default=1) >= 0
        ):
            raise ValueError(f"{key} reaches beyond its {flat.size} values")
        steps = [stride * flat.itemsize for stride in strides]
        values = np.lib.stride_tricks.as_strided(flat[start:], shape, steps).copy()
        self._tensors[name] = self._torch.from_numpy(values)

    def _call(self, node: dict[str, Any]) -> tuple[str, str, list[Any], list[str]]:
        """Name, operator, arguments in the operator's order, and outputs of a node."""
        target = str(node["target"])
        parts = target.split(".")
        if parts[:3] != ["torch", "ops", "aten"] or parts[3] not in {*OPERATORS, *HELD_BY_NONE}:
            raise refused(self._path, target, "is an operator that is not known here")
        op = parts[3]
        given = {entry["name"]: _argument(entry["arg"]) for entry in node["inputs"]}
        overload = getattr(getattr(self._torch.ops.aten, op), parts[4] if parts[4:] else "default")
        names = [argument.name for argument in overload._schema.arguments]  # noqa: SLF001
        unknown = set(given) - set(names)
        if unknown:
            raise ValueError(f"{target} has no argument {sorted(unknown)}")
        arguments = [given.get(name) for name in names]
        while arguments and arguments[-1] is None:
            arguments.pop()
        defaults = {a.name: a.default_value for a in overload._schema.arguments}  # noqa: SLF001
        arguments = [
            defaults.get(name) if value is None else value
            for name, value in zip(names, arguments, strict=False)
        ]
        outputs = []
        for entry in node["outputs"]:
            for kind, value in entry.items():
                tensors = value if kind == "as_tensors" else [value]
                outputs += [tensor["name"] for tensor in tensors if isinstance(tensor, dict)]
        return target, op, arguments, outputs


class _Name:
    """A tensor's name among an operator's arguments."""

    def __init__(self, name: str) -> None:
        self.name = name


def _argument(entry: dict[str, Any]) -> Any:
    ((kind, value),) = entry.items()
    if kind == "as_tensor":
        return _Name(value["name"])
    if kind == "as_tensors":
        return [_Name(tensor["name"]) for tensor in value]
    if kind == "as_none":
        return None
    if kind == "as_sym_int":
        return value.get("as_int")
    if kind in {"as_int", "as_float", "as_bool", "as_string", "as_ints", "as_floats", "as_bools"}:
        return value
    return None


def _real(argument: Any, values: dict[str, Any]) -> Any:
    if isinstance(argument, _Name):
        return values[argument.name]
    if isinstance(argument, list):
        return [_real(item, values) for item in argument]
    return argument
