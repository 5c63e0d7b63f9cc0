"""The format of a cache of activations: what is written is read in place, by us and by ``datasets``."""

import json

import datasets
import numpy as np
import pytest
import torch
from small_cache import HOOK, write_small_cache
from small_data import make_config

from pyworker.data.activation_cache import ActivationCache
from pyworker.data.activation_cache_work import CacheShape
from pyworker.data.activation_cache_writer import bytes_per_sequence
from pyworker.errors import WorkerError

TWO_HOOKS = {HOOK: 6, "blocks.1.hook_mlp_out": 10}


def everything(cache: ActivationCache, hook: str) -> np.ndarray:
    return np.concatenate([b.activations[hook] for shard in cache.shards for b in shard.batches])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_what_is_written_is_read_bit_for_bit_and_not_copied(tmp_path, dtype):
    written = write_small_cache(tmp_path / "cache", d_in=TWO_HOOKS, dtype=dtype)
    cache = ActivationCache.open(tmp_path / "cache")
    assert (cache.n_sequences, cache.context, cache.dtype, cache.d_in) == (14, 8, dtype, TWO_HOOKS)
    for hook in TWO_HOOKS:
        assert np.array_equal(everything(cache, hook), written[hook])
    batch = cache.shards[0].batches[0]
    assert not batch.activations[HOOK].flags.owndata
    assert not batch.activations[HOOK].flags.writeable
    assert np.array_equal(batch.token_ids_NS, written["token_ids"][:4])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_library_datasets_reads_what_we_write(tmp_path, dtype):
    written = write_small_cache(tmp_path / "cache", d_in=TWO_HOOKS, dtype=dtype)
    rows = datasets.load_from_disk(str(tmp_path / "cache"))
    rows.set_format("torch", columns=[HOOK, "token_ids"], dtype=torch.float32)
    part = rows[2:13]  # across record batches and files
    assert torch.equal(part[HOOK], torch.from_numpy(written[HOOK][2:13]).float())
    assert np.array_equal(part["token_ids"].numpy(), written["token_ids"][2:13])


def test_a_cache_that_the_library_datasets_wrote_is_read_in_place(tmp_path):
    x = np.random.default_rng(0).standard_normal((25, 8, 6)).astype(np.float32)
    features = datasets.Features(
        {
            HOOK: datasets.Array2D(shape=(8, 6), dtype="float32"),
            "token_ids": datasets.Sequence(datasets.Value("int32"), length=8),
        }
    )
    tokens = np.arange(200, dtype=np.int32).reshape(25, 8)
    rows = datasets.Dataset.from_dict({HOOK: x, "token_ids": tokens}, features=features)
    rows.save_to_disk(str(tmp_path / "cache"), num_shards=2)
    cache = ActivationCache.open(tmp_path / "cache")
    assert (cache.manifest, cache.n_sequences, cache.dtype) == (None, 25, "float32")
    assert np.array_equal(everything(cache, HOOK), x)
    assert np.array_equal(cache.shards[0].batches[0].token_ids_NS[0], tokens[0])


def test_the_size_on_disk_is_known_before(tmp_path):
    shards = ((64, 64), (64, 20))
    write_small_cache(tmp_path / "cache", d_in={HOOK: 64}, context=32, shards=shards)
    cache = ActivationCache.open(tmp_path / "cache")
    told = cache.n_sequences * bytes_per_sequence(cache.d_in, cache.context, cache.dtype)
    taken = sum(shard.path.stat().st_size for shard in cache.shards)
    assert told < taken < told * 1.01


@pytest.mark.parametrize("d_in", [{HOOK: 8}, TWO_HOOKS])
def test_the_size_of_many_tiny_files_is_known_too(tmp_path, d_in):
    write_small_cache(tmp_path / "cache", d_in=d_in, context=4, shards=((2,),) * 50)
    cache = ActivationCache.open(tmp_path / "cache")
    shape = CacheShape(d_in, 4, slice(None), "float32", n_sequences=100, batch_size=2)
    taken = sum(shard.path.stat().st_size for shard in cache.shards)
    assert taken <= shape.total_bytes(50) < 1.2 * taken  # two thirds of these files are headers


def test_a_run_that_fits_the_cache_is_accepted_by_either_way_of_saying_the_context(tmp_path):
    write_small_cache(tmp_path / "cache", context_size=12, seqpos_slice=[2, -2])
    cache = ActivationCache.open(tmp_path / "cache")
    ours = make_config(hook_name=HOOK, context_size=12, seqpos_slice=[2, -2])
    saelens = make_config(hook_name=HOOK, context_size=8)
    for cfg in (ours, saelens):
        cache.check_against(cfg)


