"""Do the same work for many items: here, in processes of a local cluster, or on other machines."""

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from sim.errors import SimError

__all__ = ["spread"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 2
"""Items under way for each worker, so that none waits for its next one."""


@contextmanager
def spread(work: Callable[[Item], Result], *, jobs: int, scheduler: str | None,
           ) -> Iterator[Callable[[Iterator[Item]], Iterator[Result]]]:
    """Make workers ready; the function that is yielded does ``work`` for each item.

    Results come in any order. Items are taken from the iterator as workers become free. What the
    work raises is raised here.

    Parameters
    ----------
    work
        Sent to each worker once, and kept there.
    jobs
        Processes on this machine; with 1 everything happens in this one, without Dask.
    scheduler
        Address of a Dask scheduler, ``tcp://host:port``, whose workers are used instead.

    Raises
    ------
    SimError
        Dask is not installed, the scheduler cannot be reached, or a worker died several times.
    """
    if scheduler is None and jobs == 1:
        yield lambda items: map(work, items)
        return
    try:
        import distributed
    except ImportError as error:
        raise SimError("Dask must be installed to use several processes: pip install "
                       "'macrame[evaluate]', or run with --jobs 1.") from error
    with _client(distributed, jobs, scheduler) as client:
        everywhere = client.scatter(work, broadcast=True, hash=False)

        def run(items: Iterator[Item]) -> Iterator[Result]:
            def submit(item: Item) -> Any:
                return client.submit(_apply, everywhere, item, pure=False)
            window = _AHEAD * sum(client.nthreads().values())
            under_way = distributed.as_completed([submit(item) for item in islice(items, window)])
            for future in under_way:
                try:
                    result: Result = future.result()
                except distributed.scheduler.KilledWorker as error:
                    raise SimError(f"workers must not die; {error}. Is there enough memory?"
                                   ) from error
                under_way.update(submit(item) for item in islice(items, 1))
                yield result
        yield run


@contextmanager
def _client(distributed: Any, jobs: int, scheduler: str | None) -> Iterator[Any]:
    if scheduler is None:
        with _uninterrupted():
            # Silent, because Dask reports every closed connection at the end.
            client = distributed.Client(n_workers=jobs, threads_per_worker=1,
                                        dashboard_address=None, silence_logs=logging.CRITICAL)
    else:
        try:
            client = distributed.Client(scheduler)
            client.wait_for_workers(1, timeout=30)
        except (OSError, TimeoutError, ValueError) as error:
            raise SimError(f"a Dask scheduler with workers must run at {scheduler!r}; it cannot be "
                           f"used ({error}).") from error
    with client:
        yield client


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Processes started inside do not react to Ctrl-C; whoever started them ends them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _apply(work: Callable[[Item], Result], item: Item) -> Result:
    return work(item)
