"""What a policy node has answered, and why it gave no action: one record, written here alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Record:
    """What happened since the node started; everybody reads it, its methods alone write it.

    Attributes:
        answered: actions of the policy sent.
        repeated: observations that came twice and got the same answer.
        stale: times that the observations stopped.
        late: answers that took longer than a control period.
        deadline_missed: deadlines that DDS found missed.
        no_action: ticks and observations without an action of the policy, by reason.
        refused: observations and actions refused since the policy was loaded, by reason.
        reason: of the last refusal, in one word; empty before the first.
        last_reason: why there was no action the last time, a sentence behind the word.
        is_stale: whether nothing usable comes at the moment.
    """

    answered: int = 0
    repeated: int = 0
    stale: int = 0
    late: int = 0
    deadline_missed: int = 0
    no_action: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    reason: str = ""
    last_reason: str = ""
    is_stale: bool = False

    def load(self) -> None:
        """Another policy is there: what was refused is the one's before."""
        self.refused.clear()
        self.reason = self.last_reason = ""

    def activate(self) -> None:
        """Serving begins."""
        self.is_stale = False

    def start(self) -> None:
        """The robot leaves standby, and what was wrong is mended."""
        self.is_stale = False
        self.last_reason = ""

    def answer(self, *, late: bool) -> None:
        """Count an action that was sent."""
        self.answered += 1
        self.late += late

    def recover(self) -> None:
        """A usable observation has come."""
        self.is_stale = False

    def repeat(self) -> None:
        """Count an observation that came twice."""
        self.repeated += 1

    def refuse(self, reason: str, text: str) -> None:
        """Count an observation or an action that is not taken, and say why."""
        self.refused[reason] += 1
        self.reason = reason
        self.explain(reason, text)

    def idle(self, reason: str, text: str = "") -> None:
        """Count a tick or an observation without an action of the policy."""
        self.no_action[reason] += 1
        if text:
            self.explain(reason, text)

    def explain(self, reason: str, text: str) -> None:
        """Say why there is no action of the policy from now on."""
        self.last_reason = f"{reason}: {text}"

    def stop_coming(self, reason: str, text: str) -> None:
        """Count that the observations have stopped, and say so."""
        self.stale += 1
        self.is_stale = True
        self.explain(reason, text)

    def miss(self, deadlines: int) -> None:
        """Count deadlines that DDS found missed."""
        self.deadline_missed += deadlines
