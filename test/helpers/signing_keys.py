"""Key pairs for tests of signed policies."""

from __future__ import annotations

import stat
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519


def write_keys(
    folder: Path, name: str, *, ssh: bool = False, password: bytes = b""
) -> tuple[Path, Path]:
    """A new key pair as two files."""
    private = ed25519.Ed25519PrivateKey.generate()
    secret = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    kind = serialization.PrivateFormat.OpenSSH if ssh else serialization.PrivateFormat.PKCS8
    key, public = folder / f"{name}.key", folder / f"{name}.pub"
    key.write_bytes(private.private_bytes(serialization.Encoding.PEM, kind, secret))
    ways = (
        (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        if ssh
        else (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    public.write_bytes(private.public_key().public_bytes(*ways))
    key.chmod(stat.S_IRUSR | stat.S_IWUSR)
    return key, public
