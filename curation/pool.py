"""One function over many items in a few processes; the caller is the only writer."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_context, parent_process
from typing import TypeVar

from curation.errors import DataError

A = TypeVar("A")
B = TypeVar("B")


def spread(function: Callable[[A], B], items: Sequence[A], workers: int) -> Iterator[tuple[A, B]]:
    """(item, function(item)) in the order of `items`. Results that the caller has not taken yet wait in memory.

    `function` and items must be picklable; with one worker everything runs here. Raises what `function` raises, and
    DataError when a worker process dies.
    """
    if workers <= 1:
        yield from ((item, function(item)) for item in items)
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker)
    try:
        yield from zip(items, pool.map(function, items), strict=True)
    except BrokenProcessPool as e:
        raise DataError("a worker process died (out of memory?); try `workers: 1` and run again") from e
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and do not outlive it: a killed parent would leave its workers waiting for ever.

    What a worker remembers from item to item is no garbage; looking for some among it takes a tenth of its time.
    """
    gc.set_threshold(50_000, 50, 50)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (connection.wait([parent.sentinel]), os._exit(1)), daemon=True).start()
