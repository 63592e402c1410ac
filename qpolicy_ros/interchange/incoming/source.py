"""Which format a source has, and its reader."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.interchange.incoming.graph import MOST_BYTES
from qpolicy_ros.interchange.incoming.onnx_file import read_onnx

if TYPE_CHECKING:
    from qpolicy_ros.interchange.incoming.graph import Incoming

FORMATS = (
    "an ONNX file, TorchScript, torch.export, a Stable-Baselines3 zip, an rsl_rl or CleanRL "
    "checkpoint, or weights in .npz"
)


@dataclass(frozen=True)
class Options:
    """What a source's file may leave open.

    Attributes:
        output: name of the output that is the action.
        activation: of the hidden layers, where the file does not say it.
        normalisation: file with the observations' statistics; empty looks beside the source.
        opaque: the network is not looked into: it is run as it is.
    """

    output: str = ""
    activation: str = ""
    normalisation: str = ""
    opaque: bool = False


def read_source(path: Path, options: Options | None = None) -> Incoming:
    """Read a policy of any known format.

    Raises:
        InputError: no file, too large, of no known format, or a network that a policy file cannot
            hold; the text says which layer.
    """
    options = options or Options()
    if path.is_dir():
        raise InputError.at(path, "file", "is a folder", f"give {FORMATS}")
    if not path.is_file():
        raise InputError.at(path, "file", "does not exist", f"give {FORMATS}")
    size = path.stat().st_size
    if size == 0:
        raise InputError.at(path, "file", "is empty", f"give {FORMATS}")
    if size > MOST_BYTES:
        wrong = f"{size} bytes, at most {MOST_BYTES} are read"
        raise InputError.at(path, "file", wrong, "give a policy's network")
    with path.open("rb") as stream:
        head = stream.read(16)
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        remedy = "a policy file is served as it is; `qpolicy info` shows it"
        raise InputError.at(path, "file", "is no policy of another tool", remedy)
    if path.suffix.lower() == ".onnx":
        return read_onnx(path, options.output, opaque=options.opaque)
    raise InputError.at(path, "file", "is of no known format", f"give {FORMATS}")
