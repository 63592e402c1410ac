"""The policy node without ROS: one artifact, its ready backends, and one answer at a time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.backends import (
    BACKENDS,
    Backend,
    BackendError,
    Watched,
    check_golden,
    create_backend,
)
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.nodes.serving.record import Record
from qpolicy_ros.nodes.serving.robot_clock import RobotClock
from qpolicy_ros.nodes.serving.safety import ActionGuard, ObservationReader
from qpolicy_ros.policy import ObservationError, PolicyArtifact, PolicyError
from qpolicy_ros.policy.model import Float32
from qpolicy_ros.policy.seen import OFF, Supervisor, make_supervisor

_WARM_UP_CALLS = 200  # caches, allocator and branch predictors; a few milliseconds


class PolicyServer:
    """Answers observations with one of several ready backends.

    Args:
        artifact: the policy.
        backend: name of the backend that serves first.
        preload: names of the backends to build and check now; ``backend`` always is.
        options: options of each backend by its name.
        rate_limit: actuator units a second, 0 = off.
        clock: the robot's time, ns, in which the rate limit counts.
        library: the hot path's C part, None where it is not there.
        record: where to say what was refused.

    Attributes:
        artifact: the policy.
        clock: as given.
        supervisor: looks for codes that were never seen; None where it is off.
        ready: the backends that can be swapped in.
        failed: why each other preloaded backend could not be built.
        record: as given, else one of its own.
        started_ns, inferred_ns: monotonic times around the last backend call, ns.
        quantise_ns: part of it spent on the input, ns.
        computed: the last action before limits cut it, float32 (m,).

    Raises:
        PolicyError, BackendError: ``backend`` cannot be built or fails its golden vectors.
    """

    def __init__(
        self,
        artifact: PolicyArtifact,
        backend: str,
        preload: Sequence[str] = (),
        options: Mapping[str, Mapping[str, Any]] | None = None,
        rate_limit: float = 0.0,
        clock: RobotClock | Callable[[], int] = time.monotonic_ns,
        library: Any = None,
        record: Record | None = None,
    ) -> None:
        self.artifact = artifact
        self.ready: dict[str, Backend] = {}
        self.failed: dict[str, str] = {}
        self.record = record if record is not None else Record()
        self.record.load()
        self._deadline_ns = 0
        self.computed = artifact.contract.default
        self.started_ns = self.inferred_ns = self.quantise_ns = 0
        self.clock = clock
        self._library = library
        self.guard = ActionGuard(artifact.contract, rate_limit, clock, library)
        self._reader = ObservationReader(artifact.contract)
        self.supervisor: Supervisor | None = None
        self._supervise = (OFF, "")
        options = options or {}
        check_known(backend)
        for name in preload:
            check_known(name)
        try:
            self._backend = self.ready[backend] = build(backend, artifact, options)
            for name in preload:
                if name not in self.ready:
                    self._preload(name, options)
        except BaseException:
            self.close()
            raise

    @property
    def backend(self) -> str:
        """Name of the backend that serves."""
        return self._backend.name

    def check_ready(self, name: str) -> None:
        """Raise PolicyError, with the reason, unless ``name`` can be swapped in at once."""
        check_known(name)
        remedy = f"ready: {', '.join(self.ready)}"
        if name not in self.ready:
            reason = self.failed.get(name, "it is not in `preload`")
            raise PolicyError.at("", "backend", f"{name!r} is not ready: {reason}", remedy)
        trouble = self.ready[name].trouble
        if trouble:
            raise PolicyError.at("", "backend", f"{name!r} is not ready: {trouble}", remedy)

    def check_option(self, name: str) -> None:
        """Raise PolicyError if ``name`` is an option of a backend that has been built already."""
        backend = name.partition(".")[0]
        if backend in self.ready:
            wrong = f"backend {backend!r} is ready and keeps what it was built with"
            raise PolicyError.at("", name, wrong, "clean the node up, set it, configure again")

    def swap(self, name: str) -> None:
        """Serve with ``name`` from the next observation on; PolicyError as in check_ready."""
        self.check_ready(name)
        self._backend = self.ready[name]

    def set_deadline(self, seconds: float) -> None:
        """Refuse an action that takes a backend longer than this, 0 = take any."""
        self._deadline_ns = round(seconds * 1e9)

    def supervise(self, mode: str, file: str = "") -> None:
        """Count or refuse codes that were never seen; InputError as in ``make_supervisor``."""
        self._set_supervisor(make_supervisor(self.artifact, mode, file))
        self._supervise = (mode, file)
        self._forget()

    def install(self, artifact: PolicyArtifact, built: Mapping[str, Backend]) -> None:
        """Serve ``artifact`` of the same contract with ``built`` from the next observation on.

        Backends of another policy go; of the same one, those of the same names are replaced.

        Raises:
            InputError: unseen codes are to be refused, and nothing says which were seen.
        """
        name = self.backend
        old = dict(self.ready)
        if artifact.function_hash != self.artifact.function_hash:
            # Other codes: those beside the new policy.
            self._set_supervisor(make_supervisor(artifact, self._supervise[0]))
        if artifact.function_hash != self.artifact.function_hash:
            self.ready.clear()
            self.failed.clear()
        self.artifact = artifact
        for new, backend in built.items():
            self.ready[new] = backend
            self.failed.pop(new, None)
        self._backend = self.ready[name]
        self._forget()
        for backend in old.values():
            if backend not in self.ready.values():
                backend.close()

    def answer(self, message: Any) -> Float32:
        """Return the action float32 (m,) within its limits for a ``JointState``.

        Args:
            message: one name a value in any order, or no names for the contract's order; its
                positions are the observation's values.

        Raises:
            ObservationError: the observation is refused; ``record`` has counted it.
            BackendError: as in ``act``.
        """
        try:
            observation = self._reader.take(message)
        except ObservationError as error:
            self.record.refuse(error.reason, self._named(error))
            raise
        return self.act(observation)

    def act(self, observation: Float32) -> Float32:
        """Return the action float32 (m,) for an observation float32 (n,), within its limits.

        Raises:
            ObservationError: a value is not finite; ``record`` has counted it.
            BackendError: the backend failed, its action is not finite, or it took longer than
                the deadline; counted as ``backend`` or ``deadline``.
        """
        self.started_ns = time.monotonic_ns()
        try:
            if self.supervisor is not None:
                self.supervisor.look(observation)
            action = self._backend.act(observation)
            self.inferred_ns = time.monotonic_ns()
            inside = self.guard.is_inside(action)
            if not inside:
                self._check_finite(action)
        except ObservationError as error:
            self.record.refuse(error.reason, self._named(error))
            raise
        except Exception as error:
            kind = "" if isinstance(error, BackendError) else f"{type(error).__name__}: "
            self.record.refuse("backend", f"{kind}{error}")
            if kind:  # whatever goes wrong in a backend, the robot gets the safe action
                raise BackendError(f"backend {self.backend!r}: {kind}{error}") from error
            raise
        took = self.inferred_ns - self.started_ns
        if 0 < self._deadline_ns < took:
            text = f"backend {self.backend!r} took {took / 1e6:.3g} ms"
            self.record.refuse("deadline", text)
            raise BackendError(text)
        self.quantise_ns = self._backend.quantise_ns
        self.computed = action
        return self.guard.limit(action, inside=inside)

    def watched(self) -> dict[str, object]:
        """What ``/diagnostics`` shall say of codes that were never seen."""
        values = self.supervisor.facts() if self.supervisor is not None else {}
        for name, backend in self.ready.items():
            if isinstance(backend, Watched):
                values |= backend.facts()
                ours = self.supervisor.ranges if self.supervisor is not None else 0
                if ours and backend.ranges not in {0, ours}:
                    values[f"{name}.ranges"] = "other ranges than the node's: generate it again"
        return values

    def _forget(self) -> None:
        """Let backends count from now on: golden vectors and warm-up were among what they saw."""
        for backend in self.ready.values():
            if isinstance(backend, Watched):
                with contextlib.suppress(BackendError):  # an accelerator that is lost begins anew
                    backend.forget()

    def _set_supervisor(self, supervisor: Supervisor | None) -> None:
        if supervisor is not None and self._library is not None:
            supervisor.inside = self._library.inside
        self.supervisor = supervisor

    def close(self) -> None:
        """Close every backend."""
        for backend in self.ready.values():
            backend.close()
        self.ready.clear()

    def _preload(self, name: str, options: Mapping[str, Mapping[str, Any]]) -> None:
        try:
            self.ready[name] = build(name, self.artifact, options)
        except (InputError, BackendError) as error:
            self.failed[name] = str(error)

    def _check_finite(self, action: npt.NDArray[np.float32]) -> None:
        if not np.isfinite(action).all():
            raise BackendError(f"backend {self.backend!r}: action {action.tolist()} is not finite")

    def _named(self, error: ObservationError) -> str:
        """Text of ``error`` with the name of the value beside its index."""
        if error.index < 0:
            return str(error)
        return f"{error} ({self.artifact.contract.observation[error.index].name})"


def check_known(backend: str) -> None:
    """Raise PolicyError unless a backend of this name exists."""
    if backend not in BACKENDS:
        remedy = f"choose one of {', '.join(BACKENDS)}"
        raise PolicyError.at("", "backend", f"{backend!r} is unknown", remedy)


def build(name: str, artifact: PolicyArtifact, options: Mapping[str, Mapping[str, Any]]) -> Backend:
    """Build a backend, compare it with the golden vectors and warm it up.

    Raises:
        PolicyError, BackendError: it cannot be built, or answers otherwise.
    """
    backend = create_backend(name, artifact, options.get(name, {}))
    try:
        check_golden(backend, artifact)
        observation = artifact.golden.observations[0]
        for _ in range(_WARM_UP_CALLS):
            backend.act(observation)
    except BaseException:
        backend.close()
        raise
    return backend
