"""``~/load``: another backend, or another policy of the same contract, while the old one serves.

A child process builds it first and checks it against the golden vectors: what is wrong comes to
light there, and what takes long (a Verilator build, say) is in a cache afterwards. Then a thread
builds it here, and gives up the interpreter often so that the hot path is not kept waiting.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from qpolicy_ros.backends import Backend, BackendError
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.nodes.serving.server import build
from qpolicy_ros.policy import Contract, PolicyArtifact, PolicyError, load_policy
from qpolicy_ros.policy.signing import TrustedKeys

Built = tuple[PolicyArtifact, dict[str, Backend]]

_SWITCH = 1e-4  # s; the interpreter's own is 5 ms, more than two periods at 500 Hz


class Loading:
    """One load under way; ``done`` is called from its thread.

    Args:
        serving: the policy that serves.
        file: of the policy to load; the serving one's where only a backend is wanted.
        backends: names of the backends to build.
        options: options of each backend by its name.
        done: called once, when ``built`` or ``error`` is there.
        trusted: files of public keys, one of which must have signed the policy; none takes any.

    Attributes:
        built: the policy and its backends, None if it failed.
        error: why it failed.
    """

    def __init__(
        self,
        serving: PolicyArtifact,
        file: str,
        backends: Sequence[str],
        options: Mapping[str, Mapping[str, Any]],
        done: Callable[[], object],
        trusted: Sequence[str] = (),
    ) -> None:
        self._trusted = list(trusted)
        self.built: Built | None = None
        self.error = ""
        self._serving, self._file = serving, file
        self._backends, self._options = list(backends), options
        self._done = done
        self._child: subprocess.Popen[str] | None = None
        self._cancelled = False
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Give up; what has been built already is closed."""
        self._cancelled = True
        if self._child is not None:
            self._child.kill()
        self._thread.join()
        self.discard()

    def discard(self) -> None:
        """Close what was built, as nobody wants it."""
        if self.built is not None:
            for backend in self.built[1].values():
                backend.close()
            self.built = None

    def _run(self) -> None:
        interval = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH)
        try:
            self._rehearse()
            self.built = self._build()
        except (InputError, BackendError) as error:
            self.error = str(error)
        except Exception as error:  # noqa: BLE001  it shall be the answer, not a dead thread
            self.error = f"{type(error).__name__}: {error}"
        finally:
            sys.setswitchinterval(interval)
            self._done()

    def _rehearse(self) -> None:
        request = {"file": self._file, "backends": self._backends, "options": self._options}
        request["trusted"] = self._trusted
        command = [sys.executable, "-m", __name__, json.dumps(request)]
        self._child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        if self._cancelled:
            self._child.kill()
        answer, complaint = self._child.communicate()
        if self._child.returncode:
            lines = complaint.strip().splitlines() or [f"ended with {self._child.returncode}"]
            reason = answer.strip() or f"load: the child process failed: {lines[-1]}"
            raise PolicyError(reason)

    def _build(self) -> Built:
        artifact = self._serving
        if self._file != artifact.path:
            artifact = load_policy(self._file, keys(self._trusted))
            check_contract_equal(artifact, self._serving.contract)
        backends: dict[str, Backend] = {}
        try:
            for name in self._backends:
                backends[name] = build(name, artifact, self._options)
        except BaseException:
            for backend in backends.values():
                backend.close()
            raise
        return artifact, backends


def keys(files: Sequence[str]) -> TrustedKeys | None:
    """The keys in ``files``; None, which takes any policy, where none is named.

    Raises:
        InputError: one of them is no key.
    """
    named = [file for file in files if file]
    return TrustedKeys(named) if named else None


def check_contract_equal(artifact: PolicyArtifact, serving: Contract) -> None:
    """Raise PolicyError unless ``artifact`` takes and gives what the serving policy does."""
    wanted = artifact.contract
    for field in ("task", "observation", "action", "period", "time_limits"):
        if getattr(wanted, field) != getattr(serving, field):
            remedy = "load it through cleanup and configure"
            wrong = "differs from the serving policy's"
            raise PolicyError.at(artifact.path, f"contract.{field}", wrong, remedy)
    assert replace(wanted, env_id=serving.env_id) == serving


def _main(request: str) -> int:
    """Build in a process of its own; the reason of a failure goes to standard output."""
    wanted = json.loads(request)
    try:
        artifact = load_policy(wanted["file"], keys(wanted["trusted"]))
        for name in wanted["backends"]:
            build(name, artifact, wanted["options"]).close()
    except (InputError, BackendError) as error:
        sys.stdout.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))
