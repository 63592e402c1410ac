"""Pickles read without being run: arrays, numbers, texts, and inert records of all else.

A pickle is a program for a stack machine. Here its instructions are only looked at
(``pickletools`` takes them apart): what would import a name makes a record of the name, what would
call it makes a record of the call, and NumPy's arrays are put together by ourselves. A name that
is not of the few packages whose objects may be inert is refused.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qpolicy_ros.common.errors import InputError

MOST_OPERATIONS = 2_000_000
_INERT = (
    "stable_baselines3.", "sb3_contrib.", "gymnasium.", "gym.", "numpy.", "collections.",
    "torch.", "cloudpickle.", "_codecs.", "copyreg.",
)  # fmt: skip
_NAMES = {"builtins.object", "builtins.dict", "builtins.list", "builtins.tuple", "builtins.set"}
_RUNNERS = {"numpy.load", "numpy.fromfile", "torch.load", "torch.jit.load", "torch.hub.load"}
_DTYPES = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}
_MARK = object()


@dataclass
class Name:
    """Something that a pickle would import."""

    name: str


@dataclass
class Record:
    """Something that a pickle would make: what of, with what, and its state."""

    of: Any
    arguments: Any
    state: Any = None
    items: list[Any] = field(default_factory=list)

    def get(self, name: str) -> Any:
        """An attribute of the object that would be; None where it has none."""
        return self.state.get(name) if isinstance(self.state, dict) else None


@dataclass
class _Type:
    """A NumPy element type."""

    code: str
    order: str = "<"

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type itself."""
        return np.dtype((self.order if self.order in "<>" else "<") + self.code)


class _RefusedError(Exception):
    """A pickle that is not only data."""


def read_pickle(content: bytes, file: object, what: str) -> Any:
    """Return what a pickle holds; nothing of it is run.

    Args:
        content: of the file.
        file: its path, for errors.
        what: it is, for errors.

    Raises:
        InputError: it is damaged, too long, or would run something that is no data.
    """
    remedy = "save the statistics as .npz: mean, var, epsilon, clip"
    try:
        return _Machine().run(content)
    except _RefusedError as error:
        raise InputError.at(file, what, str(error), remedy) from error
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, RecursionError,
            OverflowError, UnicodeError, EOFError, MemoryError) as error:  # fmt: skip
        wrong = f"is a damaged pickle: {type(error).__name__}: {error}"
        raise InputError.at(file, what, wrong, remedy) from error


