"""Requests whose arrays are still on their way: messages and data come on two sockets, in any order."""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pyworker.errors import WorkerError
from pyworker.protocol import messages as m
from pyworker.protocol.frames import FrameCodec, FrameError

MAX_EARLY_FRAMES = 64


@dataclass
class Arrival:
    """A request and what has come of its arrays."""

    request: m.Request
    arrays: list[np.ndarray] = field(default_factory=list)


class Arrivals:
    """Puts requests and their arrays together. Used by the I/O thread alone.

    Args:
        deliver: called with a request when all its arrays are there.
        complain: called with a request's number, or None when it is unknown, and what is wrong with its data.
        feed: called with the number of a running request and a frame fed to it, or what is wrong with the frame.
    """

    def __init__(
        self,
        deliver: Callable[[m.Request, list[np.ndarray]], None],
        complain: Callable[[int | None, str], None],
        feed: Callable[[int, list[np.ndarray] | FrameError], None],
    ):
        self._deliver, self._complain, self._feed = deliver, complain, feed
        self._waiting: dict[int, Arrival] = {}
        self._streams: dict[int, tuple[int, FrameCodec]] = {}
        self._feeds: dict[
            int, tuple[int, FrameCodec]
        ] = {}  # kept: their last frames may come after their request
        self._early: list[tuple[list[memoryview], m.FrameHeader]] = []

    def expect(self, request: m.Request) -> None:
        """A request came."""
        self._waiting[request.id] = Arrival(request)
        self._deliver_when_complete(request.id)

    def announce(self, message: m.Stream) -> None:
        """A stream was announced, of one array or of a feed's frames; one of them may be here already.

        Raises:
            WorkerError: ``PROTOCOL``, when no frame could be read by it.
        """
        try:
            codec = FrameCodec(message.columns, schema=base64.b64decode(message.schema))
        except (ValueError, FrameError) as error:
            raise WorkerError("PROTOCOL", f"Stream {message.stream} cannot be read: {error}") from error
        streams = self._feeds if message.plane == "feed" else self._streams
        streams[message.stream] = (message.id, codec)
        early, self._early = self._early, []
        for parts, header in early:
            self.accept(parts, header)

    def accept(self, parts: list[memoryview], header: m.FrameHeader) -> None:
        """A data message came whose checksum is right."""
        if header.stream in self._feeds:
            job, codec = self._feeds[header.stream]
            try:
                self._feed(job, codec.decode(parts, header))
            except FrameError as error:
                self._feed(job, error)
            return
        if header.stream not in self._streams:
            self._early.append((parts, header))
            if len(self._early) > MAX_EARLY_FRAMES:
                self._early.clear()
                self._complain(None, f"Data messages of stream {header.stream}, which was never announced")
            return
        job, codec = self._streams.pop(header.stream)
        arrival = self._waiting.get(job)
        if arrival is None:
            return  # its request failed already
        try:
            arrival.arrays.extend(codec.decode(parts, header))
        except FrameError as error:
            self._complain(job, f"Data message {header.seq} is refused: {error}")
            return
        self._deliver_when_complete(job)

    def only_waiting(self) -> int | None:
        """The request a broken frame belongs to, when only one is waiting for frames."""
        return next(iter(self._waiting)) if len(self._waiting) == 1 else None

    def give_up(self, job: int) -> bool:
        """The request failed or was cancelled: its other arrays are not wanted. Whether it was waiting for any."""
        return self._waiting.pop(job, None) is not None

    def _deliver_when_complete(self, job: int) -> None:
        arrival = self._waiting[job]
        if len(arrival.arrays) == arrival.request.arrays:
            del self._waiting[job]
            self._deliver(arrival.request, arrival.arrays)
