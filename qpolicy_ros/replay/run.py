"""From a bag to a verdict, in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.latency.bag import open_bag
from qpolicy_ros.policy import PolicyArtifact
from qpolicy_ros.replay.compare import Verdict, compare
from qpolicy_ros.replay.expected import expect
from qpolicy_ros.replay.recording import read_recording
from qpolicy_ros.replay.replayed import Settings
from qpolicy_ros.replay.ticks import read_ticks

Say = Callable[[str, int, int], None]
"""Told a stage, how much of it is done and how much there is (0 = unknown)."""


def replay(
    bag: Path,
    policies: Sequence[PolicyArtifact],
    settings: Settings | None = None,
    namespace: str = "",
    say: Say = lambda *_: None,
) -> Verdict:
    """Compute every command of a recording again and compare.

    Args:
        bag: rosbag2 folder, .mcap or .db3.
        policies: those that served; one in most cases.
        settings: engine, and what to assume where the recording does not say.
        namespace: of the policy node, needed only where a bag has several.
        say: progress.

    Raises:
        BagError: the bag cannot be read, or is not of these policies.
        PolicyError: the engine does not work here, or the policies' contracts differ.
    """
    contract = policies[0].contract
    for other in policies[1:]:
        if other.contract != contract:
            wrong = f"{other.path} has another contract than {policies[0].path}"
            remedy = "replay policies of different tasks one by one"
            raise InputError.at("", "--policy", wrong, remedy)
    opened = open_bag(bag)
    recording = read_recording(opened, contract, namespace, lambda n: say("reading", n, 0))
    ticks = read_ticks(recording, robot=contract.robot)
    done = 0

    def more(count: int) -> None:
        nonlocal done
        done += count
        say("computing", done, len(ticks.command))

    return compare(expect(recording, ticks, policies, settings or Settings(), more))
