"""Nodes in this process, spun by an executor of the hot path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from qpolicy_ros.nodes.rcl.compile import CompileError
from qpolicy_ros.nodes.rcl.library import load


@pytest.fixture(scope="session")
def library() -> Any:
    try:
        return load()
    except CompileError as error:
        pytest.skip(str(error))


@pytest.fixture
def context(place) -> Iterator[rclpy.Context]:
    found = rclpy.Context()
    rclpy.init(
        context=found, domain_id=place.domain, signal_handler_options=SignalHandlerOptions.NO
    )
    yield found
    rclpy.shutdown(context=found)


@pytest.fixture
def make_node(context, place) -> Iterator[Callable[[str], Node]]:
    made: list[Node] = []

    def make(name: str) -> Node:
        made.append(rclpy.create_node(name, context=context, namespace=place.namespace))
        return made[-1]

    yield make
    for node in made:
        node.destroy_node()
