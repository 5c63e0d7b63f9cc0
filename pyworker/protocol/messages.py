"""The language of the border: every control message, the boot line and the header of a data frame.

Twin of src/protocol/messages.ts: same names, same fields, same order (test/contract/protocol.test.ts holds
them equal). Nothing is optional across the border: every key is always sent, absence is ``null``, an unknown
key is an error.
"""

import hashlib
import json
from typing import Any, Literal

import msgspec

PROTOCOL_VERSION = 1

ColumnType = Literal["float64", "float32", "float16", "bfloat16", "int64", "int32", "uint8"]


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """Base of everything that crosses."""


class Column(Strict):
    """One fixed-width column. ``shape`` is that of one row: ``[]`` a number, ``[768]`` a vector."""

    name: str
    type: ColumnType
    shape: list[int]


class Boot(Strict):
    """The first line on the worker's stdin: where to connect, and the keys. Never in argv, environment or a
    file.
    """

    version: int
    session: str
    parent_pid: int
    control: str
    metrics: str
    up: str
    down: str
    server_key: str
    public_key: str
    secret_key: str
    secure_bulk: bool


class FrameHeader(Strict):
    """First part of a data message; parts 2 to 5 are Arrow schema, record-batch header, body, and CRC-32 of
    all before.

    ``seq`` counts the messages of its plane from 0; ``dropped`` the rows this stream lost to a full queue or
    to missing credits since its last frame; ``step`` the training step of an activation frame.
    """

    stream: int
    seq: int
    rows: int
    dropped: int
    step: int | None


class Hello(Strict, tag_field="type", tag="hello", kw_only=True):
    """Worker's first message."""

    seq: int = 0
    version: int
    schema_hash: str
    session: str
    pid: int
    python: str


class Welcome(Strict, tag_field="type", tag="welcome", kw_only=True):
    """The handshake is done."""

    seq: int = 0


class Reject(Strict, tag_field="type", tag="reject", kw_only=True):
    """The handshake is refused; the worker leaves."""

    seq: int = 0
    message: str


class Request(Strict, tag_field="type", tag="request", kw_only=True):
    """Run ``op``; ``arrays`` frames with the streams announced for ``id`` belong to it."""

    seq: int = 0
    id: int
    op: str
    params: dict[str, Any]
    arrays: int


class Cancel(Strict, tag_field="type", tag="cancel", kw_only=True):
    """The answer to ``id`` is no longer wanted."""

    seq: int = 0
    id: int


class Credit(Strict, tag_field="type", tag="credit", kw_only=True):
    """``count`` more activation frames of ``id`` have a place to go."""

    seq: int = 0
    id: int
    count: int


class Stream(Strict, tag_field="type", tag="stream", kw_only=True):
    """Announces a stream before its first frame. ``schema`` is base64 of the exact Arrow schema bytes of each
    frame.
    """

    seq: int = 0
    stream: int
    id: int
    plane: Literal["metrics", "tap", "array", "feed"]
    name: str
    columns: list[Column]
    schema: str


class Response(Strict, tag_field="type", tag="response", kw_only=True):
    """The result of ``id``. The ``_seq`` fields say how many data messages were sent before it."""

    seq: int = 0
    id: int
    result: Any
    arrays: int
    metrics_seq: int
    up_seq: int


class Error(Strict, tag_field="type", tag="error", kw_only=True):
    """``id`` failed; ``id`` null means the worker cannot say which request a broken message belonged to."""

    seq: int = 0
    id: int | None
    code: str
    message: str
    hint: str | None
    details: dict[str, Any]
    traceback: str | None
    metrics_seq: int
    up_seq: int


class Event(Strict, tag_field="type", tag="event", kw_only=True):
    """Something that happened while ``id`` runs: stage, log, started, checkpoint, ..."""

    seq: int = 0
    id: int
    kind: str
    data: dict[str, Any]


class Bye(Strict, tag_field="type", tag="bye", kw_only=True):
    """The worker's last message, with the number of data messages it sent in its life."""

    seq: int = 0
    metrics_seq: int
    up_seq: int


ToWorker = Welcome | Reject | Request | Cancel | Credit | Stream
FromWorker = Hello | Stream | Response | Error | Event | Bye

ALL = [
    Column,
    Boot,
    FrameHeader,
    Hello,
    Welcome,
    Reject,
    Request,
    Cancel,
    Credit,
    Stream,
    Response,
    Error,
    Event,
    Bye,
]


MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises for bytes that are no message, of whatever kind."""


def describe() -> list[list[Any]]:
    """Names and fields of everything that crosses, in order: what ``schema_hash`` is made of."""
    return [[t.__name__, [f.name for f in msgspec.structs.fields(t)]] for t in ALL]


def schema_hash() -> str:
    """Short hash of :func:`describe`; both sides compute it and the handshake compares them."""
    text = json.dumps([PROTOCOL_VERSION, describe()], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
