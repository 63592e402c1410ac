"""Sign a policy file, so that a robot takes it from nobody else; or check a signature.

The signature, Ed25519 over the file's bytes, is written beside the policy as `<policy>.sig`. The
node's parameter `trusted_keys` names the public keys that it accepts (docs/signing.md).
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from qpolicy_ros.cli.arguments import PolicyName
from qpolicy_ros.common.errors import UsageError
from qpolicy_ros.policy import find_policy, load_policy

_OTHERS = 0o077


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy sign`."""

    policy: PolicyName
    """Policy file, or a shipped policy's name: `hopper` (its `paper` one) or `hopper/fp32`."""
    key: Path | None = None
    """Ed25519 private key, PEM or OpenSSH (`openssl genpkey -algorithm ed25519 -out robot.key`);
    its password, if it has one, in $QPOLICY_KEY_PASSWORD. Keep it off the robot."""
    check: Path | None = None
    """Instead of signing: a public key, one that must have signed the policy."""
    json: bool = False
    """Print one JSON object on standard output."""


def main(args: Args) -> int:
    """Sign or check, and print what was done.

    Raises:
        PolicyError, InputError: no policy, no key, or a signature that is not the key's.
    """
    if (args.key is None) == (args.check is None):
        raise UsageError("--key: give --key to sign, or --check with a public key to check")
    from qpolicy_ros.policy.signing import (  # noqa: PLC0415  an extra
        TrustedKeys,
        sign_file,
        signature_path,
    )

    file = find_policy(args.policy)
    if args.check is not None:
        artifact = load_policy(file, TrustedKeys([args.check]))
        signature, done = signature_path(file), "is signed by"
        key = args.check
    else:
        assert args.key is not None
        key = args.key
        artifact = load_policy(file)
        _warn(key)
        signature, done = sign_file(file, key), "signed with"
    facts = {
        "policy": str(file),
        "signature": str(signature),
        "key": str(key),
        "file_hash": artifact.file_hash,
    }
    print(json.dumps(facts) if args.json else f"{file} {done} {key}: {signature.name}")
    return 0


def _warn(key: Path) -> None:
    """Say so where others can read a private key."""
    if key.is_file() and key.stat().st_mode & _OTHERS:
        print(f"note: {key} can be read by others; chmod 600 it", file=sys.stderr)
