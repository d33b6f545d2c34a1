"""Work on the chunks of a corpus by several processes, results in order.

Workers are fresh interpreters that import the text rooms alone: no JAX, and no copy of
the parent's memory or threads.
"""

import contextlib
import itertools
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import parent_process
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Generic, TypeVar

from flaxformer_mt.errors import FlaxformerError

Item = TypeVar("Item")
Result = TypeVar("Result")
# Chunks handed out beyond those being worked on, so that no worker waits for the next.
CHUNKS_AHEAD = 2


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Workers(Generic[Item, Result]):
    """`with Workers(function, state, processes=2) as workers: workers.map(items)`."""

    def __init__(
        self, function: Callable[[Any, Item], Result], state: Any, *, processes: int
    ) -> None:
        self.function, self.state, self.processes = function, state, processes
        self.pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Workers[Item, Result]":
        if self.processes > 1:
            self.pool = ProcessPoolExecutor(
                self.processes,
                mp_context=_Context(),
                initializer=_begin,
                initargs=(self.function, self.state),
            )
        return self

    def __exit__(self, *exception: object) -> None:
        if self.pool:
            self.pool.shutdown(cancel_futures=True)

    def map(self, items: Iterable[Item]) -> Iterator[Result]:
        """The results of `function(state, item)` in the order of the items.

        Raises:
          FlaxformerError: a worker was ended from outside.
        """
        if not self.pool:
            for item in items:
                yield self.function(self.state, item)
            return
        items, running = iter(items), deque[Future[Result]]()
        ahead = self.processes + CHUNKS_AHEAD
        while True:
            for item in itertools.islice(items, ahead - len(running)):
                running.append(self._submit(item))
            if not running:
                return
            try:
                result = running.popleft().result()
            except BrokenProcessPool:
                raise _ended_from_outside() from None
            yield result

    def _submit(self, item: Item) -> "Future[Result]":
        try:
            return self.pool.submit(_work, item)
        except BrokenProcessPool:
            raise _ended_from_outside() from None


def _ended_from_outside() -> FlaxformerError:
    return FlaxformerError(
        "a process that read the corpus was ended from outside, perhaps for want of "
        "memory: run the same command again, with --data.processes 1 if need be."
    )


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Hides the program that runs: a worker would import it, and with it all that it
    needs, and a script without `if __name__ == "__main__"` would start over in it."""
    main = sys.modules["__main__"]
    hidden = {
        name: main.__dict__.pop(name)
        for name in ("__spec__", "__file__")
        if name in main.__dict__
    }
    try:
        # multiprocessing looks for the name, so it must be there.
        main.__spec__ = None
        yield
    finally:
        del main.__spec__
        main.__dict__.update(hidden)


class _Process(SpawnProcess):
    """A process that begins as a fresh interpreter, without the program that runs."""

    @staticmethod
    def _Popen(process: SpawnProcess) -> Any:
        with _without_main():
            return SpawnProcess._Popen(process)


class _Context(SpawnContext):
    Process = _Process


_function: Callable[[Any, Any], Any]
_state: Any


def _begin(function: Callable[[Any, Any], Any], state: Any) -> None:
    """What a worker does first."""
    global _function, _state
    _function, _state = function, state
    # Ctrl-C reaches every process of a terminal; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends a worker whose parent was killed: nobody else would."""
    parent_process().join()
    os._exit(1)


def _work(item: Any) -> Any:
    return _function(_state, item)
