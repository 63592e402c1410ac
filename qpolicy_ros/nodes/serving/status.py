"""What ``/diagnostics`` says of a policy node: level, one line for people, figures for tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from qpolicy_ros.nodes import diagnostics
from qpolicy_ros.nodes.serving.loop import Loop
from qpolicy_ros.nodes.serving.modes import INTENDED, Mode
from qpolicy_ros.nodes.serving.record import Record
from qpolicy_ros.nodes.serving.server import PolicyServer

_INTENDED = {reason.value for reason in INTENDED}


class Report(NamedTuple):
    """One message's content."""

    level: bytes
    text: str
    values: dict[str, object]


class Status:
    """Puts the reports together and remembers what the last one said.

    Args:
        record: what happened since the node started.
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self._held = self._slow = 0

    def report(
        self,
        state: str,
        failure: str,
        server: PolicyServer | None,
        loop: Loop | None,
        more: Mapping[str, object],
    ) -> Report:
        """Return the report of this second.

        Args:
            state: of the lifecycle.
            failure: why the last transition failed, empty if it did not.
            server: what is configured, None for nothing.
            loop: what serves, None while nothing does.
            more: further figures.
        """
        record = self._record
        refused = sum(n for name, n in record.no_action.items() if name not in _INTENDED)
        problems = loop.look() if loop is not None else []
        values = {
            "state": state,
            **_of_loop(loop),
            **_of_server(server),
            **{f"no_action.{name}": count for name, count in record.no_action.items()},
            "answered": record.answered,
            "repeated": record.repeated,
            "refused": refused,
            "stale": record.stale,
            "late": record.late,
            "deadline_missed": record.deadline_missed,
            **more,
            **{f"problem.{index}": text for index, text in enumerate(problems, 1)},
        }
        held, slow = refused + record.stale, record.late + record.deadline_missed
        last = record.last_reason if server is not None else ""
        late = f"{record.late} late answers, {record.deadline_missed} missed deadlines"
        # The first that holds is said.
        level, text = next(
            (level, text)
            for holds, level, text in (
                (bool(failure), diagnostics.ERROR, failure),
                (loop is not None and record.is_stale, diagnostics.ERROR, last),
                (values.get("mode") == Mode.SAFE.value, diagnostics.ERROR, values.get("reason")),
                (bool(problems), diagnostics.WARN, "; ".join(problems)),
                (held > self._held, diagnostics.WARN, last),
                (slow > self._slow, diagnostics.WARN, late),
                (True, diagnostics.OK, state),
            )
            if holds
        )
        self._held, self._slow = held, slow
        return Report(level, str(text), values)


def _of_loop(loop: Loop | None) -> dict[str, object]:
    if loop is None:
        return {}
    modes = loop.modes
    values: dict[str, object] = {"mode": modes.mode.value, "waits_for": loop.waits_for()}
    if modes.mode is not Mode.POLICY:
        values["reason"] = f"{modes.reason.value}: {modes.text}"
    return values | loop.facts()


def _of_server(server: PolicyServer | None) -> dict[str, object]:
    if server is None:
        return {}
    return {
        "ready": ", ".join(server.ready),
        **{f"not_ready.{name}": reason for name, reason in server.failed.items()},
        "policy": server.artifact.path,
        "function_hash": server.artifact.function_hash,
        "period_ms": f"{server.artifact.contract.period * 1e3:g}",
        **{f"refused.{name}": count for name, count in server.record.refused.items()},
        "last_reason": server.record.last_reason,
        **server.watched(),
    }
