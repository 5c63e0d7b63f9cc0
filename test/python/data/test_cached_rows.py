"""Rows of a cache: every one of them, in an order that a number leads back to, with where each one came from."""

import numpy as np
import pytest
import torch
from small_cache import HOOK, write_small_cache
from small_data import make_config

from pyworker.data.activation_cache import ActivationCache
from pyworker.data.activation_stream import ActivationStream
from pyworker.data.cached_rows import CachedRows, CachedSequences, HeldOutSequences
from pyworker.errors import WorkerError

N = 14


def configure(**options):
    return make_config(hook_name=HOOK, use_cached_activations=True, **options)


def open_rows(path, n_reserved=0, **options) -> CachedRows:
    config = configure(**options)
    return CachedRows(config, CachedSequences(ActivationCache.open(path), HOOK), n_reserved, lambda: [0])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache"


def sequences_of(chunk, held) -> list[int]:
    """The places in the cache of the sequences of a chunk, found by their activations and checked by their tokens."""
    x_PSD = chunk.x_ND.reshape(-1, 8, 6).numpy()
    tokens_PS = chunk.token_id_N.reshape(-1, 8).numpy()
    found = [int(np.flatnonzero((held[HOOK] == x_SD).all(axis=(1, 2)))[0]) for x_SD in x_PSD]
    assert np.array_equal(tokens_PS, held["token_ids"][found])
    assert chunk.position_N.tolist() == list(range(8)) * len(found)
    return found


def test_an_epoch_has_every_sequence_once_and_the_next_one_another_order(path):
    held = write_small_cache(path)
    chunks = open_rows(path).chunks()
    order = [n for _ in range(7) for n in sequences_of(next(chunks), held)]
    first, second = order[:N], order[N : 2 * N]
    assert sorted(first) == sorted(second) == list(range(N))
    assert first != second
    assert first != list(range(N))


def test_rows_say_which_sequence_of_the_stream_they_are_of(path):
    write_small_cache(path)
    chunks = open_rows(path).chunks()
    numbers = [n for _ in range(7) for n in next(chunks).sequence_N[::8].tolist()]
    assert numbers == list(range(28))


def test_the_order_is_that_of_the_seed(path):
    held = write_small_cache(path)
    orders = [sequences_of(next(open_rows(path, seed=seed).chunks()), held) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_without_mixing_the_order_is_that_on_disk(path):
    held = write_small_cache(path)
    chunks = open_rows(path, 2, activations_mixing_fraction=0).chunks()
    order = [n for _ in range(4) for n in sequences_of(next(chunks), held)]
    assert order == [*range(2, N), *range(2, 6)]


@pytest.mark.parametrize("start", [1, 3, 5, 11])
def test_reading_goes_on_at_any_chunk(path, start):
    write_small_cache(path)
    whole = open_rows(path).chunks()
    for _ in range(start):
        next(whole)
    resumed = open_rows(path).chunks(start)
    for _ in range(3):
        for one, other in zip(next(whole), next(resumed), strict=True):
            assert torch.equal(one, other)


def test_the_data_ends_where_it_is_to_stop_and_is_read_again_where_not(path, caplog):
    write_small_cache(path)
    sizes = [chunk.n_rows // 8 for chunk in open_rows(path, on_data_end="stop").chunks()]
    assert sizes == [4, 4, 4, 2]
    assert "on_data_end is stop" in caplog.text
    stream = ActivationStream(configure(), open_rows(path))
    for _ in range(20):
        next(stream)
    assert caplog.text.count("it is read again") == 1


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16"])
def test_the_stream_serves_every_type_of_cache(path, dtype):
    held = write_small_cache(path, dtype=dtype)
    options = {"activations_mixing_fraction": 0, "dtype": dtype}
    x_BD = next(ActivationStream(configure(**options), open_rows(path, **options)))
    assert x_BD.dtype == torch.float32
    expected = torch.from_numpy(held[HOOK].reshape(-1, 6)[:32])
    assert torch.equal(x_BD, expected.to(getattr(torch, dtype)).float())


def test_positions_are_those_of_the_text_where_the_manifest_knows_them(path):
    write_small_cache(path, context_size=16, seqpos_slice=[4, 12])
    assert next(open_rows(path).chunks()).position_N[:8].tolist() == list(range(4, 12))


def test_excluded_tokens_are_left_out_and_need_tokens(path):
    write_small_cache(path)
    stream = ActivationStream(configure(exclude_special_tokens=True), open_rows(path))
    seen = {token for _ in range(20) for token in (next(stream), stream.rows.token_id_N.tolist())[1]}
    assert 0 not in seen
    assert len(seen) > 20
    sequences = CachedSequences(ActivationCache.open(path), HOOK)
    sequences.has_tokens = False
    with pytest.raises(WorkerError, match="holds no token ids"):
        CachedRows(configure(exclude_special_tokens=[0]), sequences, 0, list)


def test_what_is_held_out_is_the_head_of_the_cache_and_a_tenth_at_most(path, caplog):
    held = write_small_cache(path, shards=((30,), (30,)))
    sequences = CachedSequences(ActivationCache.open(path), HOOK)
    few = HeldOutSequences(configure(n_eval_batches=2, eval_batch_size_prompts=2), sequences)
    assert [sequences_of(batch, held) for batch in few.batches()] == [[0, 1], [2, 3]]
    assert np.array_equal(few.tokens().numpy(), held["token_ids"][:4])
    assert "kept for evaluation" not in caplog.text
    many = HeldOutSequences(configure(n_eval_batches=9, eval_batch_size_prompts=4), sequences)
    assert (many.n_sequences, many.n_batches) == (6, 2)
    assert "6 of the 36 asked are kept for evaluation" in caplog.text


def test_a_cache_that_evaluation_takes_whole_cannot_be_trained_on(path):
    write_small_cache(path, shards=((1,),))
    with pytest.raises(WorkerError, match="no sequence to train on") as caught:
        open_rows(path, n_reserved=1)
    assert caught.value.code == "DATASET_EXHAUSTED"


def test_rows_that_are_not_finite_are_the_caches_and_no_model_is_blamed(path, caplog):
    held = write_small_cache(path, shards=((4,),))
    shard = path / "data-00000-of-00001.arrow"
    data = bytearray(shard.read_bytes())
    nan = np.array([np.nan], np.float32).tobytes()
    for row in range(4):
        for x_D in held[HOOK][row]:
            at = data.index(x_D.tobytes())
            data[at : at + 4] = nan
    shard.write_bytes(data)
    stream = ActivationStream(configure(), open_rows(path))
    monkey_limit = pytest.MonkeyPatch()
    monkey_limit.setattr("pyworker.data.activation_stream.NOT_FINITE_GRACE_ROWS", 1)
    try:
        with caplog.at_level("WARNING"), pytest.raises(WorkerError, match="of cache '") as found:
            next(stream)
    finally:
        stream.close()
        monkey_limit.undo()
    assert found.value.code == "NOT_FINITE"
    assert "model" not in found.value.message + found.value.hint + caplog.text.replace(str(path), "")
