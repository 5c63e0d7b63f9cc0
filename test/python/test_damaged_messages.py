"""Control messages of the orchestrator, damaged in 2 000 ways, to a worker on the wire: each is obeyed or refused with
a code, and the worker lives on and grows no larger."""

import base64
import contextlib

import msgspec
import psutil
import pytest
import zmq
from mutations import mutations
from test_serve import ECHO, Peer, request

from pyworker.protocol import messages as m
from pyworker.protocol.frames import FrameCodec

ROUNDS = 2_000
MORE_MEMORY_BYTES = 64 << 20
LAST = 1_000_000


def every_kind() -> list[bytes]:
    """One message of every kind that an orchestrator sends, and of every request that the I/O thread answers itself."""
    columns = [m.Column(name="values", type="float32", shape=[4])]
    schema = base64.b64encode(FrameCodec(columns).schema).decode()
    messages = [
        request("echo", 1, word="x", inner={"numbers": [1, 2]}),
        request("echo", 2, arrays=1),
        request("ping", 3),
        request("stop", 4, id=1),
        request("checkpoint_now", 5, id=1),
        request("end_feed", 6, id=1, frames=2),
        m.Cancel(id=2),
        m.Credit(id=1, count=2),
        m.Stream(stream=1, id=2, plane="array", name="x", columns=columns, schema=schema),
        m.Stream(stream=2, id=1, plane="feed", name="x", columns=columns, schema=schema),
        m.Welcome(),
        m.Reject(message="no"),
    ]
    return [msgspec.json.encode(message) for message in messages]


@pytest.fixture
def peer(tmp_path):
    started = Peer(tmp_path, ECHO)
    yield started
    started.close()


def test_two_thousand_damaged_control_messages_are_obeyed_or_refused_and_the_worker_lives(peer):
    peer.welcome()
    control = peer.sockets["control"]
    process = psutil.Process(peer.process.pid)
    messages, codes, before = every_kind(), set(), 0
    damaged = [mutations(message, ROUNDS // len(messages) + 1, seed) for seed, message in enumerate(messages)]
    for i in range(ROUNDS):
        if i == ROUNDS // 4:
            before = process.memory_info().rss
        text = next(damaged[i % len(damaged)])
        control.send_multipart([b"worker", text])
        with contextlib.suppress(zmq.Again):
            while True:
                answer = control.recv_multipart(zmq.DONTWAIT)[1]
                codes.add(getattr(msgspec.json.decode(answer, type=m.FromWorker), "code", None))
        if peer.process.poll() is not None:
            pytest.fail(f"{text!r} or one before ended it: {peer.process.stdout.read().decode()}")
    control.send_multipart([b"worker", b'{"type":"request","params":{"a":' + b"[" * 1_000_000])
    control.send_multipart([b"worker", msgspec.json.encode(request("ping", LAST))])
    while getattr(answer := peer.receive(), "id", None) != LAST:
        codes.add(getattr(answer, "code", None))
    assert isinstance(answer, m.Response)
    assert codes - {None} <= {"PROTOCOL", "INTERRUPTED"}
    assert process.memory_info().rss - before < MORE_MEMORY_BYTES
