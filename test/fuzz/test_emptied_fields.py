"""Contracts of other tools with each of their fields emptied in turn, or left out."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from qpolicy_ros.common.errors import InputError

# The fuzzer's own seeds and target: a script beside this file.
_SPEC = importlib.util.spec_from_file_location("foreign", Path(__file__).with_name("foreign.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
foreign = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(foreign)

LEFT_OUT = object()
EMPTY = (None, [], {}, "", 0, LEFT_OUT)
TUPLE = b"!!python/tuple "  # our reader takes it, yaml's does not


def _places(node: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a node has fields: keys and indices from the top."""
    within = node.items() if isinstance(node, dict) else ()
    for key, value in enumerate(node) if isinstance(node, list) else within:
        yield (*place, key)
        yield from _places(value, (*place, key))


def _emptied(content: Any) -> Iterator[Any]:
    for place in _places(content):
        for value in EMPTY:
            changed = copy.deepcopy(content)
            node = changed
            for key in place[:-1]:
                node = node[key]
            if value is LEFT_OUT:
                del node[place[-1]]
            else:
                node[place[-1]] = value
            yield changed


@pytest.mark.parametrize("seed", foreign.contract_seeds())
def test_an_empty_field_is_a_named_error_or_no_matter(seed, tmp_path):
    file = tmp_path / "contract.yaml"
    refused = read = 0
    for content in _emptied(yaml.safe_load(seed.replace(TUPLE, b""))):
        file.write_text(yaml.safe_dump(content))
        try:
            foreign.read_any_contract(file)
        except InputError:
            refused += 1
        else:
            read += 1
    assert refused > read > 0