@pytest.mark.parametrize(
    ("changes", "code", "word"),
    [
        ({"hook_name": "blocks.9.hook_resid_post"}, "HOOK_NOT_FOUND", HOOK),
        ({"hook_head_index": 1}, "CONFIG_INVALID", "hook_head_index"),
        ({"context_size": 16}, "CONFIG_INVALID", "context_size"),
        ({"seqpos_slice": [1, None]}, "CONFIG_INVALID", "seqpos_slice"),
        ({"dtype": "float16"}, "CONFIG_INVALID", "dtype"),
        ({"model_name": "other"}, "CONFIG_INVALID", "model_name"),
        ({"prepend_bos": False}, "CONFIG_INVALID", "prepend_bos"),
    ],
)
def test_a_run_that_does_not_fit_the_cache_is_refused_and_the_option_named(tmp_path, changes, code, word):
    write_small_cache(tmp_path / "cache")
    cache = ActivationCache.open(tmp_path / "cache")
    with pytest.raises(WorkerError, match=word) as refused:
        cache.check_against(make_config(**({"hook_name": HOOK} | changes)))
    assert refused.value.code == code


def test_all_that_does_not_fit_is_named_at_once(tmp_path):
    write_small_cache(tmp_path / "cache", d_in={HOOK: 10}, dtype="float16")
    wrong = make_config(hook_name=HOOK, model_name="other", context_size=16)
    with pytest.raises(WorkerError) as refused:
        ActivationCache.open(tmp_path / "cache").check_against(wrong)
    assert refused.value.code == "D_IN_MISMATCH"
    assert refused.value.details["options"] == ["d_in", "dtype", "context_size", "model_name"]
    for part in ("d_in is 6", "dtype is 'float32'", "context_size is 16", "model_name is 'other'"):
        assert part in refused.value.message
    assert 'set dtype to "float16" and sae.dtype to "float32"' in refused.value.hint


def test_a_wrong_width_is_refused_with_the_right_one(tmp_path):
    write_small_cache(tmp_path / "cache", d_in={HOOK: 10})
    with pytest.raises(WorkerError, match="10") as refused:
        ActivationCache.open(tmp_path / "cache").check_against(make_config(hook_name=HOOK))
    assert refused.value.code == "D_IN_MISMATCH"


def test_folders_that_are_no_cache_are_refused(tmp_path):
    with pytest.raises(WorkerError) as missing:
        ActivationCache.open(tmp_path / "nothing")
    assert missing.value.code == "DATASET_NOT_FOUND"
    datasets.Dataset.from_dict({"text": ["a", "b"]}).save_to_disk(str(tmp_path / "text"))
    with pytest.raises(WorkerError) as other:
        ActivationCache.open(tmp_path / "text")
    assert other.value.code == "DATASET_INVALID"


def test_a_missing_or_cut_shard_is_named_with_the_command_that_repairs_it(tmp_path):
    write_small_cache(tmp_path / "cache")
    shard = tmp_path / "cache" / "data-00001-of-00002.arrow"
    whole = shard.read_bytes()
    for damage in (shard.unlink, lambda: shard.write_bytes(whole[:-100])):
        damage()
        with pytest.raises(WorkerError, match=shard.name) as found:
            ActivationCache.open(tmp_path / "cache")
        assert found.value.code == "STORAGE"
        assert "cache repair" in found.value.hint


def test_a_shard_with_flipped_bytes_gives_an_error_or_numbers_of_the_right_shape(tmp_path):
    write_small_cache(tmp_path / "cache", shards=((4,),))
    shard = tmp_path / "cache" / "data-00000-of-00001.arrow"
    whole = shard.read_bytes()
    draw = np.random.default_rng(1)
    n_refused = 0
    for _ in range(300):
        broken = bytearray(whole)
        broken[int(draw.integers(len(whole) // 3))] = int(draw.integers(256))
        shard.write_bytes(broken)
        try:
            for batch in ActivationCache.open(tmp_path / "cache").shards[0].batches:
                assert batch.activations[HOOK].shape[1:] == (8, 6)
                batch.activations[HOOK].sum()
        except WorkerError as error:
            assert error.code == "STORAGE"
            n_refused += 1
    assert n_refused > 10


def test_a_manifest_of_a_newer_format_is_refused(tmp_path):
    write_small_cache(tmp_path / "cache", version=2)
    with pytest.raises(WorkerError, match="version 2"):
        ActivationCache.open(tmp_path / "cache")
    state = json.loads((tmp_path / "cache" / "state.json").read_text())
    state["_data_files"][0]["filename"] = "../elsewhere.arrow"
    (tmp_path / "cache" / "manifest.json").unlink()
    (tmp_path / "cache" / "state.json").write_text(json.dumps(state))
    with pytest.raises(WorkerError) as outside:
        ActivationCache.open(tmp_path / "cache")
    assert outside.value.code == "DATASET_INVALID"
