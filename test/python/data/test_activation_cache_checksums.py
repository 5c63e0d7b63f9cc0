"""Bytes of a cache are compared before they are used; what was found whole is not read again until it changes."""

import pytest
from small_cache import write_small_cache

from pyworker.data import activation_cache_checksums as checksums
from pyworker.data.activation_cache import ActivationCache
from pyworker.errors import WorkerError


@pytest.fixture
def cache(tmp_path):
    write_small_cache(tmp_path / "cache")
    return ActivationCache.open(tmp_path / "cache")


@pytest.fixture
def told():
    return []


@pytest.fixture
def go_on(told):
    def listen(read: int, total: int) -> bool:
        told.append((read, total))
        return True

    return listen


def flip(path):
    data = bytearray(path.read_bytes())
    data[-300] ^= 4
    path.write_bytes(data)


def test_a_flipped_bit_is_found_and_the_shard_named_with_the_command_that_repairs_it(cache, go_on):
    flip(cache.shards[1].path)
    with pytest.raises(WorkerError, match=cache.shards[1].path.name) as found:
        checksums.verify_cache(cache, go_on)
    assert (found.value.code, "sha256" in found.value.message) == ("STORAGE", True)
    assert "cache repair" in found.value.hint


def test_all_bytes_are_read_once_and_again_only_of_files_that_have_changed_since(cache, told, go_on):
    sizes = [shard.bytes for shard in cache.manifest.shards]
    assert checksums.verify_cache(cache, go_on)
    assert told[-1] == (sum(sizes), sum(sizes))
    told.clear()
    assert checksums.verify_cache(cache, go_on)
    assert told == []
    second = cache.shards[1].path
    second.write_bytes(second.read_bytes())
    assert checksums.verify_cache(cache, go_on)
    assert told[-1] == (sizes[1], sizes[1])
    flip(second)
    with pytest.raises(WorkerError):
        checksums.verify_cache(cache, go_on)


def test_what_cannot_be_remembered_is_compared_each_time(cache, told, go_on, monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(checksums, "write_json", refuse)
    for _ in range(2):
        told.clear()
        assert checksums.verify_cache(cache, go_on)
        assert told
    (cache.path / checksums.VERIFIED_NAME).write_text("[broken")
    assert checksums.verify_cache(cache, go_on)


def test_it_ends_when_it_is_told_to(cache):
    assert not checksums.verify_cache(cache, lambda read, total: False)
    assert not (cache.path / checksums.VERIFIED_NAME).exists()


def test_each_damage_is_named(cache, go_on):
    first, second = (shard.path for shard in cache.shards)
    first.unlink()
    second.write_bytes(second.read_bytes()[:-8])
    found = checksums.damaged_shards(cache.path, cache.manifest.shards, go_on)
    assert found[first.name] == "it is missing"
    assert "instead of" in found[second.name]
