"""Batches of activations: nothing lost, nothing unseeded, the same with and without a thread."""

import threading
from contextlib import closing
from itertools import islice

import pytest
import torch
from small_data import SmallModel, make_config, word_tokenizer

from pyworker.data.activation_stream import ActivationStream
from pyworker.data.held_out import open_token_data
from pyworker.data.model_rows import LanguageModelRows
from pyworker.data.prefetch import Prefetch
from pyworker.errors import WorkerError
from pyworker.files import write_files
from pyworker.train.training_state import read_state, state_files


def open_stream(model, **options) -> ActivationStream:
    config = make_config(**options)
    rows = LanguageModelRows(config, model, open_token_data(config, model).training)
    return ActivationStream(config, rows)


def take(stream, n: int) -> list[torch.Tensor]:
    return [next(stream) for _ in range(n)]


def equal(first, second) -> bool:
    return len(first) == len(second) and all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def served_rows(stream) -> list[tuple[int, int]]:
    """(sequence, position) of each row served."""
    rows = []
    for _ in stream:
        rows += zip(stream.rows.sequence_N.tolist(), stream.rows.position_N.tolist(), strict=True)
    return rows


def test_every_row_is_what_the_model_gives_at_its_recorded_origin(model, texts):
    stream = open_stream(model, dataset_path=texts)
    sequences = open_token_data(make_config(dataset_path=texts), model).training.sequences()
    first = [next(sequences) for _ in range(200)]
    for _ in range(12):
        x_BD = next(stream)
        assert x_BD.shape == (32, 6)
        assert x_BD.dtype == torch.float32
        rows = stream.rows
        for x, token, position, sequence in zip(*rows, strict=True):
            tokens = first[int(sequence)]
            assert tokens[int(position)] == int(token)
            expected = model.activations(torch.from_numpy(tokens)[None])[0, int(position)]
            assert torch.allclose(x, expected, atol=1e-6)


def test_no_token_is_lost_or_trained_on_twice_in_an_epoch(model, texts):
    stream = open_stream(model, dataset_path=texts, on_data_end="stop")
    data = open_token_data(make_config(dataset_path=texts, on_data_end="stop"), model)
    n_tokens = 8 * sum(1 for _ in data.training.sequences())
    rows = served_rows(stream)
    assert len(rows) == len(set(rows)) == n_tokens // 32 * 32


def test_the_model_sees_one_shape_only_to_the_end_of_the_data(model, texts):
    for _ in open_stream(model, dataset_path=texts, on_data_end="stop"):
        pass
    assert model.shapes == {(4, 8)}


def test_the_same_seed_gives_the_same_batches_and_another_one_others(model, texts):
    batches = take(open_stream(model, dataset_path=texts), 10)
    assert equal(batches, take(open_stream(model, dataset_path=texts), 10))
    assert not equal(batches, take(open_stream(model, dataset_path=texts, seed=1), 10))


@pytest.mark.parametrize("n_ahead", [1, 4])
def test_a_background_thread_changes_no_number(model, texts, n_ahead):
    stream = open_stream(model, dataset_path=texts, prefetch_llm_batches=n_ahead, on_data_end="stop")
    assert equal(list(stream), list(open_stream(model, dataset_path=texts, on_data_end="stop")))
    stream.close()


def test_closing_and_restarting_leave_no_thread_behind(model, texts):
    before = threading.active_count()
    stream = open_stream(model, dataset_path=texts, prefetch_llm_batches=2)
    first = take(stream, 3)
    stream.restart()
    assert equal(first, take(stream, 3))
    stream.close()
    assert threading.active_count() == before


def test_while_paused_the_thread_leaves_the_model_alone(model, texts):
    stream = open_stream(model, dataset_path=texts, prefetch_llm_batches=1)
    next(stream)
    with stream.paused():
        n_calls = model.n_calls
        threading.Event().wait(0.2)
        assert model.n_calls == n_calls
    for _ in range(10):
        next(stream)
    assert model.n_calls > n_calls
    stream.close()


def test_an_error_in_the_thread_is_raised_where_the_batch_is_asked_for():
    def failing():
        yield 1
        raise WorkerError("NOT_FINITE", "bad rows")

    items = Prefetch(failing(), 2)
    assert next(items) == 1
    for _ in range(2):
        with pytest.raises(WorkerError, match="bad rows"):
            next(items)


def test_peeking_gives_the_full_buffer_and_consumes_nothing(model, texts):
    stream = open_stream(model, dataset_path=texts)
    rows = stream.peek_rows()
    assert rows.shape == (4 * 4 * 8, 6)
    assert equal(take(stream, 8), take(open_stream(model, dataset_path=texts), 8))


def test_each_batch_of_the_model_that_was_waited_for_is_told(model, texts):
    stream, told = open_stream(model, dataset_path=texts), []
    stream.on_fill = lambda *rows: told.append(rows)
    stream.peek_rows()
    assert told == [(32 * n, 128) for n in range(1, 5)]
    next(stream)
    assert len(told) == 4
    take(stream, 20)
    assert len(told) > 4, "refills are waited for as well"


def test_estimation_loses_no_batch_and_takes_no_more_than_the_run_has(model, texts):
    batches = take(open_stream(model, dataset_path=texts), 20)
    stream = open_stream(model, dataset_path=texts)
    assert equal(list(stream.estimation_batches()), batches[:5])
    assert equal(take(stream, 10), batches[:10])
    short = open_stream(model, dataset_path=texts, n_batches_for_norm_estimate=1000, training_tokens=100)
    assert equal(list(short.estimation_batches()), batches[:4])


