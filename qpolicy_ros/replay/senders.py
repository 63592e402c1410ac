"""Who sent each recorded command, and what the node had reported by then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from qpolicy_ros.latency.arrival import set_back
from qpolicy_ros.latency.trace import Report
from qpolicy_ros.nodes.serving.commanders import policy_node
from qpolicy_ros.replay.sensors import Nanos


def by_others(frames: npt.NDArray[np.str_], reports: Sequence[Report]) -> npt.NDArray[np.bool_]:
    """Return whether somebody else than the policy node sent each command, (k,).

    An own command carries the node's name and process, one of an older node nothing. A restart
    gives another process, one behind the other. Of two at once the one that sends less is foreign.

    Args:
        frames: ``header.frame_id`` of the commands in the order of their arrival (k,).
        reports: the node's statuses, which name it; without any the name that sends most is its.
    """
    found = np.zeros(len(frames), bool)
    senders, first, which, count = np.unique(
        frames, return_index=True, return_inverse=True, return_counts=True
    )
    last = len(frames) - 1 - np.unique(frames[::-1], return_index=True)[1]
    order = np.argsort(-count, kind="stable")
    nodes = [policy_node(str(sender)) for sender in senders]
    named = {report.values.get("hardware_id", "") for report in reports} - {""}
    own = named or set([nodes[index] for index in order if nodes[index]][:1])
    served: list[int] = []
    for index in order:
        if not senders[index]:
            continue
        alone = all(last[index] < first[each] or last[each] < first[index] for each in served)
        if nodes[index] in own and alone:
            served.append(index)
        else:
            found[which == index] = True
    return found


def as_sent(
    reports: Sequence[Report], sent: Mapping[int, int], places: Nanos, times: Nanos
) -> list[Report]:
    """Put the node's reports among its commands in the order in which it sent them.

    One thread of the node sends both, so the times of sending are that order. The middleware
    delivers each topic by itself: where a machine is busy, many commands may arrive behind a
    report that was sent after them.

    Args:
        reports: oldest first.
        sent: when each was sent, ns, by its place.
        places: of the node's own commands, ascending, no two neighbouring numbers, (k,).
        times: when they were sent, ns (k,).
    """
    given = np.array([sent.get(report.place, 0) for report in reports], np.int64)
    if not len(places) or not given.all() or set_back(times) or set_back(given):
        return list(reports)
    behind = np.searchsorted(np.maximum.accumulate(times), given, "right")
    found = []
    for report, index in zip(reports, behind, strict=True):
        low = int(places[index - 1]) if index else report.place - 1
        high = int(places[index]) if index < len(places) else max(low, report.place) + 2
        place = report.place if low < report.place < high else high - 1
        found.append(report._replace(place=place))
    return sorted(found, key=lambda report: report.place)
