"""Two robots in one graph: each status says whose it is."""

from __future__ import annotations

from qpolicy_ros.nodes.diagnostics import OK, diagnostics


def test_a_status_carries_its_node_s_namespace(watcher, place):
    (status,) = diagnostics(watcher.node, "policy", OK, "active", {}).status
    assert status.hardware_id == f"{place.namespace}/watcher"
    assert status.name == f"{place.namespace.lstrip('/')}/watcher: policy"