def test_estimation_sees_the_steps_of_a_run_whatever_it_leaves_unread(model, texts):
    stream = open_stream(model, dataset_path=texts, prefetch_llm_batches=2)
    estimate = stream.estimation_batches()
    first = next(estimate)
    estimate.close()
    assert torch.equal(next(stream), first)
    stream.close()


@pytest.mark.parametrize("bounds", [[2, 6], [2, 6, 1], [None, 6, None], [-3, None], [0, 8, 2], [None]])
def test_only_the_positions_of_the_slice_are_trained_on(model, texts, bounds):
    kept = list(range(8))[slice(*bounds)]
    stream = open_stream(model, dataset_path=texts, seqpos_slice=bounds, on_data_end="stop")
    rows = served_rows(stream)
    assert {position for _, position in rows} == set(kept)
    assert len(set(rows)) == len(rows)


@pytest.mark.parametrize(
    ("excluded", "ids"), [(True, {0, 1, 2, 3}), ([0, 9], {0, 9}), (False, set()), ([], set())]
)
def test_excluded_tokens_never_appear_and_batches_stay_whole(model, texts, excluded, ids):
    stream = open_stream(model, dataset_path=texts, exclude_special_tokens=excluded)
    seen: set[int] = set()
    for _ in range(30):
        assert next(stream).shape == (32, 6)
        seen |= set(stream.rows.token_id_N.tolist())
    assert not seen & ids
    assert (0 in seen) == (0 not in ids)


def test_excluding_everything_is_an_error_not_a_loop(model, texts):
    with pytest.raises(WorkerError, match="gave no activation to train on") as caught:
        next(open_stream(model, dataset_path=texts, exclude_special_tokens=list(range(44))))
    assert caught.value.code == "DATASET_EXHAUSTED"


def test_an_id_to_exclude_that_the_model_does_not_know_is_refused(model, texts):
    with pytest.raises(WorkerError, match="lists 44, 999, but the model's token ids are 0 to 43") as caught:
        open_stream(model, dataset_path=texts, exclude_special_tokens=[3, 44, 999])
    assert caught.value.code == "CONFIG_INVALID"


class FaultyModel(SmallModel):
    """Gives NaN at the first position of some prompts."""

    def __init__(self, every: int):
        super().__init__(word_tokenizer())
        self.every = every

    def activations(self, tokens_PC):
        acts_PCD = super().activations(tokens_PC)
        if self.n_calls % self.every == 0:
            acts_PCD[0, 0, 0] = float("nan")
        return acts_PCD


def test_a_few_rows_that_are_not_finite_are_dropped_counted_and_said_once(texts, caplog):
    stream = open_stream(FaultyModel(every=40), dataset_path=texts)
    for _ in range(200):
        assert torch.isfinite(next(stream)).all()
    assert stream.n_not_finite == pytest.approx(200 / 40, abs=1)
    assert len([r for r in caplog.records if "NaN or infinity" in r.message]) == 1


def test_many_rows_that_are_not_finite_stop_the_run_with_their_number(texts):
    stream = open_stream(FaultyModel(every=1), dataset_path=texts)
    with pytest.raises(WorkerError, match=r"11 of \d+ activation rows .* limit is 0.1%") as caught:
        take(stream, 100)
    assert caught.value.code == "NOT_FINITE"


def test_rows_are_stored_in_dtype_and_served_in_the_dtype_of_the_sae(model, texts):
    exact = next(open_stream(model, dataset_path=texts))
    stream = open_stream(model, dataset_path=texts, dtype="bfloat16")
    assert torch.equal(next(stream), exact.bfloat16().float())
    assert stream.peek_rows().dtype == torch.float32


class Overflowing:
    """A model that gives NaN now and then."""

    def __init__(self, model):
        self.model, self.vocab_size, self.special_token_ids = model, model.vocab_size, model.special_token_ids

    def activations(self, tokens_PC):
        rare_PC = (tokens_PC == 7) & (tokens_PC.roll(1, 1) < 11)
        return self.model.activations(tokens_PC).masked_fill(rare_PC[..., None], float("nan"))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"prefetch_llm_batches": 3, "exclude_special_tokens": True},
        {"activations_mixing_fraction": 0.0, "on_data_end": "stop"},
        {"activations_mixing_fraction": 1.0, "seqpos_slice": [2, -1], "dtype": "bfloat16"},
    ],
    ids=str,
)
def test_a_stream_goes_on_from_its_state_behind_any_batch(model, texts, tmp_path, options):
    """The state crosses the disk, as it does in a run."""

    def rest_of(stream, n: int):
        with closing(stream):
            batches = [stream.rows for _ in islice(stream, n)]
            return batches, stream.n_batches, stream.n_not_finite

    def opened(state=None):
        cfg = make_config(dataset_path=texts, train_batch_size_tokens=24, **options)
        lm = Overflowing(model)
        return ActivationStream(cfg, LanguageModelRows(cfg, lm, open_token_data(cfg, model).training), state)

    n_whole = 40
    whole, n_batches, n_not_finite = rest_of(opened(), n_whole)
    assert len(whole) > 20 and n_not_finite > 0
    for n_before in (0, 1, 2, 5, 9, 17, len(whole)):
        with closing(opened()) as stream:
            for _ in islice(stream, n_before):
                pass
            write_files(state_files(stream.state()), tmp_path)
        rest, *counts = rest_of(opened(read_state(tmp_path)), n_whole - n_before)
        assert len(rest) == len(whole) - n_before
        for ours, theirs in zip(rest, whole[n_before:], strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
        assert counts[0] == n_batches
        assert options.get("prefetch_llm_batches") or counts[1] == n_not_finite
