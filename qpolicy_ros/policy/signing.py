"""Signatures of policy files: Ed25519 over the file's bytes, in ``<file>.sig`` beside it.

Beside the file and not inside: the file, its two hashes and what reads it stay as they are; a
signature is checked before one byte of the file is parsed; and any tool can make or check it
(``openssl pkeyutl -verify -rawin``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qpolicy_ros.common.errors import InputError, PolicyError
from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.common.json_files import read_text

SUFFIX = ".sig"
SIGNATURE_BYTES = 64
PASSWORD = "QPOLICY_KEY_PASSWORD"  # noqa: S105  the variable's name
_MOST_BYTES = 1 << 16
_NEW = "make one with `openssl genpkey -algorithm ed25519 -out robot.key`"
_PUBLIC = "give the public key, from `openssl pkey -in robot.key -pubout -out robot.pub`"

Check = Callable[[bytes], None]


def signature_path(file: Path) -> Path:
    """Where the signature of ``file`` lies."""
    return file.with_name(file.name + SUFFIX)


def sign_file(file: Path, key: Path) -> Path:
    """Sign a policy file with a private key and return the signature's file.

    Args:
        file: the policy, whatever is in it; load it first.
        key: Ed25519 private key, PEM or OpenSSH; its password in ``$QPOLICY_KEY_PASSWORD``.

    Raises:
        InputError: no key of that kind, a wrong password, or the signature cannot be written.
    """
    private = _private(key)
    target = signature_path(file)
    write_atomically(target, private.sign(file.read_bytes()))
    return target


class TrustedKeys:
    """Public keys of those whose policies are taken.

    Args:
        files: Ed25519 public keys, PEM or OpenSSH, one a file.

    Raises:
        InputError: one of them is none.
    """

    def __init__(self, files: Sequence[str | os.PathLike[str]]) -> None:
        self._files = [Path(file) for file in files]
        self._keys = [_public(file) for file in self._files]

    def check(self, file: Path) -> Check:
        """Return a function that raises PolicyError unless a trusted key signed the bytes."""
        signature = _signature(file)

        def check(content: bytes) -> None:
            from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  as below

            for key in self._keys:
                try:
                    key.verify(signature, content)
                except InvalidSignature:
                    continue
                return
            known = ", ".join(str(path) for path in self._files)
            wrong = f"{signature_path(file).name} is of none of the trusted keys ({known})"
            wrong += ": the file was altered, or somebody else signed it"
            raise PolicyError.at(file, "signature", wrong, "take it from its source, or sign it")

        return check


def _signature(file: Path) -> bytes:
    path = signature_path(file)
    remedy = "sign it with `qpolicy sign`, or set trusted_keys to none"
    try:
        if path.exists() and not path.is_file():  # a pipe would block
            raise PolicyError.at(path, "signature", "is no regular file", remedy)
        with path.open("rb") as stream:
            content = stream.read(SIGNATURE_BYTES + 1)
    except FileNotFoundError:
        wrong = f"the policy is not signed: there is no {path.name} beside it"
        raise PolicyError.at(file, "signature", wrong, remedy) from None
    except OSError as error:
        wrong = f"cannot be read: {error.strerror or error}"
        raise PolicyError.at(path, "signature", wrong, remedy) from error
    if len(content) != SIGNATURE_BYTES:
        wrong = f"{len(content)} bytes or more, an Ed25519 signature has {SIGNATURE_BYTES}"
        raise PolicyError.at(path, "signature", wrong, remedy)
    return content


def _private(path: Path) -> Any:
    """The Ed25519 private key in a file."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  an extra
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PrivateKey as Private,
    )

    text = read_text(path, "key", _MOST_BYTES, _NEW).encode()
    given = os.environ.get(PASSWORD)
    password = given.encode() if given else None
    ssh = b"OPENSSH PRIVATE KEY" in text
    load: Any = serialization.load_ssh_private_key if ssh else serialization.load_pem_private_key
    key = _loaded(lambda: _with_password(load, text, password), path, _NEW)
    if not isinstance(key, Private):
        raise InputError.at(path, "key", "is no Ed25519 private key", _NEW)
    return key


def _with_password(load: Any, text: bytes, password: bytes | None) -> Any:
    """Load a key; a password is left away where the key has none."""
    try:
        return load(text, password=password)
    except TypeError as error:
        if password is None:
            message = f"is encrypted; give its password in ${PASSWORD}"
            raise ValueError(message) from error
        return load(text, password=None)


def _public(path: Path) -> Any:
    """The Ed25519 public key in a file."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  an extra
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PublicKey as Public,
    )

    text = read_text(path, "key", _MOST_BYTES, _PUBLIC).encode()
    if b"PRIVATE KEY" in text:
        raise InputError.at(path, "key", "is a private key, which no robot needs", _PUBLIC)
    load: Any = serialization.load_pem_public_key
    if text.startswith((b"ssh-", b"ecdsa-", b"sk-")):
        load = serialization.load_ssh_public_key
    key = _loaded(lambda: load(text), path, _PUBLIC)
    if not isinstance(key, Public):
        raise InputError.at(path, "key", "is no Ed25519 public key", _PUBLIC)
    return key


def _loaded(load: Callable[[], Any], path: Path, remedy: str) -> Any:
    """What ``load`` returns; whatever the library finds wrong is one line."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  an extra

    try:
        return load()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        reason = str(error).split("\n")[0].split(". ")[0][:120] or type(error).__name__
        raise InputError.at(path, "key", f"is no key: {reason}", remedy) from error
