"""The worker seen from the wire: a bare ZeroMQ peer in place of the orchestrator."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zmq

from pyworker.protocol import messages as m
from pyworker.protocol.frames import FrameCodec

ROOT = Path(__file__).resolve().parents[2]
ECHO = ROOT / "test/fixtures/workers/echo_worker.py"


class Peer:
    """Binds the four sockets and starts a worker, without any of the checks of the real orchestrator."""

    def __init__(self, folder: Path, script: Path = ECHO):
        self.context = zmq.Context()
        server, worker = zmq.curve_keypair(), zmq.curve_keypair()
        self.sockets, ends = {}, {}
        kinds = {"control": zmq.ROUTER, "metrics": zmq.PULL, "up": zmq.PULL, "down": zmq.PUSH}
        for name, kind in kinds.items():
            socket = self.sockets[name] = self.context.socket(kind)
            socket.linger = 0
            # A router silently drops what is over its mark: nothing may be lost that a test sent.
            socket.rcvtimeo, socket.sndhwm = 10_000, 0
            socket.curve_server, socket.curve_secretkey = True, server[1]
            ends[name] = f"ipc://{folder}/{name}"
            socket.bind(ends[name])
        boot = m.Boot(
            version=1,
            session="s",
            parent_pid=os.getpid(),
            server_key=server[0].decode(),
            public_key=worker[0].decode(),
            secret_key=worker[1].decode(),
            secure_bulk=True,
            **ends,
        )
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-u", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.process.stdin.write(msgspec.json.encode(boot) + b"\n")
        self.process.stdin.flush()
        self.seq = {"control": 0, "down": 0}

    def receive(self):
        return msgspec.json.decode(self.sockets["control"].recv_multipart()[1], type=m.FromWorker)

    def send(self, message):
        message.seq = self.seq["control"]
        self.seq["control"] += 1
        self.sockets["control"].send_multipart([b"worker", msgspec.json.encode(message)])

    def welcome(self):
        hello = self.receive()
        self.send(m.Welcome())
        return hello

    def send_array(self, job: int, stream: int, array: np.ndarray, change=lambda parts: None):
        import base64

        columns = [m.Column(name="values", type="float32", shape=list(array.shape[1:]))]
        codec = FrameCodec(columns)
        schema = base64.b64encode(codec.schema).decode()
        self.send(m.Stream(stream=stream, id=job, plane="array", name="x", columns=columns, schema=schema))
        rows, body = codec.body([array])
        header = m.FrameHeader(stream=stream, seq=self.seq["down"], rows=rows, dropped=0, step=None)
        self.seq["down"] += 1
        parts = [bytearray(part) for part in codec.encode(header, body)]
        change(parts)
        self.sockets["down"].send_multipart(parts)

    def feed(self, job: int, stream: int, array: np.ndarray, change=lambda parts: None, announce=True):
        import base64

        columns = [m.Column(name="activation", type="float32", shape=list(array.shape[1:]))]
        codec = FrameCodec(columns)
        if announce:
            schema = base64.b64encode(codec.schema).decode()
            self.send(m.Stream(stream=stream, id=job, plane="feed", name="x", columns=columns, schema=schema))
        rows, body = codec.body([array])
        header = m.FrameHeader(stream=stream, seq=self.seq["down"], rows=rows, dropped=0, step=None)
        self.seq["down"] += 1
        parts = [bytearray(part) for part in codec.encode(header, body)]
        change(parts)
        self.sockets["down"].send_multipart(parts)

    def receive_credit(self) -> int:
        message = self.receive()
        assert (message.kind, list(message.data)) == ("credit", ["count"]), message
        return message.data["count"]

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.context.destroy(linger=0)


@pytest.fixture
def peer(tmp_path):
    started = Peer(tmp_path)
    yield started
    started.close()


def request(op: str, number: int, arrays: int = 0, **params):
    return m.Request(id=number, op=op, params=params, arrays=arrays)


def test_says_hello_with_what_the_handshake_compares(peer):
    hello = peer.welcome()
    assert (hello.version, hello.schema_hash, hello.session) == (1, m.schema_hash(), "s")
    assert hello.pid == peer.process.pid


def test_leaves_with_78_when_it_is_refused(peer):
    peer.receive()
    peer.send(m.Reject(message="too old"))
    assert peer.process.wait(10) == 78
    assert b"too old" in peer.process.stdout.read()


@pytest.mark.parametrize("part", range(5))
def test_refuses_a_broken_array_and_lives_on(peer, part):
    def flip(parts):
        parts[part][len(parts[part]) // 2] ^= 255

    peer.welcome()
    peer.send(request("echo", 1, arrays=1))
    time.sleep(0.3)  # the request is there before its array, so the worker knows whose array is broken
    peer.send_array(1, 0, np.ones((3, 4), np.float32), flip)
    error = peer.receive()
    assert (error.id, error.code) == (1, "PROTOCOL")
    peer.send(request("echo", 2, arrays=1))
    time.sleep(0.1)
    peer.send_array(2, 1, np.ones((3, 4), np.float32))
    assert isinstance(peer.receive(), m.Stream)
    assert peer.receive().arrays == 1


def test_a_request_cancelled_before_its_arrays_came_never_runs(peer):
    peer.welcome()
    peer.send(request("echo", 1, arrays=1))
    peer.send(m.Cancel(id=1))
    error = peer.receive()
    assert (error.id, error.code) == (1, "INTERRUPTED")
    peer.send_array(1, 0, np.ones((3, 4), np.float32))
    peer.send(request("ping", 2))
    assert peer.receive().result == {"busy": 0}


def test_says_that_arrays_are_missing_when_there_is_a_gap(peer):
    peer.welcome()
    peer.seq["down"] = 5
    peer.send(request("echo", 1, arrays=1))
    time.sleep(0.3)
    peer.send_array(1, 0, np.ones((3, 4), np.float32))
    assert peer.receive().message.startswith("Data message 5 came where 0 was due")


@pytest.mark.parametrize("text", [b"{", b'{"type":"nonsense"}', b'{"type":"cancel","seq":1}', b"\xff" * 100])
def test_complains_about_a_malformed_control_message(peer, text):
    peer.welcome()
    peer.sockets["control"].send_multipart([b"worker", text])
    error = peer.receive()
    assert (error.id, error.code) == (None, "PROTOCOL")


def test_counts_metrics_rows_it_could_not_keep():
    from pyworker.metrics_queue import MetricsQueue

    queue = MetricsQueue(max_rows=3)
    for step in range(5):
        queue.put(0, ["step"], {"step": step})
    stream, (steps,), dropped = queue.take()
    assert (stream, steps.tolist(), dropped) == (0, [2.0, 3.0, 4.0], 2)
    assert queue.rows_put == queue.rows_taken == 5


def test_rows_never_wait_for_an_orchestrator_that_does_not_read(peer):
    peer.welcome()
    peer.send(request("rows", 1, n=50_000))
    time.sleep(0.2)
    started = time.monotonic()
    while not isinstance(message := peer.receive(), m.Stream):
        pass
    seen = 0
    rows = 0
    while True:
        header = json.loads(peer.sockets["metrics"].recv_multipart()[0])
        assert header["seq"] == seen
        seen += 1
        rows += header["rows"] + header["dropped"]
        if rows >= 50_000 + 500:
            break
    assert message and time.monotonic() - started < 30


def test_dies_with_its_children_when_stdin_ends(peer):
    peer.welcome()
    peer.send(request("child", 1))
    child = peer.receive().result["pid"]
    peer.process.stdin.close()
    assert peer.process.wait(5) == -signal.SIGKILL
    deadline = time.monotonic() + 5
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(child)


def test_ignores_ctrl_c_and_dumps_its_stacks_when_asked(peer):
    peer.welcome()
    os.kill(peer.process.pid, signal.SIGINT)
    os.kill(peer.process.pid, signal.SIGUSR1)
    peer.send(request("echo", 1, ok=True))
    assert peer.receive().result == {"ok": True}
    peer.send(request("shutdown", 2))
    assert b"most recent call first" in peer.process.stdout.read()
    assert peer.process.wait(5) == 0


def test_the_command_server_imports_no_torch():
    script = (
        "import sys; import pyworker.serve, pyworker.channel, pyworker.session; print('torch' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=False, text=True
    )
    assert run.stdout.strip() == "False", run.stderr


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except OSError:
        return False


def test_a_request_is_fed_while_it_runs_and_says_how_much_it_has_room_for(peer):
    peer.welcome()
    peer.send(request("feed", 1, ahead=2))
    assert peer.receive_credit() == 2
    for number, rows in enumerate((3, 1, 5)):
        peer.feed(1, 0, np.ones((rows, 4), np.float32), announce=number == 0)
        assert peer.receive_credit() == 1
    peer.send(request("end_feed", 2, id=1, frames=3))
    answers = {message.id: message.result for message in (peer.receive(), peer.receive())}
    assert answers == {1: {"rows": 9, "total": 36.0}, 2: {"running": True}}


def test_frames_that_come_after_their_request_ended_disturb_nobody(peer):
    peer.welcome()
    peer.send(request("feed", 1, ahead=1))
    assert peer.receive_credit() == 1
    peer.feed(1, 0, np.ones((3, 4), np.float32))
    assert peer.receive_credit() == 1
    peer.send(request("stop", 2, id=1))
    assert {peer.receive().id, peer.receive().id} == {1, 2}
    for _ in range(100):
        peer.feed(1, 0, np.ones((3, 4), np.float32), announce=False)
    peer.send(request("ping", 3))
    assert peer.receive().result == {"busy": 0}


@pytest.mark.parametrize("part", [1, 3])
def test_a_feed_of_another_schema_or_length_is_refused_and_the_worker_lives_on(peer, part):
    def flip(parts):
        # The checksum is made good again: the frame itself is not what was announced.
        parts[part][len(parts[part]) // 2] ^= 255
        if part == 3:
            del parts[3][8:]
        crc = 0
        for piece in parts[:4]:
            crc = zlib.crc32(piece, crc)
        parts[4][:] = crc.to_bytes(4, "little")

    peer.welcome()
    peer.send(request("feed", 1, ahead=2))
    peer.receive_credit()
    peer.feed(1, 0, np.ones((3, 4), np.float32), flip)
    error = peer.receive()
    assert (error.id, error.code) == (1, "PROTOCOL")
    peer.send(request("ping", 2))
    assert peer.receive().result == {"busy": 0}


def test_more_frames_than_there_is_room_for_end_the_request(peer):
    peer.welcome()
    peer.send(request("feed", 1, ahead=2, sleep=0.3))
    peer.receive_credit()
    for number in range(8):
        peer.feed(1, 0, np.ones((3, 4), np.float32), announce=number == 0)
    messages = []
    while not messages or not isinstance(messages[-1], m.Error):
        messages.append(peer.receive())
    assert messages[-1].code == "PROTOCOL"
    assert "had a place" in messages[-1].message
