"""Prepares the next items of an iterator in a background thread, a bounded number of them ahead."""

import queue
import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Prefetch(Generic[Item]):
    """Iterator over ``source`` with up to ``n_ahead`` items ready; same items, same order, same error.

    The thread ends with the source, with an error of it, or with :meth:`close`.
    """

    _END = object()

    def __init__(self, source: Iterator[Item], n_ahead: int):
        self._source = source
        self._queue: queue.Queue = queue.Queue(maxsize=n_ahead)
        self._closed = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._produce, name="prefetch", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        item = self._queue.get()
        if item is self._END:
            self._queue.put(self._END)  # the next call ends alike
            if self._error is not None:
                raise self._error
            raise StopIteration
        return item

    def close(self) -> None:
        """End the thread after the item it is at. Nothing may be taken afterwards.

        A source that hangs is not waited for longer than ten seconds: the thread ends with the process.
        """
        self._closed.set()
        self._thread.join(timeout=10)

    def _produce(self) -> None:
        try:
            for item in self._source:
                if not self._offer(item):
                    return
        except BaseException as error:  # it belongs to the thread that asks for the item
            self._error = error
        self._offer(self._END)

    def _offer(self, item: object) -> bool:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False
