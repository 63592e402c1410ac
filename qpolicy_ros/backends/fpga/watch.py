"""What a supervisor beside the core has counted, read a little at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qpolicy_ros.backends.base import BackendError
from qpolicy_ros.backends.fpga.device import Device

_GROUP = 32  # flags in a word


class FabricWatch:
    """Counts of codes that were never seen, as the accelerator keeps them.

    They are read in the thread that serves, so each ``read`` asks for few of them: what is missing
    comes with the next. A supervisor that is not there is asked once.

    Args:
        device: the accelerator; its counts are cleared, as its golden vectors are among them.
        names: of the policy's values, in their order.

    Attributes:
        ranges: which ranges the supervisor compares with, 0 where there is none.
        observations: with at least one such code, when it was last asked.
        counts: how often each value had one, ``{number: count}``; those that had none are left out.

    Raises:
        BackendError: the accelerator does not answer.
    """

    def __init__(self, device: Device, names: Sequence[str]) -> None:
        self._device, self._names = device, names
        self.ranges = device.unseen(0).ranges
        self.observations = 0
        self.counts: dict[int, int] = {}
        self._whole = 0  # observations that `counts` is whole for
        self._rest: Iterator[None] | None = None
        self.forget()

    def forget(self) -> None:
        """Clear the counts; BackendError where the accelerator does not answer."""
        if self.ranges:
            self._device.forget()
        self.observations = self._whole = 0
        self.counts, self._rest = {}, None

    def read(self) -> None:
        """Ask for the counts, as many as one report may; BackendError as above."""
        if not self.ranges:
            return
        self.observations = self._device.unseen(0).observations
        if self._rest is None:
            if self.observations == self._whole:
                return
            self._rest = self._values(self.observations)
        done = object()
        for _ in range(self._device.unseen_reads):
            if next(self._rest, done) is done:
                self._rest = None
                return

    def facts(self) -> dict[str, object]:
        """What ``/diagnostics`` shall say; nothing without a supervisor, or while it is away."""
        if not self.ranges:
            return {}
        try:
            self.read()
        except BackendError as error:  # who serves will meet it too, and handles it
            return {"fpga.unseen": f"not known: {error}"}
        values: dict[str, object] = {"fpga.unseen": self.observations}
        for at, count in sorted(self.counts.items()):
            values[f"fpga.unseen.{self._names[at]}"] = count
        return values

    def _values(self, observations: int) -> Iterator[None]:
        """Read the flags, and the count of each value whose flag is set; one reading a step."""
        for first in range(0, len(self._names), _GROUP):
            found = self._device.unseen(first)
            yield
            for bit in range(_GROUP):
                if found.flags >> bit & 1:
                    self.counts[first + bit] = self._device.unseen(first + bit).times
                    yield
        self._whole = observations
