"""Which format a source has, and its reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.interchange.incoming.checkpoints import read_checkpoint
from qpolicy_ros.interchange.incoming.contracts import leapp
from qpolicy_ros.interchange.incoming.contracts.context import Reader
from qpolicy_ros.interchange.incoming.contracts.yaml_file import read_yaml
from qpolicy_ros.interchange.incoming.exported import read_exported
from qpolicy_ros.interchange.incoming.graph import MOST_BYTES, Incoming
from qpolicy_ros.interchange.incoming.npz import read_npz
from qpolicy_ros.interchange.incoming.onnx_file import read_onnx
from qpolicy_ros.interchange.incoming.stable_baselines import read_stable_baselines
from qpolicy_ros.interchange.incoming.torchscript import read_torchscript
from qpolicy_ros.interchange.incoming.zip_files import Zip

FORMATS = (
    "an ONNX file, TorchScript, torch.export, a LEAPP bundle, a Stable-Baselines3 zip, an "
    "rsl_rl or CleanRL checkpoint, or weights in .npz"
)


@dataclass(frozen=True)
class Options:
    """What a source's file may leave open.

    Attributes:
        output: name of the output that is the action.
        activation: of the hidden layers, where the file does not say it.
        normalisation: file with the observations' statistics; empty looks beside the source.
    """

    output: str = ""
    activation: str = ""
    normalisation: str = ""


def read_source(path: Path, options: Options | None = None) -> Incoming:
    """Read a policy of any known format.

    Raises:
        InputError: no file, too large, of no known format, or a network that a policy file cannot
            hold; the text says which layer.
    """
    options = options or Options()
    if path.is_dir() or path.suffix in {".yaml", ".yml"}:
        return _read_bundle(path, options)
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
    if path.suffix == ".safetensors" or (head[8:9] == b"{" and head[4:8] == bytes(4)):
        remedy = "a policy file is served as it is; `qpolicy info` shows it"
        raise InputError.at(path, "file", "is no policy of another tool", remedy)
    if path.suffix.lower() == ".onnx":
        return read_onnx(path, options.output)
    if head[:2] == b"PK":
        return _read_zip(path, options)
    if head[:1] == b"\x80":  # torch.save of old
        return read_checkpoint(path, options.activation)
    if _is_onnx(path):
        return read_onnx(path, options.output)
    raise InputError.at(path, "file", "is of no known format", f"give {FORMATS}")


def _read_bundle(path: Path, options: Options) -> Incoming:
    """A LEAPP bundle: its folder, or the YAML in it."""
    files = [path] if path.is_file() else sorted(path.glob("*.yaml")) if path.is_dir() else []
    if len(files) != 1:
        wrong = (
            "does not exist" if not path.exists() else f"is a folder with {len(files)} YAML files"
        )
        raise InputError.at(path, "file", wrong, f"give {FORMATS}")
    content = read_yaml(files[0])
    if not isinstance(content, Mapping) or not content.keys() >= leapp.KEYS:
        wrong = "is a contract or a configuration, not a policy's network"
        raise InputError.at(files[0], "file", wrong, f"give {FORMATS}")
    bundle = leapp.read_bundle(content, files[0])
    output = options.output or bundle.raw or bundle.target
    incoming = read_onnx(bundle.model, output, parts=bundle.inputs)
    incoming.kind = "LEAPP bundle"
    if bundle.raw and bundle.raw != bundle.target:
        target = read_onnx(bundle.model, bundle.target, parts=bundle.inputs)
        assert incoming.network is not None
        assert target.network is not None
        scale, offset = leapp.relation(target.network, incoming.network, Reader(files[0]))
        bundle = replace(bundle, scale=tuple(scale.tolist()), offset=tuple(offset.tolist()))
    incoming.facts["bundle"] = bundle
    return incoming


def _read_zip(path: Path, options: Options) -> Incoming:
    """Most formats are zip files, told apart by what is in them."""
    archive = Zip(path)
    names = archive.names
    if "data" in names and "policy.pth" in names:
        return read_stable_baselines(path, archive, options.activation, options.normalisation)
    if archive.ending("constants.pkl") and any("/code/" in name for name in names):
        return read_torchscript(path, archive)
    if archive.ending("archive_format"):
        return read_exported(path, archive)
    if names and all(name.endswith(".npy") for name in names):
        return read_npz(path, options.activation)
    if archive.ending("data.pkl"):
        return read_checkpoint(path, options.activation)
    shown = ", ".join(names[:4])
    wrong = f"is a zip file of no known format ({shown})"
    raise InputError.at(path, "file", wrong, f"give {FORMATS}")


def _is_onnx(path: Path) -> bool:
    """Whether a file without ``.onnx`` at its end is one all the same."""
    with path.open("rb") as stream:
        head = stream.read(64)
    # Field 1, the version of the format, is the first of nearly every file.
    return head[:1] == b"\x08" and any(word in head for word in (b"pytorch", b"onnx", b"tf2onnx"))
