"""Record what the policy node and the simulator publish into a rosbag2 folder, until Ctrl-C.

The same as the node `bag_recorder`; `qpolicy latency` reads the bag.
"""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy record`."""

    output: str = ""
    """Folder to write, which must not exist; empty is rosbag2_<date>-<time>."""
    namespace: str = ""
    """ROS namespace of the nodes, for example /robot."""


def main(args: Args) -> int:
    """Record until a signal; PolicyError if there can be no such folder or namespace."""
    from qpolicy_ros.nodes import bag_recorder, runtime  # noqa: PLC0415  `--help` needs no ROS

    # JSON's strings are YAML's, which ROS reads.
    arguments = ["--ros-args", "-p", f"output:={json.dumps(args.output)}"]
    if args.namespace:
        arguments += ["-r", f"__ns:={runtime.checked_namespace(args.namespace)}"]
    node = bag_recorder
    return runtime.run(node.BagRecorder, "bag_recorder", node.SUMMARY, node.SPECS, arguments)
