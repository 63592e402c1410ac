"""Teachers that no policy file can hold: run by their own runtime, their state kept.

A teacher's file is JSON beside nothing of its own: the contract, and the source with its digest. A
student is distilled from its answers; what it remembers the student has to see as a history.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.common.json_files import read_json
from qpolicy_ros.interchange.incoming.graph import MOST_BYTES
from qpolicy_ros.interchange.incoming.onnx_file import load_model
from qpolicy_ros.interchange.incoming.onnx_run import open_session
from qpolicy_ros.interchange.incoming.torchscript import import_torch, load_checked
from qpolicy_ros.interchange.incoming.zip_files import Zip
from qpolicy_ros.policy import Contract, ObservationError
from qpolicy_ros.policy.contract_rules import check_contract
from qpolicy_ros.policy.layout import contract_fields, parse_contract
from qpolicy_ros.policy.model import Float32
from qpolicy_ros.policy.observation import as_observation, refuse_non_finite

FORMAT = "qpolicy_teacher"
VERSION = 1
_MOST = 16 << 20
_AGAIN = "import it again with `--teacher-only`"
_RESETS = ("reset", "reset_memory", "reset_hidden", "reset_hidden_state")


class Runtime(Protocol):
    """A network that may remember."""

    name: str

    def reset(self) -> None:
        """Forget everything."""

    def run(self, observation: Float32) -> Float32:
        """The outputs ``(m,)`` for an observation ``(n,)``; what it remembers goes on."""


class OpaqueTeacher:
    """A teacher with a contract.

    Args:
        contract: what goes in and out.
        runtime: computes it.
        digest: SHA-256 of the source, which names the teacher.
    """

    def __init__(self, contract: Contract, runtime: Runtime, digest: str) -> None:
        self.contract, self.runtime, self.digest = contract, runtime, digest
        self._scale, self._offset = contract.output_scale, contract.output_offset

    def reset(self) -> None:
        """Forget everything: the next observation is an episode's first."""
        self.runtime.reset()

    def act(self, observation: Any) -> Float32:
        """The action float32 ``(m,)`` for an observation ``(n,)``; what it remembers goes on.

        Raises:
            ObservationError: wrong length, or a value that is not finite.
        """
        values = as_observation(observation, len(self.contract.observation))
        refuse_non_finite(values)
        output = self.runtime.run(values)[: self._scale.size]
        action: Float32 = output * self._scale + self._offset
        if not np.isfinite(action).all():
            raise ObservationError("non_finite", "the teacher's answer is not finite")
        return action

    def act_sequence(self, observations: Any) -> Float32:
        """Actions ``(k, m)`` for an episode's observations ``(k, n)``, from its beginning."""
        self.reset()
        return np.array([self.act(row) for row in observations], np.float32)


def open_runtime(source: Path, output: str = "") -> Runtime:
    """Open a source without looking into its network.

    Raises:
        InputError: neither ONNX nor TorchScript, or its code does more than compute.
    """
    if not source.is_file():
        raise InputError.at(source, "file", "does not exist", "give an ONNX or TorchScript file")
    if source.stat().st_size > MOST_BYTES:
        wrong = f"is larger than {MOST_BYTES} bytes"
        raise InputError.at(source, "file", wrong, "give a policy's network")
    with source.open("rb") as stream:
        head = stream.read(2)
    if head == b"PK":
        return _TorchRuntime(source)
    return _OnnxRuntime(source, output)


def save_teacher(path: Path, contract: Contract, source: Path, output: str = "") -> OpaqueTeacher:
    """Write a teacher's file beside its source, or anywhere; it is tried first.

    Raises:
        InputError: the source cannot be run, or its sizes are not the contract's.
    """
    check_contract(contract, source)
    teacher = _teacher(contract, source, output)
    fields = {
        FORMAT: VERSION,
        "source": str(source.resolve()),
        "sha256": teacher.digest,
        "output": output,
        "contract": contract_fields(contract),
    }
    write_atomically(path, (json.dumps(fields, indent=1) + "\n").encode())
    return teacher


def load_teacher(path: Path) -> OpaqueTeacher:
    """Open a teacher's file.

    Raises:
        InputError: it is none, its source is gone or another one, or cannot be run.
    """
    fields = read_json(path, "teacher", _MOST, _AGAIN)
    if not isinstance(fields, dict) or fields.get(FORMAT) != VERSION:
        raise InputError.at(path, FORMAT, "is missing or of another version", _AGAIN)
    contract = parse_contract(fields.get("contract"), path)
    check_contract(contract, path)
    source = Path(str(fields.get("source")))
    if not source.is_file():
        beside = path.parent / source.name
        source = beside if beside.is_file() else source
    teacher = _teacher(contract, source, str(fields.get("output", "")))
    if teacher.digest != fields.get("sha256"):
        wrong = f"{source.name!r} is not the file that was imported"
        raise InputError.at(path, "sha256", wrong, _AGAIN)
    return teacher


