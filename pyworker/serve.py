"""The command server: one table from operation to handler, one loop that runs them on the main thread.

A handler is a function ``(params: dict, session: Session) -> JSON value``; the table names it as
``module:function`` so that nothing heavy is imported before it is asked for. ``ping``, ``stop``,
``checkpoint_now``, ``end_feed`` and ``shutdown`` are answered by the I/O thread, whatever the main thread is doing.
"""

import os
import platform
import queue
import sys
import traceback
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import msgspec
import numpy as np

from pyworker import lifeline
from pyworker.errors import WorkerError
from pyworker.protocol import messages as m

TRACEBACK_BYTES = 4096
HELLO_TIMEOUT_S = 60
EXIT_REFUSED = 78

Handler = Callable[[dict[str, Any], Any], Any]


def serve(operations: Mapping[str, str | Handler]) -> None:
    """Runs a worker until it is told to shut down. Reads the boot line from stdin.

    Raises:
        SystemExit: refused by the orchestrator (78), or nobody answered.
    """
    boot = msgspec.json.decode(lifeline.read_boot_line(), type=m.Boot)
    lifeline.hold(boot.parent_pid)
    Server(boot, operations).run()


class Server:
    """Requests in, results out, one at a time."""

    def __init__(self, boot: m.Boot, operations: Mapping[str, str | Handler]):
        from pyworker.channel import (
            Channel,
        )  # after the guardian is forked: a fork must not copy live sockets

        self._operations = operations
        self._boot = boot
        self._inbox: queue.Queue[Any] = queue.Queue()
        self._sessions: dict[int, Any] = {}
        self._answered = False
        self._channel = Channel(boot, self._on_request, self._on_message, self._on_feed)

    def run(self) -> None:
        """Handshake, then requests until shutdown."""
        self._channel.start()
        self._channel.send(
            m.Hello(
                version=m.PROTOCOL_VERSION,
                schema_hash=m.schema_hash(),
                session=self._boot.session,
                pid=os.getpid(),
                python=platform.python_version(),
            )
        )
        try:
            answer = self._inbox.get(timeout=HELLO_TIMEOUT_S)
        except queue.Empty:
            raise SystemExit("sae-lens-ts worker: the orchestrator did not answer hello") from None
        if isinstance(answer, m.Reject):
            self._channel.close()
            print(f"sae-lens-ts worker: refused: {answer.message}", flush=True)
            raise SystemExit(EXIT_REFUSED)
        while (item := self._inbox.get()) is not None:
            self._handle(*item)
        self._channel.send(m.Bye(metrics_seq=0, up_seq=0), after_data=True)
        self._channel.close()

    def _handle(self, request: m.Request, session: Any) -> None:
        try:
            if session.cancelled.is_set():
                raise WorkerError("INTERRUPTED", f'Request "{request.op}" was cancelled before it began')
            result = self._handler(request.op)(request.params, session)
            if session.cancelled.is_set():
                raise WorkerError("INTERRUPTED", f'Request "{request.op}" was cancelled')
            answer = m.Response(
                id=request.id, result=result, arrays=session.arrays_sent, metrics_seq=0, up_seq=0
            )
            msgspec.json.encode(
                answer
            )  # a result that is not JSON is this request's error, not the channel's
        except Exception as error:
            answer = describe_error(request, error)
        self._channel.send(answer, after_data=True)
        del self._sessions[request.id]

    def _handler(self, op: str) -> Handler:
        handler = self._operations.get(op)
        if handler is None:
            raise WorkerError(
                "PROTOCOL", f'The worker has no operation "{op}"; it has {sorted(self._operations)}'
            )
        if isinstance(handler, str):
            module, _, name = handler.partition(":")
            try:
                handler = getattr(import_module(module), name)
            except (ImportError, OSError) as error:
                raise environment_broken(error) from error
        return handler

    # Called by the I/O thread.

    def _on_request(self, request: m.Request, arrays: list[np.ndarray]) -> None:
        from pyworker.session import Session

        if request.id in self._sessions:
            raise WorkerError("PROTOCOL", f"There is a request {request.id} already")
        if request.op == "shutdown":
            for session in list(self._sessions.values()):
                session.stop()
            self._inbox.put(None)
            self._answer(request, None)
        elif request.op in ("stop", "checkpoint_now"):
            session = self._sessions.get(_number(request, "id"))
            if session is not None:
                session.stop() if request.op == "stop" else session.ask_checkpoint()
            self._answer(request, {"running": session is not None})
        elif request.op == "end_feed":
            session, frames = self._sessions.get(_number(request, "id")), _number(request, "frames")
            if session is not None:
                session.feed.end(frames)
            self._answer(request, {"running": session is not None})
        elif request.op == "ping":
            self._answer(request, {"busy": len(self._sessions)})
        else:
            session = Session(request, arrays, self._channel)
            self._sessions[request.id] = session
            self._inbox.put((request, session))

    def _on_feed(self, job: int, frame: list[np.ndarray] | Exception) -> None:
        session = self._sessions.get(job)
        if session is None:
            return  # it ended while the frame was on its way
        if isinstance(frame, Exception):
            session.feed.fail(f"A frame of a feed is refused: {frame}")
        else:
            session.feed.put(frame)

    def _answer(self, request: m.Request, result: Any) -> None:
        self._channel.send(m.Response(id=request.id, result=result, arrays=0, metrics_seq=0, up_seq=0))

    def _on_message(self, message: Any) -> None:
        if isinstance(message, m.Welcome | m.Reject):
            if self._answered:
                raise WorkerError("PROTOCOL", "The handshake is over, and was answered again")
            self._answered = True
            self._inbox.put(message)
            return
        session = self._sessions.get(message.id)
        if session is None:
            return  # it ended while the message was on its way
        if isinstance(message, m.Cancel):
            session.cancel()
        else:
            session.add_credit(message.count)


def _number(request: m.Request, name: str) -> int:
    value = request.params.get(name)
    if type(value) is not int:
        raise WorkerError("PROTOCOL", f'Request "{request.op}" has {name} {value!r}, expected a number')
    return value


def environment_broken(error: Exception) -> WorkerError:
    """What a package that is there and cannot be imported becomes: half an upgrade, a missing driver
    library.
    """
    return WorkerError(
        "ENVIRONMENT_BROKEN",
        f"{sys.executable} cannot import what training needs: {type(error).__name__}: {error}",
        hint="sae-lens-ts doctor says which package; sae-lens-ts setup --force makes the environment anew",
    )


def describe_error(request: m.Request, error: Exception) -> m.Error:
    """The message an exception becomes. A :class:`WorkerError` speaks for itself."""
    code, message, hint, details = "BUG", f"{type(error).__name__} in {request.op}: {error}", None, {}
    if isinstance(error, ImportError):
        error = environment_broken(error)
    if isinstance(error, WorkerError):
        code, message, hint, details = error.code, error.message, error.hint, error.details
    elif isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        code, message = "OUT_OF_MEMORY", f"Out of memory in {request.op}: {error}"
        hint = "lower train_batch_size_tokens, store_batch_size_prompts or n_batches_in_buffer"
    text = "".join(traceback.format_exception(error)).encode()[-TRACEBACK_BYTES:].decode(errors="ignore")
    return m.Error(
        id=request.id,
        code=code,
        message=message,
        hint=hint,
        details=details,
        traceback=text,
        metrics_seq=0,
        up_seq=0,
    )
