"""The worker's end of the border: four sockets, all owned by one I/O thread.

Any thread may call :meth:`Channel.send`, :meth:`Channel.send_frame` and the metrics queue; none of them waits
for the network. A result is held back until every data message put before it is on its way, and says how many
those were.
"""

import base64
import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from socket import socketpair
from typing import Any

import msgspec
import numpy as np
import zmq

from pyworker.arrivals import Arrivals
from pyworker.errors import WorkerError
from pyworker.metrics_queue import MetricsQueue
from pyworker.protocol import messages as m
from pyworker.protocol.frames import MAX_MESSAGE_BYTES, FrameCodec, FrameError, read_header
from pyworker.protocol.limits import (
    BULK_HIGH_WATER_MARK,
    CONTROL_HIGH_WATER_MARK,
    CONTROL_LIMIT_BYTES,
    METRICS_HIGH_WATER_MARK,
)

LINGER_MS = 2_000
METRICS_INTERVAL_S = 0.1
STAGE_INTERVAL_S = 0.25
# An orchestrator that does not read for long must not fill our memory with log lines.
MAX_CONTROL_QUEUE = 10_000
EXIT_CHANNEL_BROKEN = 70


@dataclass
class OutStream:
    """A stream this worker announced."""

    number: int
    job: int
    codec: FrameCodec


@dataclass
class Outgoing:
    """A control message, and how many frames and rows must be on their way before it."""

    message: m.FromWorker
    after_frames: int = 0
    after_rows: int = 0


