"""A node's memory over many ticks, with the backend swapped under them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import rclpy
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.client import Client
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from qpolicy_ros.bench.cases import random_case
from qpolicy_ros.bench.exchange import ECHO, Exchange, exchanges
from qpolicy_ros.bench.report import conditions, describe, write
from qpolicy_ros.common.errors import NodeError
from qpolicy_ros.harness.domains import use_free_domain
from qpolicy_ros.harness.processes import children_end_with_us

Say = Callable[[str], None]

NAME = "ros_soak"
SUBJECT = "policy_node integer"
_CASE = "hopper shape"
_BACKENDS = ["integer", "fp32"]
_SAMPLES = 20  # of the memory
_TICKS_A_SWAP = 1000
_PATIENCE = 30.0  # s for one swap


def run(out: Path, say: Say, ticks: int) -> None:
    """Answer ``ticks`` observations as fast as they come; write what memory the nodes held.

    The policy node's backend is swapped once every thousand ticks.

    Args:
        out: folder to write to.
        say: takes progress.
        ticks: of each node.

    Raises:
        NodeError: a node failed, did not answer, or refused a swap.
    """
    use_free_domain()
    facts = conditions(ticks=ticks)
    rows: list[dict[str, Any]] = []
    nodes = exchanges(random_case(_CASE), _BACKENDS[:1], {"preload": _BACKENDS})
    with children_end_with_us(), nodes as found:
        for key, subject in ((ECHO, ECHO), (_BACKENDS[0], SUBJECT)):
            swaps = ticks // _TICKS_A_SWAP if subject == SUBJECT else 0
            kib = _soak(found[key], ticks, swaps)
            say(f"{subject}: {ticks} ticks, {swaps} swaps, {kib[0]} to {kib[-1]} KiB")
            row = {"bench": NAME, "subject": subject, "ticks": ticks, "swaps": swaps}
            rows.append({**row, "rss_kib": kib})
    write(out, NAME, rows, facts, [*_table(rows), "", *describe(facts)])


def _soak(exchange: Exchange, ticks: int, swaps: int) -> list[int]:
    """Return the node's resident memory, KiB: at the start and after each sample."""
    kib = [exchange.resident_kib()]
    with contextlib.closing(_Swapper(exchange.namespace)) as swapper:
        for sample in range(1, _SAMPLES + 1):
            count = swaps * sample // _SAMPLES - swaps * (sample - 1) // _SAMPLES
            thread = threading.Thread(target=swapper.swap, args=(count,))
            thread.start()
            exchange.flood(ticks // _SAMPLES)
            thread.join()
            swapper.check()
            kib.append(exchange.resident_kib())
    return kib


class _Swapper:
    """Swaps the backend of the node in a namespace, back and forth."""

    def __init__(self, namespace: str) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("qpolicy_swapper", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        name = f"{namespace}/policy_node/set_parameters"
        self._client: Client[Any, Any] = self._node.create_client(SetParameters, name)
        self._count = 0
        self._trouble = ""

    def close(self) -> None:
        """Leave ROS."""
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def swap(self, count: int) -> None:
        """Swap ``count`` times; an even number of swaps ends with the backend of the start."""
        for _ in range(count):
            self._count += 1
            wanted = _BACKENDS[self._count % len(_BACKENDS)]
            value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=wanted)
            request = SetParameters.Request(parameters=[Parameter(name="backend", value=value)])
            self._client.wait_for_service(_PATIENCE)
            answer = self._client.call_async(request)
            self._executor.spin_until_future_complete(answer, _PATIENCE)
            result = answer.result()
            if result is None or not result.results[0].successful:
                why = result.results[0].reason if result else f"no answer for {_PATIENCE:g} s"
                self._trouble = f"swap {self._count} to {wanted}: {why}"
                return

    def check(self) -> None:
        """Raise NodeError if a swap has failed."""
        if self._trouble:
            raise NodeError(self._trouble)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["# Memory of a node over many ticks", "", _HOW.format(samples=_SAMPLES), ""]
    lines += ["| node | ticks | swaps | at the start, KiB | after 5 % | half way | at the end |"]
    lines += ["|---|---:|---:|---:|---:|---:|---:|"]
    for row in rows:
        lines.append(_line(row))
    return lines


def _line(row: Mapping[str, Any]) -> str:
    picked = " | ".join(str(row["rss_kib"][i]) for i in (0, 1, _SAMPLES // 2, _SAMPLES))
    return f"| {row['subject']} | {row['ticks']} | {row['swaps']} | {picked} |"


_HOW = (
    "Resident memory of the process, taken {samples} times while it answers one observation after "
    "the other, as fast as they come. The policy node's backend is swapped once every thousand "
    "ticks meanwhile. One observation without an answer, or one swap refused, would have ended the "
    "run with an error. `qpolicy bench soak --ticks 1000000` writes this page."
)
