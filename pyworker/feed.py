"""Frames that the orchestrator sends while a request runs: it may send as many as it was granted, and waits then."""

import threading
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np

from pyworker.errors import WorkerError

SIGN_OF_LIFE_S = 1.0


class Feed:
    """A bounded queue between the border and the handler of one request.

    Args:
        grant: tells the orchestrator that so many more frames have a place to go.
        stopped: whether the request was asked to finish.
    """

    def __init__(self, grant: Callable[[int], None], stopped: Callable[[], bool]):
        self._grant, self._stopped = grant, stopped
        self._frames: deque[list[np.ndarray]] = deque()
        self._changed = threading.Condition()
        self._n_granted = self._n_put = 0
        self._n_all: int | None = None
        self._broken: str | None = None

    def frames(self, n_ahead: int, waiting: Callable[[], None]) -> Iterator[list[np.ndarray]]:
        """The frames in order, to the end of the feed or until the request is to stop.

        Args:
            n_ahead: frames that may lie here or be on their way.
            waiting: called now and then while there is none.

        Raises:
            WorkerError: ``PROTOCOL`` when a frame is broken or nobody asked for it.
        """
        self._more(n_ahead)
        n_taken = 0
        while n_taken != self._n_all:
            with self._changed:
                if not self._frames and not self._is_over(n_taken):
                    self._changed.wait(SIGN_OF_LIFE_S)
                if self._broken is not None:
                    raise WorkerError("PROTOCOL", self._broken)
                frame = self._frames.popleft() if self._frames else None
            if frame is not None:
                n_taken += 1
                yield frame
                self._more(1)
            elif self._stopped():
                return
            else:
                waiting()

    # What the border calls.

    def put(self, frame: list[np.ndarray]) -> None:
        """A frame came."""
        with self._changed:
            self._n_put += 1
            if self._n_put > self._n_granted:
                self._broken = f"Frame {self._n_put} of a feed came where {self._n_granted} had a place"
            else:
                self._frames.append(frame)
            self._changed.notify()

    def end(self, n_frames: int) -> None:
        """There are so many frames in all; the last of them may still be on their way."""
        with self._changed:
            self._n_all = n_frames
            self._changed.notify()

    def fail(self, message: str) -> None:
        """A frame is broken."""
        with self._changed:
            self._broken = message
            self._changed.notify()

    def wake(self) -> None:
        """The request is to stop: whoever waits for a frame looks at that."""
        with self._changed:
            self._changed.notify()

    def _is_over(self, n_taken: int) -> bool:
        return self._broken is not None or n_taken == self._n_all or self._stopped()

    def _more(self, count: int) -> None:
        with self._changed:
            self._n_granted += count
        self._grant(count)
