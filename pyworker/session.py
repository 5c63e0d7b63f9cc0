"""What a handler sees of the border while its request runs."""

import sys
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from pyworker.channel import Channel, OutStream
from pyworker.feed import Feed
from pyworker.protocol import messages as m
from pyworker.protocol.frames import column_type


class Session:
    """One request: its arrays, its events, its streams, and what the orchestrator asked of it meanwhile.

    Attributes:
        id: number of the request.
        arrays: read-only numpy arrays that came with it, in order.
        feed: what the orchestrator sends meanwhile, once its frames are asked for.
    """

    def __init__(self, request: m.Request, arrays: list[np.ndarray], channel: Channel):
        self.id = request.id
        self.arrays = arrays
        self.arrays_sent = 0
        self._channel = channel
        self._streams: dict[tuple[Any, ...], OutStream] = {}
        self._tap_dropped = 0
        self._credits = 0
        self._checkpoints_asked = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.cancelled = threading.Event()
        self.feed = Feed(lambda count: self.event("credit", count=count), self.stop_requested)

    def event(self, kind: str, /, **data: Any) -> None:
        """Tells the orchestrator something. Numbers that may be NaN belong into :meth:`metrics`: JSON has
        none.
        """
        self._channel.send(m.Event(id=self.id, kind=kind, data=data))

    def stage(self, stage: str, message: str = "", done: int | None = None, total: int | None = None) -> None:
        """Says what is going on and how far it is. Cheap: call it at every step.

        Only a call tells the orchestrator that there is progress, so call it when there is some.
        """
        data = {"stage": stage, "message": message, "done": done, "total": total}
        self._channel.send_stage(m.Event(id=self.id, kind="stage", data=data))

    def log(self, level: str, message: str) -> None:
        """A line for the run's log. ``level``: debug, info, warning or error."""
        self.event("log", level=level, message=message)

    def metrics(self, name: str, row: Mapping[str, float]) -> None:
        """Queues one row. Never waits; NaN and inf arrive as they are. Rows of one name may differ in their
        keys.
        """
        columns = tuple(row)
        self._channel.metrics.put(self._metrics_stream(name, columns).number, list(columns), row)

    def tap_wanted(self) -> bool:
        """Whether somebody has room for a batch of activations. A refusal is counted and told with the next
        batch.
        """
        with self._lock:
            if self._credits > 0:
                return True
            self._tap_dropped += 1
            return False

    def tap(
        self, *, activation: Any, token_id: Any, position: Any, sequence: Any, hook_name: str, step: int
    ) -> None:
        """Sends a copy of one batch when there is room for it.

        Args:
            activation: x_BD, torch tensor or numpy array; float16 and bfloat16 travel as they are.
            token_id: B tokens, int32.
            position: B positions of these in their sequences, from 0, int32.
            sequence: B numbers of these sequences in the stream, int64.
            hook_name: where the activations were read.
            step: the training step that the batch is for.
        """
        with self._lock:
            if self._credits == 0:
                self._tap_dropped += 1
                return
            self._credits -= 1
            dropped, self._tap_dropped = self._tap_dropped, 0
        values, kind = _numpy(activation)
        columns = [
            m.Column(name="token_id", type="int32", shape=[]),
            m.Column(name="position", type="int32", shape=[]),
            m.Column(name="sequence", type="int64", shape=[]),
            m.Column(name="activation", type=kind, shape=list(values.shape[1:])),
        ]
        key = ("tap", hook_name, kind, values.shape[1:])
        if key not in self._streams:
            metadata = {"hook_name": hook_name, "dtype": kind}
            self._streams[key] = self._channel.announce(self.id, "tap", "activations", columns, metadata)
        numbers = [
            np.asarray(_numpy(x)[0], t) for x, t in ((token_id, "i4"), (position, "i4"), (sequence, "i8"))
        ]
        self._channel.send_frame(self._streams[key], [*numbers, values], dropped, step)

    def send_array(self, name: str, array: Any) -> None:
        """Sends an array (torch or numpy, at least one dimension) as part of the result."""
        values, kind = _numpy(array)
        column = m.Column(name="values", type=kind, shape=list(values.shape[1:]))
        stream = self._channel.announce(self.id, "array", name, [column])
        self._streams[("array", self.arrays_sent)] = stream
        self._channel.send_frame(stream, [values])
        self.arrays_sent += 1

    def stop_requested(self) -> bool:
        """Whether to finish early: keep what is done and return."""
        return self._stop.is_set()

    def checkpoint_requested(self) -> bool:
        """True once for each request to write a checkpoint now."""
        with self._lock:
            wanted, self._checkpoints_asked = self._checkpoints_asked > 0, 0
            return wanted

    # What the server calls.

    def stop(self) -> None:
        """The handler should finish early."""
        self._stop.set()
        self.feed.wake()

    def cancel(self) -> None:
        """Nobody wants the result any more."""
        self.cancelled.set()
        self.stop()

    def ask_checkpoint(self) -> None:
        """The handler should write a checkpoint at its next step."""
        with self._lock:
            self._checkpoints_asked += 1

    def add_credit(self, count: int) -> None:
        """There is room for so many more batches of activations."""
        with self._lock:
            self._credits += count

    def _metrics_stream(self, name: str, columns: tuple[str, ...]) -> OutStream:
        key = ("metrics", name, columns)
        if key not in self._streams:
            kinds = [m.Column(name=column, type="float64", shape=[]) for column in columns]
            self._streams[key] = self._channel.announce(self.id, "metrics", name, kinds)
        return self._streams[key]


def _numpy(array: Any) -> tuple[np.ndarray, Any]:
    """(numpy array, column type) of a torch tensor or an array, without importing torch."""
    if not hasattr(array, "detach"):
        values = np.asarray(array)
        return values, column_type(values)
    tensor = array.detach().cpu()
    if str(tensor.dtype) == "torch.bfloat16":
        return tensor.contiguous().view(sys.modules["torch"].int16).numpy().view(np.uint16), "bfloat16"
    values = tensor.numpy()
    return values, column_type(values)
