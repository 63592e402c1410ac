"""Prove that torch, integer software and generated hardware compute the same bits; certify it.

Five parts: accumulator bounds, every neuron, formal proofs, the whole chain, closed-loop returns; a
sixth, what was placed and routed, with --build.
The certificate (JSON and Markdown) is written beside the policy. An interrupted run goes on where
it stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from qpolicy_ros.common.errors import UsageError
from qpolicy_ros.common.files import make_folder
from qpolicy_ros.policy import PolicyError, find_policy, load_policy, policy_folders

_MOST_FRAMES = 1_000_000_000


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy verify`."""

    policies: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Task names (hopper), task/variant or files. None: every shipped policy with integers."""
    quick: bool = False
    """Parts 1 and 2 and a sample of 4, compared with the certificate beside the policy; writes
    nothing."""
    rtl: Path | None = None
    """Folder that `qpolicy fpga generate` wrote; by default it is generated for the xc7a15t."""
    build: Path | None = None
    """Folder that `qpolicy fpga build` wrote: its Verilog is what is verified, and so are its
    routed netlist and, for an iCE40, the bitstream read back."""
    core_frames: int = 1_000_000
    """Observations through the simulated core, and a tenth of them, at most 10000, through the
    core behind each wrapper; a certificate says if they were fewer."""
    properties: tuple[Path, ...] = ()
    """Property files, or folders of them, that the certificate shall hold as proven; at most 60 s
    of processor time each."""
    out: Path | None = None
    """Folder for the certificates, instead of beside the policies; needed where --rtl, --build or
    --core-frames would replace a certificate of the whole."""
    json: bool = False
    """Print one JSON object on standard output."""


def main(args: Args) -> int:
    """Verify, print a summary; 1 if a part failed.

    Raises:
        PolicyError, UsageError: a wrong argument, or a policy that cannot be verified at all.
    """
    if not 1 <= args.core_frames <= _MOST_FRAMES:
        raise UsageError(f"--core-frames: {args.core_frames}; give 1 to {_MOST_FRAMES}")
    policies = args.policies or tuple(shipped())
    _check_belongings(args, policies)
    if args.out is not None:
        make_folder(args.out)
    elif not args.quick:
        _keep_certificates(args, policies)
    from qpolicy_ros.verify import certificate  # noqa: PLC0415  `--help` needs no generator
    from qpolicy_ros.verify.run import Request, dumps, summary, verify  # noqa: PLC0415  as above

    results = []
    for policy in policies:
        request = Request(
            policy, args.quick, args.rtl, args.core_frames, args.build, args.properties
        )
        result, file = verify(request)
        results.append(result)
        if not args.quick:
            certificate.save(result, certificate.certificate_path(file, args.out))
        if not args.json:
            print(summary(result), flush=True)
    if args.json:
        print(dumps(results))
    return 0 if all(result["passed"] for result in results) else 1


def _check_belongings(args: Args, policies: Sequence[str]) -> None:
    """Refuse what belongs to one policy, where several are verified.

    Raises:
        UsageError: that is so, or two folders of hardware are given.
    """
    for flag, given in (
        ("--build", args.build),
        ("--rtl", args.rtl),
        ("--properties", args.properties),
    ):
        if given and len(policies) != 1:
            raise UsageError(f"{flag}: {given} belongs to one policy; name that policy")
    if args.build is not None and args.rtl is not None:
        raise UsageError(f"--build: {args.build} is other hardware than --rtl {args.rtl}; give one")


def _keep_certificates(args: Args, policies: Sequence[str]) -> None:
    """Refuse, before hours are spent, what could not be written or would say less than there is.

    Raises:
        UsageError: a certificate would be replaced by one of other hardware or fewer observations.
        PolicyError: a policy is not there, or its folder cannot be written.
    """
    from qpolicy_ros.verify.certificate import certificate_path  # noqa: PLC0415  as in main

    flag = "--build" if args.build is not None else "--rtl" if args.rtl is not None else ""
    if args.core_frames < Args.core_frames:
        flag = "--core-frames"
    for policy in policies:
        path = certificate_path(find_policy(policy))
        make_folder(path.parent)
        if flag and path.is_file():
            wrong = f"{flag}: {path} has more to say and would be replaced"
            raise UsageError(f"{wrong}; give --out, a folder for the other certificate")


def shipped() -> list[str]:
    """Files of all shipped policies that hold an integer network, the first of each name.

    Raises:
        PolicyError: there is none.
    """
    found: dict[tuple[str, str], str] = {}
    for folder in policy_folders():
        for file in sorted(folder.glob("*/*.safetensors")):
            if "." not in file.stem and load_policy(file).network is not None:
                found.setdefault((file.parent.name, file.stem), str(file))
    if not found:
        remedy = "name a policy, or set $QPOLICY_POLICIES to a folder of policies"
        raise PolicyError.at("", "policy", "no policy with an integer network is shipped", remedy)
    return list(found.values())
