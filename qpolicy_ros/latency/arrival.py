"""In what order the messages of a recording arrived, and where a clock was set meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Nanos = npt.NDArray[np.int64]

_LASTING = 10  # messages that are earlier than the one before them once a clock was set back


def arrival(topics: dict[str, tuple[Nanos, Nanos, Nanos]]) -> dict[str, Nanos]:
    """Return the order of arrival of all messages, by topic.

    A recorder writes in that order, so the order in the file is it. But tools sort and merge bags
    topic by topic: where no clock was set back, times are the order.

    Args:
        topics: for each its messages' places in the file, times of arrival and of sending.
    """
    if any(set_back(log[np.argsort(places)]) for places, log, _ in topics.values()) or not topics:
        return {topic: places for topic, (places, _, _) in topics.items()}
    all_places = np.concatenate([places for places, _, _ in topics.values()])
    all_log = np.concatenate([_handed_over(*each) for each in topics.values()])
    rank = np.empty(len(all_places), np.int64)
    rank[np.lexsort((all_places, all_log))] = np.arange(len(all_places))
    ends = np.cumsum([len(places) for places, _, _ in topics.values()])[:-1]
    return dict(zip(topics, np.split(rank, ends), strict=True))


def times_of_sending(log: Nanos, publish: Sequence[int]) -> Nanos:
    """Return when messages were sent; where the recorder did not write that, when they arrived."""
    sent = np.array(publish, np.int64)
    return sent if len(sent) == len(log) and sent.any() else log


def _handed_over(places: Nanos, log: Nanos, sent: Nanos) -> Nanos:
    """Return when each message of a topic was handed to the recorder.

    DDS repairs what was lost and holds what came meanwhile: that arrived earlier, and comes later.
    Such a topic is in the order of sending in the file, and not by the times of arrival.
    """
    order = np.argsort(places)
    if (np.diff(log[order]) >= 0).all() or (np.diff(sent[order]) < 0).any():
        return log
    late = np.empty_like(log)
    late[order] = np.maximum.accumulate(log[order])
    return late


def set_back(times: Nanos) -> list[int]:
    """Return where a clock was set back, by the times of one topic in the order of arrival.

    A message or two out of order are the work of a recorder with several threads.
    """
    found = []
    for index in map(int, np.flatnonzero(np.diff(times) < 0) + 1):
        after = times[index : index + _LASTING]
        if len(after) == _LASTING and (after < times[index - 1]).all():
            found.append(index)
    return found
