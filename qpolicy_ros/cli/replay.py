"""Compute every command of a recording again, and compare bit for bit.

Says equal, or which tick differs first and why: sensor (a message late, missing, implausible),
timing (stale, deadline, executor, a clock that was set), engine (the integer code differs),
contract (another policy, order or scale), safety (limits, rates, ramp, watchdog). Needs no ROS 2.
Exit status: 0 equal, 1 differs, 2 bad input.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tqdm import tqdm

from qpolicy_ros.common.errors import UsageError
from qpolicy_ros.common.files import make_folder, write_atomically
from qpolicy_ros.policy import find_policy, load_policy
from qpolicy_ros.replay.compare import Verdict
from qpolicy_ros.replay.replayed import Settings
from qpolicy_ros.replay.run import replay
from qpolicy_ros.replay.text import figures, render


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy replay`."""

    bag: Annotated[Path, tyro.conf.Positional]
    """Bag: a rosbag2 folder, or a single .mcap or .db3 file."""
    policy: tuple[str, ...] = ()
    """Policy that served: a name such as hopper/paper or a file; several where it was changed."""
    namespace: str = ""
    """Namespace of the policy node; needed only where a bag has several."""
    engine: Literal["auto", "c", "numpy", "c-aarch64", "rtlsim"] = "auto"
    """What computes the answers of integer policies: software (auto, c, numpy), the C header on
    emulated 64-bit ARM, or the simulated core."""
    rate_limit: float | None = None
    """The node's rate limit, actuator units/s, of a bag that does not say it; none = off."""
    any_policy: bool = False
    """Compare although the bag does not say which policy served."""
    out: str = ""
    """Folder for replay.html and replay.json; empty writes none."""
    json: bool = False
    """Print one JSON object on standard output."""


def main(args: Args) -> int:
    """Print the verdict; BagError, PolicyError or UsageError if there is none."""
    if not args.policy:
        raise UsageError("--policy: none given; give the policy that served, as hopper/paper")
    if args.rate_limit is not None and not args.rate_limit >= 0:
        raise UsageError(f"--rate-limit: {args.rate_limit:g} is no rate; give 0 or more")
    if args.out:
        make_folder(Path(args.out))
    policies = [load_policy(find_policy(each)) for each in dict.fromkeys(args.policy)]
    settings = Settings(args.engine, args.rate_limit, args.any_policy)
    with _Bars() as bars:
        verdict = replay(args.bag, policies, settings, args.namespace, bars.show)
    if args.out:
        _write(Path(args.out), verdict)
    print(json.dumps(figures(verdict), allow_nan=False) if args.json else render(verdict))
    return 0 if verdict.equal else 1


class _Bars:
    """Progress on standard error, one bar a stage."""

    def __init__(self) -> None:
        self._stage = ""
        self._bar: Any = None

    def __enter__(self) -> _Bars:  # noqa: PYI034 typing.Self is newer than Python 3.10
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, stage: str, done: int, total: int) -> None:
        """Move the bar of ``stage`` on."""
        if stage != self._stage or self._bar is None:
            self.__exit__()
            unit = " messages" if stage == "reading" else " ticks"
            self._bar = tqdm(
                desc=stage, total=total or None, unit=unit, file=sys.stderr, disable=None
            )
            self._stage = stage
        self._bar.update(done - self._bar.n)


def _write(folder: Path, verdict: Verdict) -> None:
    """Write the page and the figures."""
    from qpolicy_ros.replay.page import page  # noqa: PLC0415  matplotlib, only where it is used

    content = json.dumps(figures(verdict), allow_nan=False, indent=1).encode() + b"\n"
    for name, data in (("replay.json", content), ("replay.html", page(verdict).encode())):
        write_atomically(folder / name, data)
        print(f"{folder / name}", file=sys.stderr)
