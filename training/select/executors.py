"""Where jobs run: on processes of this machine, or on a Ray cluster.

Either yields a job's row as soon as it is there, in any order, and starts a job again whose worker
died; it goes on from the last state that it saved.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any, Protocol

from tqdm import tqdm

from qpolicy_ros.common.errors import InputError
from qpolicy_training.select.ledger import Row
from qpolicy_training.select.worker import Job, work

MAX_DEATHS = 3
START = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
# One thread a worker, and no progress bars of its own.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}


class Executor(Protocol):
    """Runs jobs somewhere."""

    def run(self, jobs: Sequence[Job]) -> Iterator[Row]:
        """Yield the row of every job; a job's ``InputError`` is raised."""

    def close(self) -> None:
        """Stop the workers."""


class LocalExecutor:
    """``count`` processes of this machine."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool: ProcessPoolExecutor | None = None
        self._busy = False

    def run(self, jobs: Sequence[Job]) -> Iterator[Row]:
        """Yield rows; raises ``InputError`` where workers die again and again."""
        waiting = list(jobs)
        deaths = 0
        while waiting:
            before = len(waiting)
            yield from self._until_a_death(waiting)
            if waiting:
                deaths = 1 if len(waiting) < before else deaths + 1
                report_death(deaths, waiting)

    def _until_a_death(self, waiting: list[Job]) -> Iterator[Row]:
        """Yield rows and take their jobs off ``waiting`` until all are done or a worker dies."""
        futures = self._submit(waiting)
        self._busy = True
        try:
            for future in as_completed(futures):
                row = future.result()
                waiting.remove(futures[future])
                yield row
        except BrokenProcessPool:
            self._pool = None
        self._busy = False

    def _submit(self, jobs: Sequence[Job]) -> dict[Future[Row], Job]:
        if self._pool is None:
            # Forked from a process that has imported all and done nothing: one that has computed
            # may deadlock, and a fresh one would take seconds to import torch.
            context = multiprocessing.get_context(START)
            if START == "forkserver":
                context.set_forkserver_preload([work.__module__])
            self._pool = ProcessPoolExecutor(
                self._count, context, initializer=_begin, initargs=(dict(os.environ),)
            )
        with _environment():
            return {self._pool.submit(work, job): job for job in jobs}

    def close(self) -> None:
        """Stop the workers, at once if they are at something: it is resumed next time."""
        if self._pool is not None:
            workers = list((self._pool._processes or {}).values())  # noqa: SLF001 no public way
            self._pool.shutdown(wait=not self._busy, cancel_futures=True)
            for worker in workers:
                worker.terminate()
            self._pool = None


class RayExecutor:
    """The workers of a Ray cluster, or of one that Ray starts here.

    Sweep folder and teacher must lie where every node sees them under the same path.
    """

    def __init__(self, address: str | None, count: int) -> None:
        import ray  # noqa: PLC0415 an extra, and slow to import

        self._ray: Any = ray
        try:
            ray.init(
                address=address,
                num_cpus=None if address else count,
                include_dashboard=False,
                log_to_driver=False,
                runtime_env={"env_vars": ENVIRONMENT},
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            message = f"--ray-address: {address}: no Ray cluster answers ({reason})"
            raise InputError(message) from None
        self._work = ray.remote(num_cpus=1, max_retries=0)(work)

    def run(self, jobs: Sequence[Job]) -> Iterator[Row]:
        """Yield rows; raises ``InputError`` where workers die again and again."""
        ray = self._ray
        waiting = {self._work.remote(job): job for job in jobs}
        deaths = 0
        while waiting:
            (reference,), _ = ray.wait(list(waiting), num_returns=1)
            job = waiting.pop(reference)
            try:
                row = ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except ray.exceptions.RayError:  # the worker or its node is gone
                deaths += 1
                report_death(deaths, [job])
                waiting[self._work.remote(job)] = job
                continue
            deaths = 0
            yield row

    def close(self) -> None:
        """Leave the cluster; stop it if it was started here."""
        self._ray.shutdown()


def report_death(deaths: int, jobs: Sequence[Job]) -> None:
    """Say that a worker died; raise ``InputError`` if that happened too often in a row."""
    which = ", ".join(sorted({f"{job.hash} ({job.stage})" for job in jobs})[:3])
    if deaths > MAX_DEATHS:
        message = (
            f"worker: died {deaths} times in a row at one of {which}: killed, or out of memory; "
            "give fewer --jobs, then the same command again: it goes on"
        )
        raise InputError(message)
    tqdm.write(f"a worker died; going on with {which}", file=sys.stderr)


def _begin(environment: dict[str, str]) -> None:
    """In a worker: take the sweep's environment, and end as soon as its process has ended.

    What workers are forked from has that of the first sweep. A worker's queue does not say that
    the sweep's process is gone, and one that goes on would hold its run against the next try.
    """
    os.environ.update(environment | ENVIRONMENT)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _environment() -> Iterator[None]:
    """Set what workers started meanwhile inherit."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