def _teacher(contract: Contract, source: Path, output: str) -> OpaqueTeacher:
    runtime = open_runtime(source, output)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    teacher = OpaqueTeacher(contract, runtime, digest)
    inputs, outputs = len(contract.observation), len(contract.action)
    try:
        answer = runtime.run(np.zeros(inputs, np.float32))
    except Exception as error:  # the runtimes' errors have no common base
        text = str(error).strip().splitlines()[-1]
        wrong = f"cannot take the contract's {inputs} values: {text}"
        raise InputError.at(source, "observation", wrong, "give its own contract") from error
    if answer.size not in {outputs, 2 * outputs}:
        wrong = f"answers {answer.size} values, the contract has {outputs} actions"
        raise InputError.at(source, "action", wrong, "give its own contract")
    teacher.reset()
    return teacher


class _OnnxRuntime:
    """ONNX Runtime; inputs that an output feeds are the state."""

    def __init__(self, source: Path, output: str) -> None:
        self._session, self.name = open_session(source, load_model(source))
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self._observation, states = _observation_of(source, inputs)
        self._state: dict[str, Any] = {}
        self._shapes = {i.name: [d if isinstance(d, int) else 1 for d in i.shape] for i in states}
        answers = [o.name for o in outputs]
        self._feeds = {name: _fed_by(source, name, answers) for name in self._shapes}
        left = [name for name in answers if name not in self._feeds.values()]
        if output and output not in answers:
            wrong = f"{output!r} is none of its outputs"
            raise InputError.at(source, "--output", wrong, f"known: {', '.join(answers)}")
        self._answer = output or left[0]
        self._rank = len(self._observation.shape)
        self.reset()

    def reset(self) -> None:
        self._state = {name: np.zeros(shape, np.float32) for name, shape in self._shapes.items()}

    def run(self, observation: Float32) -> Float32:
        shape = (1,) * (self._rank - 1) + (-1,)
        given = {self._observation.name: observation.reshape(shape), **self._state}
        names = [self._answer, *self._feeds.values()]
        answer, *state = self._session.run(names, given)
        self._state = dict(zip(self._feeds, state, strict=True))
        return np.ravel(answer).astype(np.float32)


def _observation_of(source: Path, inputs: list[Any]) -> tuple[Any, list[Any]]:
    """The observation among the inputs, and the others."""
    likely = [i for i in inputs if re.match(r"(obs|input|x$|state$)", i.name.lower())]
    chosen = inputs[0] if len(inputs) == 1 else likely[0] if len(likely) == 1 else None
    if chosen is None:
        names = ", ".join(repr(i.name) for i in inputs)
        raise InputError.at(
            source, "graph", f"which of {names} is the observation", "name it `obs`"
        )
    return chosen, [i for i in inputs if i is not chosen]


def _fed_by(source: Path, name: str, outputs: list[str]) -> str:
    """The output that a state's input takes at the next step."""
    for old, new in (("in", "out"), ("input", "output"), ("prev", "next"), ("0", "n")):
        other = re.sub(rf"(?<![a-z]){old}(?![a-z])", new, name)
        if other != name and other in outputs:
            return other
    wrong = f"no output feeds the input {name!r}"
    raise InputError.at(source, "graph", wrong, "name the state's input and output `h_in`, `h_out`")


class _TorchRuntime:
    """A TorchScript module, which keeps its state itself."""

    def __init__(self, source: Path) -> None:
        self._torch, self._source = import_torch(source), source
        self._module = load_checked(self._torch, source, Zip(source))
        self.name = f"torch {self._torch.__version__}"

    def reset(self) -> None:
        for name in _RESETS:
            if hasattr(self._module, name):
                getattr(self._module, name)()
                return
        self._module = load_checked(self._torch, self._source, Zip(self._source))

    def run(self, observation: Float32) -> Float32:
        with self._torch.no_grad():
            answer = self._module(self._torch.from_numpy(observation[None].copy()))
        answer = answer[0] if isinstance(answer, (tuple, list)) else answer
        return np.ravel(answer.numpy()).astype(np.float32)
