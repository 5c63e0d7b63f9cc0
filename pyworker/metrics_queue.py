"""Rows of numbers on their way out: bounded, coalesced, never in the way of training."""

import threading
from collections import deque
from collections.abc import Mapping

import numpy as np

MAX_ROWS = 10_000
BATCH_ROWS = 256


class MetricsQueue:
    """Rows of several streams, taken out in batches of one stream; when full, the oldest row goes and is
    counted.
    """

    def __init__(self, max_rows: int = MAX_ROWS):
        self._rows: deque[tuple[int, list[float]]] = deque()
        self._max_rows = max_rows
        self._dropped: dict[int, int] = {}
        self._lock = threading.Lock()
        self.rows_put = 0
        # Rows that left the queue, dropped ones included.
        self.rows_taken = 0

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, stream: int, columns: list[str], row: Mapping[str, float]) -> None:
        """Adds a row whose keys are exactly ``columns``; never waits."""
        values = [float(row[name]) for name in columns]
        with self._lock:
            if len(self._rows) >= self._max_rows:
                lost, _ = self._rows.popleft()
                self._dropped[lost] = self._dropped.get(lost, 0) + 1
                self.rows_taken += 1
            self._rows.append((stream, values))
            self.rows_put += 1

    def take(self) -> tuple[int, list[np.ndarray], int] | None:
        """(stream, one float64 array per column, rows dropped) of the oldest rows in a row of one stream."""
        with self._lock:
            if not self._rows:
                return None
            stream = self._rows[0][0]
            rows = []
            while self._rows and self._rows[0][0] == stream and len(rows) < BATCH_ROWS:
                rows.append(self._rows.popleft()[1])
            self.rows_taken += len(rows)
            dropped = self._dropped.pop(stream, 0)
        return stream, list(np.asarray(rows, np.float64).T.copy()), dropped
