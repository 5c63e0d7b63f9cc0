"""Rows that come from outside: in their order, checked, and never more of them than there is room for."""

import threading
import time

import numpy as np
import pytest
import torch
from small_data import make_config

from pyworker.data.activation_stream import ActivationStream
from pyworker.data.fed_rows import FedRows
from pyworker.errors import WorkerError
from pyworker.feed import Feed

ROWS = 200


def frames_of(x_ND: np.ndarray, *sizes: int):
    """The rows as frames of these sizes, over and over."""
    start = 0
    while start < len(x_ND):
        for size in sizes:
            part = x_ND[start : start + size]
            ids = np.arange(start, start + len(part))
            yield [ids.astype(np.int32), ids.astype(np.int32), ids.astype(np.int64), part]
            start += size


def fed(frames, d_in: int | None) -> FedRows:
    return FedRows(next(frames, None), frames, d_in)


@pytest.fixture
def x_ND():
    return np.random.default_rng(0).standard_normal((ROWS, 6)).astype(np.float32)


def test_ragged_frames_become_batches_in_order(x_ND):
    stream = ActivationStream(make_config(activations_mixing_fraction=0), fed(frames_of(x_ND, 7, 50, 1), 6))
    served = torch.cat(list(stream))
    assert len(served) == ROWS // 32 * 32
    assert np.array_equal(served.numpy(), x_ND[: len(served)])


def test_an_estimate_takes_what_the_buffer_holds_and_loses_nothing(x_ND):
    stream = ActivationStream(make_config(activations_mixing_fraction=0), fed(frames_of(x_ND, 40), None))
    estimate = torch.cat(list(stream.estimation_batches()))
    assert np.array_equal(estimate.numpy(), x_ND[: len(estimate)])
    assert len(estimate) == 160
    assert np.array_equal(torch.cat(list(stream)).numpy(), x_ND[:192])


def test_another_width_no_rows_and_rows_that_are_not_finite_are_typed_errors(x_ND):
    with pytest.raises(WorkerError, match=r"sae\.d_in is 8, but the activations fed are 6 wide") as caught:
        fed(frames_of(x_ND, 10), 8)
    assert caught.value.code == "D_IN_MISMATCH"
    with pytest.raises(WorkerError, match="before their first row") as caught:
        fed(iter([]), None)
    assert caught.value.code == "DATASET_EXHAUSTED"
    x_ND[33, 2] = np.nan
    with pytest.raises(WorkerError, match="row 33 of the activations fed has NaN") as caught:
        list(fed(frames_of(x_ND, 10), None).chunks())
    assert caught.value.code == "NOT_FINITE"


def test_special_tokens_without_a_model_must_be_listed(x_ND):
    with pytest.raises(WorkerError, match="no model says which tokens") as caught:
        ActivationStream(make_config(exclude_special_tokens=True), fed(frames_of(x_ND, 10), None))
    assert caught.value.code == "CONFIG_INVALID"
    stream = ActivationStream(make_config(exclude_special_tokens=[3]), fed(frames_of(x_ND, 10), None))
    next(stream)
    assert 3 not in stream.rows.token_id_N


def consumed(feed: Feed) -> list[int]:
    return [int(frame[0][0]) for frame in feed.frames(2, lambda: None)]


def test_a_feed_gives_room_for_a_frame_when_one_is_done_with():
    granted = []
    feed = Feed(granted.append, lambda: False)
    frames = feed.frames(2, lambda: None)
    threading.Timer(0.05, lambda: feed.put([np.zeros(1)])).start()
    next(frames)
    assert granted == [2]
    feed.put([np.zeros(1)])
    next(frames)
    assert granted == [2, 1]


def test_a_feed_ends_when_all_its_frames_came_whatever_comes_first():
    for first in ("end", "frame"):
        feed = Feed(lambda count: None, lambda: False)
        if first == "end":
            threading.Timer(0.05, lambda feed=feed: feed.put([np.array([7])])).start()
            feed.end(1)
        else:
            threading.Timer(0.05, lambda feed=feed: feed.end(1)).start()
            threading.Timer(0.02, lambda feed=feed: feed.put([np.array([7])])).start()
        assert consumed(feed) == [7]


def test_whoever_waits_for_a_frame_hears_of_a_stop_at_once_and_says_that_it_waits(monkeypatch):
    stopped = threading.Event()
    feed, told = Feed(lambda count: None, stopped.is_set), []
    monkeypatch.setattr("pyworker.feed.SIGN_OF_LIFE_S", 0.05)
    threading.Timer(0.3, lambda: (stopped.set(), feed.wake())).start()
    began = time.monotonic()
    assert list(feed.frames(2, lambda: told.append(1))) == []
    assert time.monotonic() - began < 2
    assert len(told) >= 2


def test_a_frame_that_nobody_made_room_for_or_that_is_broken_ends_the_feed():
    feed = Feed(lambda count: None, lambda: False)
    frames = feed.frames(1, lambda: None)
    threading.Timer(0.05, lambda: feed.put([np.zeros(1)])).start()
    next(frames)
    feed.put([np.zeros(1)])
    with pytest.raises(WorkerError, match="Frame 2 of a feed came where 1 had a place") as caught:
        next(frames)
    assert caught.value.code == "PROTOCOL"
    broken = Feed(lambda count: None, lambda: False)
    broken.fail("a flipped byte")
    with pytest.raises(WorkerError, match="a flipped byte"):
        next(broken.frames(1, lambda: None))