class Channel:
    """Sockets, sequence numbers, queues.

    Args:
        boot: where to connect and with which keys.
        on_request: called by the I/O thread with a request and its arrays.
        on_message: called by the I/O thread with every other message.
        on_feed: called by the I/O thread, see :class:`pyworker.arrivals.Arrivals`.
    """

    def __init__(
        self,
        boot: m.Boot,
        on_request: Callable[[m.Request, list[np.ndarray]], None],
        on_message: Callable[[m.Welcome | m.Reject | m.Cancel | m.Credit], None],
        on_feed: Callable[[int, list[np.ndarray] | FrameError], None],
    ):
        self._on_message = on_message
        self._context = zmq.Context()
        self._control = self._socket(
            zmq.DEALER,
            boot.control,
            boot,
            limit=CONTROL_LIMIT_BYTES,
            mark=CONTROL_HIGH_WATER_MARK,
            secure=True,
        )
        self._metrics = self._socket(
            zmq.PUSH, boot.metrics, boot, limit=CONTROL_LIMIT_BYTES, mark=METRICS_HIGH_WATER_MARK, secure=True
        )
        bulk = {"limit": MAX_MESSAGE_BYTES, "mark": BULK_HIGH_WATER_MARK, "secure": boot.secure_bulk}
        self._up = self._socket(zmq.PUSH, boot.up, boot, **bulk)
        self._down = self._socket(zmq.PULL, boot.down, boot, **bulk)
        self._outbox: deque[Outgoing] = deque()
        self._frames: deque[tuple[OutStream, m.FrameHeader, np.ndarray]] = deque()
        self._frames_queued = 0
        self._stages: dict[int, m.Event] = {}
        self.metrics = MetricsQueue()
        self._streams: dict[int, OutStream] = {}
        self._next_stream = 0
        self._seq = {"control": 0, "metrics": 0, "up": 0}
        self._seen = {"control": 0, "down": 0}
        self._arrivals = Arrivals(on_request, self._complain, on_feed)
        self._pending_metrics: list[Any] | None = None
        self._pending_up: list[Any] | None = None
        self._metrics_due = self._stages_due = 0.0
        self._lock = threading.Lock()
        self._stopped = False
        self._wake_in, self._wake_out = socketpair()
        self._wake_out.setblocking(False)
        self._wake_in.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="border", daemon=True)

    def _socket(
        self, kind: int, endpoint: str, boot: m.Boot, limit: int, mark: int, secure: bool
    ) -> zmq.Socket:
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, LINGER_MS)
        socket.setsockopt(zmq.MAXMSGSIZE, limit)
        socket.set_hwm(mark)
        if secure:
            socket.setsockopt(zmq.CURVE_SERVERKEY, boot.server_key.encode())
            socket.setsockopt(zmq.CURVE_PUBLICKEY, boot.public_key.encode())
            socket.setsockopt(zmq.CURVE_SECRETKEY, boot.secret_key.encode())
        if kind == zmq.DEALER:
            socket.setsockopt(zmq.IDENTITY, b"worker")
        socket.connect(endpoint)
        return socket

    # What other threads call.

    def start(self) -> None:
        """Starts the I/O thread."""
        self._thread.start()

    def close(self) -> None:
        """Sends what is queued, then closes the sockets; what is not taken in time is lost."""
        with self._lock:
            self._stopped = True
        self._wake()
        self._thread.join()
        self._context.destroy(linger=LINGER_MS)

    def send(self, message: m.FromWorker, after_data: bool = False) -> None:
        """Queues a control message; ``after_data``: not before all data messages queued so far.

        Raises:
            TypeError: when it is not JSON; here, so that it is the sender's error and not the end of the channel.
        """
        msgspec.json.encode(message)
        with self._lock:
            is_log = isinstance(message, m.Event) and message.kind == "log"
            if is_log and len(self._outbox) >= MAX_CONTROL_QUEUE:
                return
            held = (self._frames_queued, self.metrics.rows_put) if after_data else ()
            self._outbox.append(Outgoing(message, *held))
        self._wake()

    def send_stage(self, event: m.Event) -> None:
        """Queues a stage event; of several within a quarter of a second only the last one is sent."""
        with self._lock:
            self._stages[event.id] = event
        if time.monotonic() >= self._stages_due:
            self._wake()

    def announce(
        self, job: int, plane: str, name: str, columns: list[m.Column], metadata: dict[str, str] | None = None
    ) -> OutStream:
        """A new stream of ``job``; its announcement goes out before its first frame."""
        codec = FrameCodec(columns, metadata)
        with self._lock:
            stream = OutStream(self._next_stream, job, codec)
            self._next_stream += 1
            self._streams[stream.number] = stream
        schema = base64.b64encode(codec.schema).decode()
        self.send(
            m.Stream(stream=stream.number, id=job, plane=plane, name=name, columns=columns, schema=schema)
        )
        return stream

    def send_frame(
        self, stream: OutStream, arrays: list[np.ndarray], dropped: int = 0, step: int | None = None
    ) -> None:
        """Queues one data message; the arrays are copied here and may be reused at once."""
        rows, body = stream.codec.body(arrays)
        if body.nbytes > MAX_MESSAGE_BYTES - CONTROL_LIMIT_BYTES:
            raise ValueError(
                f"A frame of {body.nbytes} bytes is over the limit of {MAX_MESSAGE_BYTES}: send fewer rows"
            )
        header = m.FrameHeader(stream=stream.number, seq=0, rows=rows, dropped=dropped, step=step)
        with self._lock:
            self._frames.append((stream, header, body))
            self._frames_queued += 1
        self._wake()

    def _wake(self) -> None:
        # A full pipe means that a wake-up is already waiting to be read.
        with suppress(BlockingIOError):
            self._wake_out.send(b"\0")

    # The I/O thread.

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException:
            # Without this thread the worker would work on, unheard, until somebody's deadline.
            traceback.print_exc()
            os._exit(EXIT_CHANNEL_BROKEN)

    def _serve(self) -> None:
        poller = zmq.Poller()
        poller.register(self._wake_in.fileno(), zmq.POLLIN)
        poller.register(self._down, zmq.POLLIN)
        deadline = None
        while True:
            blocked = self._flush()
            if self._stopped:
                deadline = deadline or time.monotonic() + LINGER_MS / 1000
                if not blocked or time.monotonic() > deadline:
                    return
            poller.register(self._control, zmq.POLLIN | (zmq.POLLOUT if "control" in blocked else 0))
            for name, socket in (("metrics", self._metrics), ("up", self._up)):
                if name in blocked:
                    poller.register(socket, zmq.POLLOUT)
                elif socket in poller:
                    poller.unregister(socket)
            ready = dict(poller.poll(self._timeout() * 1000))
            if self._wake_in.fileno() in ready:
                self._wake_in.recv(65536)
            if self._control in ready:
                self._receive_control()
            if self._down in ready:
                self._receive_down()

    def _timeout(self) -> float:
        if self._stopped:
            return 0.02
        due = [self._metrics_due] if len(self.metrics) else []
        due += [self._stages_due] if self._stages else []
        # Rows are put without a wake-up, so the thread looks for them at this interval.
        return max(0.0, min([time.monotonic() + METRICS_INTERVAL_S, *due]) - time.monotonic())

    def _flush(self) -> set[str]:
        """Sends what can be sent; the sockets that would not take more."""
        blocked: set[str] = set()
        now = time.monotonic()
        # A result is waiting for its rows, or goodbye: nothing is held back for a fuller batch.
        hurry = self._stopped or (bool(self._outbox) and self._outbox[0].after_rows > self.metrics.rows_taken)
        if hurry or now >= self._metrics_due or self._pending_metrics:
            self._metrics_due = now + METRICS_INTERVAL_S
            if not self._flush_metrics():
                blocked.add("metrics")
        if not self._flush_up():
            blocked.add("up")
        if now >= self._stages_due:
            self._flush_stages(list(self._stages))
            self._stages_due = now + STAGE_INTERVAL_S
        while self._outbox:
            held = self._outbox[0]
            if not self._may_go(held):
                return blocked if blocked & {"metrics", "up"} else blocked | self._flush()
            message = held.message
            if isinstance(message, m.Response | m.Error | m.Bye):
                message.metrics_seq, message.up_seq = self._seq["metrics"], self._seq["up"]
                if not isinstance(message, m.Bye) and message.id in self._stages:
                    self._flush_stages([message.id])
                    continue
            message.seq = self._seq["control"]
            if not self._try_send(self._control, [msgspec.json.encode(message)]):
                return blocked | {"control"}
            self._seq["control"] += 1
            with self._lock:
                self._outbox.popleft()
                if isinstance(message, m.Response | m.Error):
                    self._streams = {n: s for n, s in self._streams.items() if s.job != message.id}
        return blocked

    def _may_go(self, held: Outgoing) -> bool:
        if held.after_rows > self.metrics.rows_taken or (held.after_rows and self._pending_metrics):
            return False
        return held.after_frames <= self._seq["up"]

    def _flush_stages(self, jobs: list[int]) -> None:
        """Puts the latest stage of these jobs at the head of the queue: never after a result of theirs."""
        with self._lock:
            self._outbox.extendleft(Outgoing(self._stages.pop(job)) for job in jobs)

    def _flush_metrics(self) -> bool:
        while True:
            if self._pending_metrics is None:
                taken = self.metrics.take()
                if taken is None:
                    return True
                number, arrays, dropped = taken
                stream = self._streams[number]
                rows, body = stream.codec.body(arrays)
                header = m.FrameHeader(
                    stream=number, seq=self._seq["metrics"], rows=rows, dropped=dropped, step=None
                )
                self._pending_metrics = stream.codec.encode(header, body)
            if not self._try_send(self._metrics, self._pending_metrics):
                return False
            self._pending_metrics = None
            self._seq["metrics"] += 1

    def _flush_up(self) -> bool:
        while True:
            if self._pending_up is None:
                if not self._frames:
                    return True
                stream, header, body = self._frames[0]
                header.seq = self._seq["up"]
                self._pending_up = stream.codec.encode(header, body)
            if not self._try_send(self._up, self._pending_up):
                return False
            self._pending_up = None
            self._seq["up"] += 1
            with self._lock:
                self._frames.popleft()

    @staticmethod
    def _try_send(socket: zmq.Socket, parts: list[Any]) -> bool:
        try:
            socket.send_multipart(parts, zmq.DONTWAIT, copy=False)
            return True
        except zmq.Again:
            return False

    def _receive_control(self) -> None:
        while True:
            try:
                data = self._control.recv(zmq.DONTWAIT)
            except zmq.Again:
                return
            try:
                message = msgspec.json.decode(data, type=m.ToWorker)
            except m.MALFORMED as error:
                self._complain(None, f"The worker cannot read a control message: {error}")
                continue
            if message.seq != self._seen["control"]:
                self._complain(
                    None, f"Control message {message.seq} came where {self._seen['control']} was due"
                )
            self._seen["control"] = message.seq + 1
            try:
                self._take(message)
            except WorkerError as error:
                self._refuse(getattr(message, "id", None), error.code, error.message)

    def _take(self, message: m.ToWorker) -> None:
        """Raises :class:`WorkerError` for what is well formed and cannot be obeyed."""
        if isinstance(message, m.Stream):
            self._arrivals.announce(message)
        elif isinstance(message, m.Request):
            self._arrivals.expect(message)
        elif isinstance(message, m.Cancel) and self._arrivals.give_up(message.id):
            raise WorkerError("INTERRUPTED", "The request was cancelled before its arrays had come")
        else:
            self._on_message(message)

    def _receive_down(self) -> None:
        while True:
            try:
                parts = [frame.buffer for frame in self._down.recv_multipart(zmq.DONTWAIT, copy=False)]
            except zmq.Again:
                return
            due = self._seen["down"]
            self._seen["down"] += 1
            try:
                header = read_header(parts)
            except FrameError as error:
                self._complain(self._arrivals.only_waiting(), f"Data message {due} is refused: {error}")
                continue
            if header.seq != due:
                message = f"Data message {header.seq} came where {due} was due"
                self._complain(self._arrivals.only_waiting(), message)
                self._seen["down"] = header.seq + 1
            self._arrivals.accept(parts, header)

    def _complain(self, job: int | None, message: str) -> None:
        if job is not None:
            self._arrivals.give_up(job)
        self._refuse(job, "PROTOCOL", message)

    def _refuse(self, job: int | None, code: str, message: str) -> None:
        self.send(
            m.Error(
                id=job,
                code=code,
                message=message,
                hint=None,
                details={},
                traceback=None,
                metrics_seq=0,
                up_seq=0,
            )
        )
