"""Operations ``cache_activations`` and ``repair_activation_cache`` on a tiny model: what lies on disk in the end."""

import hashlib
import json
import resource
import sys
from pathlib import Path

import datasets
import msgspec
import numpy as np
import pytest
import torch

from pyworker.data.activation_cache import ActivationCache
from pyworker.data.activation_cache_manifest import read_manifest
from pyworker.errors import WorkerError
from pyworker.lm.load import LanguageModelConfig, load_language_model
from pyworker.protocol.cache_activations_config import CacheActivationsRunnerConfig
from pyworker.runners.cache_activations import cache_activations, staging_folder
from pyworker.runners.repair_activation_cache import repair_activation_cache

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "lm"))
from small_caching import HOOK, Session, column, options, tokens
from tiny_models import save_tiny_model

OTHER_HOOK = "model.layers.0.mlp"
N_TEXTS, WORDS = 60, 40


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = save_tiny_model(tmp_path_factory.mktemp("tiny"))
    texts = [" ".join(f"w{3 + (7 * i + j) % 61}" for j in range(WORDS)) for i in range(N_TEXTS)]
    (folder / "texts.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    rows = [[1 + (5 * i + j) % 63 for j in range(12)] for i in range(50)]
    (folder / "tokens.jsonl").write_text("\n".join(json.dumps({"tokens": row}) for row in rows))
    return folder


def write(place: Path, cache: Path, session: Session | None = None, **changes) -> dict:
    given = options(place, cache, **changes)
    recorded = {**given, "model_name": "tiny", "dataset_path": "texts"}
    return cache_activations({"config": given, "recorded": recorded}, session or Session())


def contents(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def model(place: Path):
    return load_language_model(
        LanguageModelConfig(model_name=str(place), model_class_name="AutoModelForCausalLM")
    )


def test_each_token_has_the_activation_the_model_gives_it_and_no_more_are_kept_than_asked(place, tmp_path):
    session = Session()
    result = write(place, tmp_path / "cache", session)
    cache = ActivationCache.open(tmp_path / "cache")
    assert result == {
        "ended": "done",
        "n_sequences": 38,
        "n_tokens": 304,
        "shards_done": 5,
        "bytes": sum(shard.path.stat().st_size for shard in cache.shards),
    }
    expected = model(place).activations(torch.from_numpy(tokens(cache)).long(), HOOK).numpy()
    np.testing.assert_allclose(column(cache), expected, rtol=1e-5, atol=1e-6)
    assert (tokens(cache)[:, 0] == 1).all()  # BOS
    assert session.stages[-1] == ("cache", 304, 304)
    [started] = [data for kind, data in session.events if kind == "started"]
    assert result["bytes"] <= started["total_bytes"] < result["bytes"] * 1.05
    assert all(shard.path.stat().st_size <= 15_000 for shard in cache.shards)


def test_what_lies_on_disk_is_shuffled_by_the_seed(place, tmp_path):
    for name, changes in {
        "plain": {"shuffle": False},
        "one": {"seed": 1},
        "again": {"seed": 1},
        "two": {"seed": 2},
    }.items():
        write(place, tmp_path / name, **changes)
    plain, one, again, two = (
        ActivationCache.open(tmp_path / name) for name in ("plain", "one", "again", "two")
    )
    order = lambda cache: [tuple(row) for row in tokens(cache).tolist()]  # noqa: E731
    assert sorted(order(plain)) == sorted(order(one)) == sorted(order(two))
    assert len({tuple(order(cache)) for cache in (plain, one, two)}) == 3
    assert [s.sha256 for s in one.manifest.shards] == [s.sha256 for s in again.manifest.shards]
    # The same sequence has the same activations wherever it lies, but for the last bits.
    where = {row: i for i, row in enumerate(order(plain))}
    places = [where[row] for row in order(one)]
    np.testing.assert_allclose(column(one), column(plain)[places], rtol=1e-5, atol=1e-6)


def test_several_hooks_lie_side_by_side_and_datasets_reads_each(place, tmp_path):
    write(place, tmp_path / "both", hook_name=[HOOK, OTHER_HOOK], d_in=None, buffer_size_gb=1)
    write(place, tmp_path / "one", buffer_size_gb=1)
    rows = datasets.load_from_disk(str(tmp_path / "both"))
    assert rows.column_names == [HOOK, OTHER_HOOK, "token_ids"]
    both, one = ActivationCache.open(tmp_path / "both"), ActivationCache.open(tmp_path / "one")
    assert np.array_equal(column(both), column(one))
    ids = torch.from_numpy(tokens(both)).long()
    np.testing.assert_allclose(
        column(both, OTHER_HOOK), model(place).activations(ids, OTHER_HOOK).numpy(), rtol=1e-5, atol=1e-6
    )


def test_only_the_chosen_positions_are_kept(place, tmp_path):
    write(place, tmp_path / "cut", seqpos_slice=[2, -1, 2], shuffle=False, training_tokens=38 * 3)
    write(place, tmp_path / "whole", shuffle=False)
    cut, whole = ActivationCache.open(tmp_path / "cut"), ActivationCache.open(tmp_path / "whole")
    assert (cut.context, cut.n_sequences, cut.manifest.n_tokens) == (3, 38, 114)
    assert np.array_equal(column(cut), column(whole)[:, 2:-1:2])
    assert np.array_equal(tokens(cut), tokens(whole)[:, 2:-1:2])


@pytest.mark.parametrize(("dtype", "stored"), [("float16", "float16"), ("bfloat16", "float32")])
def test_numbers_are_rounded_to_the_type_asked(place, tmp_path, dtype, stored):
    write(place, tmp_path / "cache", dtype=dtype)
    write(place, tmp_path / "full")
    cache, full = ActivationCache.open(tmp_path / "cache"), ActivationCache.open(tmp_path / "full")
    assert (cache.dtype, cache.stored_dtype) == (dtype, stored)
    rounded = torch.from_numpy(column(full).copy()).to(getattr(torch, dtype)).float()
    assert np.array_equal(column(cache).astype(np.float32), rounded.numpy())


def test_context_size_of_minus_one_is_that_of_the_first_tokenized_row(place, tmp_path):
    write(place, tmp_path / "cache", context_size=-1, dataset_path=str(place / "tokens.jsonl"))
    assert ActivationCache.open(tmp_path / "cache").manifest.context_size == 12
    with pytest.raises(WorkerError, match="holds text") as refused:
        write(place, tmp_path / "text", context_size=-1)
    assert refused.value.code == "CONFIG_INVALID"


def test_a_stopped_cache_goes_on_at_the_next_shard_to_the_same_bytes(place, tmp_path):
    write(place, tmp_path / "whole")
    stopped = write(place, tmp_path / "cut", Session(stop_after=2))
    assert (stopped["ended"], stopped["shards_done"]) == ("stopped", 2)
    assert not (tmp_path / "cut").exists()
    rest = Session()
    assert write(place, tmp_path / "cut", rest)["ended"] == "done"
    assert [data["number"] for kind, data in rest.events if kind == "shard"] == [2, 3, 4]
    assert "tokenize" not in {stage for stage, *_ in rest.stages}
    whole, cut = contents(tmp_path / "whole"), contents(tmp_path / "cut")
    del (
        whole["cache_activations_runner_cfg.json"],
        cut["cache_activations_runner_cfg.json"],
    )  # names its place
    assert whole == cut
    assert not staging_folder(tmp_path / "cut").exists()


@pytest.mark.parametrize("stop_after", [3, 4])
def test_shards_counted_as_done_that_are_gone_cut_or_changed_are_computed_again(place, tmp_path, stop_after):
    write(place, tmp_path / "whole")
    write(place, tmp_path / "cut", Session(stop_after=stop_after))
    staging = staging_folder(tmp_path / "cut")
    gone, cut, changed = sorted(staging.glob("*.arrow"))[:3]
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-8])
    data = bytearray(changed.read_bytes())
    data[len(data) // 2] ^= 1
    changed.write_bytes(data)
    if stop_after == 4:
        (staging / "tokens.bin").write_bytes(b"0")
    rest = Session()
    assert write(place, tmp_path / "cut", rest)["ended"] == "done"
    numbers = [data["number"] for kind, data in rest.events if kind == "shard"]
    assert numbers == [0, 1, 2, *range(stop_after, 5)]
    assert "verify" in {stage for stage, *_ in rest.stages}
    assert sum("computed again" in line for line in rest.lines) == 3
    whole, mended = (read_manifest(tmp_path / name) for name in ("whole", "cut"))
    assert whole.shards == mended.shards
    assert np.array_equal(*(column(ActivationCache.open(tmp_path / name)) for name in ("whole", "cut")))


def test_a_cache_that_was_complete_but_for_its_name_is_compared_too(place, tmp_path):
    write(place, tmp_path / "cache")
    (tmp_path / "cache").rename(staging_folder(tmp_path / "cache"))
    before = contents(staging_folder(tmp_path / "cache"))
    next(staging_folder(tmp_path / "cache").glob("*-00003-*.arrow")).unlink()
    write(place, tmp_path / "cache")
    assert contents(tmp_path / "cache") == before


def test_a_dataset_that_ends_early_is_cached_once_and_said_so(place, tmp_path):
    session = Session()
    result = write(place, tmp_path / "cache", session, training_tokens=1_000_000, buffer_size_gb=1)
    rows = tokens(ActivationCache.open(tmp_path / "cache"))
    assert len(rows) == result["n_sequences"]
    assert int((rows > 1).sum()) in range(N_TEXTS * WORDS - 8, N_TEXTS * WORDS + 1)  # each word once
    assert any("ended after" in line for line in session.lines)


@pytest.mark.parametrize(
    ("changes", "code", "word"),
    [
        ({"d_in": 31}, "D_IN_MISMATCH", "32"),
        ({"hook_name": [HOOK, "nowhere"]}, "HOOK_NOT_FOUND", "nowhere"),
        ({"seqpos_slice": [8, None]}, "CONFIG_INVALID", "seqpos_slice"),
        ({"context_size": 64}, "CONFIG_INVALID", "at most 32"),
        ({"buffer_size_gb": 1e-6}, "CONFIG_INVALID", "buffer_size_gb"),
        ({"hf_num_shards": 11}, "CONFIG_INVALID", "hf_num_shards"),
        ({"training_tokens": 10**15}, "CONFIG_INVALID", "files"),
        ({"dataset_path": "tokens.jsonl", "context_size": 16}, "DATASET_INVALID", "12 tokens"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_computed(place, tmp_path, changes, code, word):
    if "dataset_path" in changes:
        changes = {**changes, "dataset_path": str(place / changes["dataset_path"])}
    session = Session()
    with pytest.raises(WorkerError, match=word) as refused:
        write(place, tmp_path / "cache", session, **changes)
    assert refused.value.code == code
    assert "cache" not in {stage for stage, *_ in session.stages}
    assert not (tmp_path / "cache").exists()


def test_too_small_a_disk_is_told_before_the_first_shard(place, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("Usage", (), {"free": 20_000}))
    session = Session()
    with pytest.raises(WorkerError, match="are free") as refused:
        write(place, tmp_path / "cache", session)
    assert refused.value.code == "STORAGE"
    assert "cache" not in {stage for stage, *_ in session.stages}


def test_a_disk_that_fills_up_costs_one_shard_and_the_next_run_goes_on(place, tmp_path):
    write(place, tmp_path / "whole")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Filling(Session):
        def event(self, kind, /, **data):
            super().event(kind, **data)
            if kind == "shard":
                resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, hard))

    try:
        with pytest.raises(WorkerError, match="cannot write") as full:
            write(place, tmp_path / "cache", Filling())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert full.value.code == "STORAGE"
    assert "continues" in full.value.hint
    assert len(list(staging_folder(tmp_path / "cache").glob("*.arrow*"))) == 1
    assert write(place, tmp_path / "cache")["ended"] == "done"
    cache, whole = (read_manifest(tmp_path / name) for name in ("cache", "whole"))
    assert cache.shards == whole.shards


def test_half_precision_of_the_model_is_widened_not_lost(place, tmp_path):
    write(place, tmp_path / "cache", autocast_lm=True, shuffle=False)
    write(place, tmp_path / "full", shuffle=False)
    half, full = (column(ActivationCache.open(tmp_path / name)) for name in ("cache", "full"))
    assert not np.array_equal(half, full)
    np.testing.assert_allclose(half, full, atol=0.05)


def test_the_number_of_files_can_be_chosen(place, tmp_path):
    write(place, tmp_path / "cache", hf_num_shards=7)
    rows = [shard.rows for shard in read_manifest(tmp_path / "cache").shards]
    assert (len(rows), sum(rows), max(rows)) == (7, 38, 8)


def test_float16_that_would_overflow_is_an_error_and_not_infinity(place, tmp_path):
    folder = save_tiny_model(tmp_path / "loud")
    loud = model(folder)
    with torch.no_grad():
        loud._backend.model.model.embed_tokens.weight.mul_(1e6)
    loud._backend.model.save_pretrained(folder)
    (folder / "texts.jsonl").write_text((place / "texts.jsonl").read_text())
    with pytest.raises(WorkerError, match="float16") as refused:
        write(folder, tmp_path / "cache", dtype="float16")
    assert refused.value.code == "NOT_FINITE"
    assert not list(staging_folder(tmp_path / "cache").glob("*.arrow*"))
    write(folder, tmp_path / "wide", dtype="bfloat16")


def test_a_damaged_shard_is_computed_again_alone_to_the_same_bytes(place, tmp_path):
    cache = tmp_path / "cache"
    write(place, cache)
    before = contents(cache)
    names = [shard.file for shard in read_manifest(cache).shards]
    untouched = (cache / names[0]).stat().st_mtime_ns
    data = bytearray((cache / names[2]).read_bytes())
    data[len(data) // 2] ^= 1
    (cache / names[2]).write_bytes(data)
    (tmp_path / "cache.repair").mkdir()  # of a repair that was killed
    params = {"config": options(place, cache), "files": [names[2]]}
    assert repair_activation_cache(params, Session()) == {"repaired": [names[2]]}
    assert contents(cache) == before
    assert (cache / names[0]).stat().st_mtime_ns == untouched


def test_a_shard_that_comes_out_otherwise_is_not_put_in_place(place, tmp_path):
    cache = tmp_path / "cache"
    write(place, cache)
    before = contents(cache)
    name = next(iter(read_manifest(cache).shards)).file
    other = {"config": options(place, cache, autocast_lm=True), "files": [name]}
    with pytest.raises(WorkerError, match="other bytes") as found:
        repair_activation_cache(other, Session())
    assert found.value.code == "STORAGE"
    moved = {"config": options(place, cache, dataset_path=str(place / "tokens.jsonl")), "files": [name]}
    with pytest.raises(WorkerError, match="does not give the sequences") as changed:
        repair_activation_cache(moved, Session())
    assert changed.value.code == "DATASET_INVALID"
    assert contents(cache) == before
    assert [folder.name for folder in tmp_path.iterdir()] == ["cache"]


def test_the_options_of_this_file_are_all_there_are(place, tmp_path):
    known = {field.name for field in msgspec.structs.fields(CacheActivationsRunnerConfig)}
    assert set(options(place, tmp_path)) == known