class _Machine:
    """The stack machine, without imports and calls."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, content: bytes) -> Any:
        """Follow the instructions to the end."""
        for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if count > MOST_OPERATIONS:
                raise _RefusedError(f"has more than {MOST_OPERATIONS} instructions")
            if opcode.name == "STOP":
                return self._stack.pop()
            step = getattr(self, f"_{opcode.name.lower()}", None)
            if step is not None:
                step(argument)
            elif opcode.name in _CONSTANTS:
                self._stack.append(_CONSTANTS[opcode.name]())
            elif opcode.name in _LITERALS:
                self._stack.append(argument)
            elif opcode.name not in {"PROTO", "FRAME"}:
                raise _RefusedError(f"uses {opcode.name}, which is not read here")
        raise ValueError("it has no end")

    def _marked(self) -> list[Any]:
        """What lies above the last mark, taken off with it."""
        at = len(self._stack) - 1 - self._stack[::-1].index(_MARK)
        items = self._stack[at + 1 :]
        del self._stack[at:]
        return items

    # Names and calls

    def _name(self, module: str, name: str) -> Name:
        full = f"{module}.{name}"
        allowed = full in _NAMES or full.startswith(_INERT)
        if not allowed or full in _RUNNERS or name.startswith("_make_function"):
            raise _RefusedError(f"would run {full!r}: it holds code, not data alone")
        return Name(full)

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(self._name(module, name))

    def _stack_global(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise _RefusedError("makes up a name")
        self._stack.append(self._name(module, name))

    def _reduce(self, _: Any) -> None:
        arguments, of = self._stack.pop(), self._stack.pop()
        self._stack.append(_made(of, arguments))

    def _newobj(self, _: Any) -> None:
        arguments, of = self._stack.pop(), self._stack.pop()
        self._stack.append(Record(of, arguments))

    def _newobj_ex(self, _: Any) -> None:
        self._stack.pop()
        self._newobj(None)

    def _build(self, _: Any) -> None:
        state, of = self._stack.pop(), self._stack[-1]
        if isinstance(of, _Type) and isinstance(state, tuple):
            of.order = state[1] if state[1] in ("<", ">", "|", "=") else "<"
        elif isinstance(of, Record):
            array = _array_of(state) if _is(of.of, "numpy.ndarray") else None
            of.state = state if array is None else array
            if array is not None:
                of.items = [array]
        else:
            raise _RefusedError("changes something that is no object")

    # Memory

    def _memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _put(self, argument: int) -> None:
        self._memo[argument] = self._stack[-1]

    _binput = _long_binput = _put

    def _get(self, argument: int) -> None:
        self._stack.append(self._memo[argument])

    _binget = _long_binget = _get

    def _mark(self, _: Any) -> None:
        self._stack.append(_MARK)

    def _pop(self, _: Any) -> None:
        self._stack.pop()

    def _pop_mark(self, _: Any) -> None:
        self._marked()

    def _dup(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    # Containers

    def _tuple(self, _: Any) -> None:
        self._stack.append(tuple(self._marked()))

    def _tuple1(self, _: Any) -> None:
        self._stack[-1:] = [tuple(self._stack[-1:])]

    def _tuple2(self, _: Any) -> None:
        self._stack[-2:] = [tuple(self._stack[-2:])]

    def _tuple3(self, _: Any) -> None:
        self._stack[-3:] = [tuple(self._stack[-3:])]

    def _list(self, _: Any) -> None:
        self._stack.append(self._marked())

    def _frozenset(self, _: Any) -> None:
        self._stack.append(tuple(self._marked()))

    def _dict(self, _: Any) -> None:
        items = self._marked()
        self._stack.append(dict(zip(items[::2], items[1::2], strict=True)))

    def _append(self, _: Any) -> None:
        item = self._stack.pop()
        self._extend([item])

    def _appends(self, _: Any) -> None:
        items = self._marked()
        self._extend(items)

    def _additems(self, _: Any) -> None:
        items = self._marked()
        self._extend(items)

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        (target if isinstance(target, list) else target.items).extend(items)

    def _setitem(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set([key, value])

    def _setitems(self, _: Any) -> None:
        items = self._marked()
        self._set(items)

    def _set(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, Record):
            target.items.extend(zip(items[::2], items[1::2], strict=True))
            return
        target.update(zip(items[::2], items[1::2], strict=True))


_CONSTANTS: dict[str, Any] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": list,
}
_LITERALS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING",
    "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
    "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
}  # fmt: skip


def _is(value: Any, *names: str) -> bool:
    return isinstance(value, Name) and value.name in names


def _made(of: Any, arguments: Any) -> Any:
    """What a call would give: an array, an element type, or a record of the call."""
    if not isinstance(of, (Name, Record)) or not isinstance(arguments, tuple):
        raise _RefusedError("calls something that is no name")
    if _is(of, "numpy.dtype"):
        code = str(arguments[0]).lstrip("<>|=")
        return _Type(code) if code in _DTYPES else Record(of, arguments)
    if _is(of, "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"):
        kind, raw = arguments
        if isinstance(kind, _Type) and isinstance(raw, bytes):
            return np.frombuffer(raw, kind.dtype, 1)[0].item()
    if _is(of, "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"):
        return Record(Name("numpy.ndarray"), arguments)
    if _is(of, "numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"):
        raw, kind, shape = arguments[:3]
        return _array(raw, kind, shape, fortran=arguments[3:] == ("F",))
    if _is(of, "_codecs.encode"):
        text, coding = arguments
        return str(text).encode("latin1") if coding == "latin1" else Record(of, arguments)
    return Record(of, arguments)


def _array_of(state: Any) -> Any:
    _, shape, kind, fortran, raw = state
    return _array(raw, kind, shape, fortran=bool(fortran))


def _array(raw: Any, kind: Any, shape: Any, *, fortran: bool) -> Any:
    if isinstance(raw, str):
        raw = raw.encode("latin1")
    if not isinstance(kind, _Type) or not isinstance(raw, (bytes, bytearray)):
        return None
    values = np.frombuffer(bytes(raw), kind.dtype)
    return values.reshape(shape, order="F" if fortran else "C")


def array(value: Any) -> Any:
    """The array that a value of a pickle is; a number counts as one; None where it is none."""
    if isinstance(value, Record) and isinstance(value.state, np.ndarray):
        return value.state
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return np.asarray(value, np.float64)
    return None
