"""YAML from a stranger: no tag makes an object, and none stops the reading."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.json_files import read_text

MOST_BYTES = 4 << 20
MOST_ALIASES = 10_000
_REMEDY = "give a contract: see docs/own-policy.md"


@dataclass(frozen=True)
class Tagged:
    """What a ``!!python/...`` tag would have made; nothing of it is run.

    Attributes:
        tag: for example ``python/object/apply:builtins.slice``.
        value: what stood behind it.
    """

    tag: str
    value: Any

    @property
    def everything(self) -> bool:
        """Whether it is ``slice(None)``, which Isaac Lab writes for all joints."""
        return self.tag.endswith("builtins.slice") and set(_flat(self.value)) <= {None}


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file (JSON is YAML too).

    Raises:
        InputError: there is none, it is larger than 4 MiB, or no YAML.
    """
    text = read_text(path, "contract", MOST_BYTES, _REMEDY)
    try:
        import yaml  # noqa: PLC0415  for contracts only
    except ImportError as error:
        remedy = "pip install 'qpolicy_ros[import]'"
        raise InputError.at(path, "contract", "pyyaml is not installed", remedy) from error
    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):
        """The safe loader, to which foreign tags are inert."""

    def construct(loader: Any, suffix: str, node: Any) -> Any:
        if isinstance(node, yaml.MappingNode):
            value: Any = loader.construct_mapping(node, deep=True)
        elif isinstance(node, yaml.SequenceNode):
            value = loader.construct_sequence(node, deep=True)
        else:
            value = loader.construct_scalar(node)
        return value if suffix == "python/tuple" else Tagged(suffix, value)

    Loader.add_multi_constructor("tag:yaml.org,2002:", construct)
    Loader.add_multi_constructor("!", construct)
    for kind in ("python/tuple", "python/name", "python/object"):
        Loader.add_multi_constructor(f"tag:yaml.org,2002:{kind}", _named(construct, kind))
    try:
        if text.count("*") > MOST_ALIASES:
            raise InputError.at(path, "contract", "has too many aliases", _REMEDY)
        loader = Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        reason = " ".join(str(error).split())
        raise InputError.at(path, "contract", f"is no YAML: {reason}", _REMEDY) from error


def _named(construct: Any, kind: str) -> Any:
    return lambda loader, suffix, node: construct(loader, kind + suffix, node)


def _flat(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
