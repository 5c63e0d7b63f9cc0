"""The mixing rule, judged by SAELens' own runs, and what is ours: memory, seeding, provenance."""

import json

import pytest
import torch

from pyworker.data.mixing_buffer import MixingBuffer, seeded_permutation
from pyworker.data.rows import Rows
from pyworker.errors import WorkerError


def rows_of(first: int, n: int, width: int = 1) -> Rows:
    ids = torch.arange(first, first + n)
    return Rows(ids[:, None].repeat(1, width).float(), ids.int(), (ids % 7).int(), ids)


def chunks_of(sizes, pulled: list[int] | None = None, width: int = 1):
    first = 0
    for n in sizes:
        if pulled is not None:
            pulled.append(n)
        yield rows_of(first, n, width)
        first += n


def test_the_mixing_rule_is_that_of_saelens_in_every_recorded_case(shared):
    cases = json.loads((shared / "golden/v6/mixing_buffer.json").read_text())["cases"]
    assert cases
    for case in cases:
        given = case["input"]
        recorded = case.get("permutations_in_call_order", [])

        def build(pulled, given=given, recorded=recorded):
            return MixingBuffer(
                chunks_of(given["loader_chunk_sizes"], pulled),
                given["buffer_size"],
                given["batch_size"],
                given["mix_fraction"],
                lambda n, refill: torch.tensor(recorded[refill]),
            )

        if "error" in case:
            with pytest.raises(WorkerError, match=r"buffer|fraction"):
                build([])
            continue
        pulled: list[int] = []
        batches, n_pulled = [], []
        for batch in build(pulled):
            batches.append(batch.x_ND[:, 0].tolist())
            n_pulled.append(len(pulled))
        assert batches == case["batches_row_ids"], case["name"]
        assert n_pulled == case["chunks_pulled_when_batch_was_yielded"], case["name"]
        served = {row for batch in batches for row in batch}
        lost = [row for row in range(sum(given["loader_chunk_sizes"])) if row not in served]
        assert lost == sorted(case["rows_never_served"]), case["name"]


@pytest.mark.parametrize("mix_fraction", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_no_row_is_lost_or_served_twice_but_for_a_tail_smaller_than_a_batch(mix_fraction):
    buffer = MixingBuffer(chunks_of([16] * 40), 64, 24, mix_fraction, seeded_permutation(1))
    served = torch.cat([batch.sequence_N for batch in buffer]).tolist()
    assert len(set(served)) == len(served) == 16 * 40 // 24 * 24


def test_every_batch_has_the_same_number_of_rows_whatever_the_chunks():
    sizes = [5, 30, 1, 17, 44, 2, 9] * 6
    for batch in MixingBuffer(chunks_of(sizes), 40, 12, 0.5, seeded_permutation(1)):
        assert [len(column) for column in batch] == [12] * 4


def test_each_row_keeps_its_origin():
    for batch in MixingBuffer(chunks_of([16] * 10), 48, 16, 0.5, seeded_permutation(3)):
        assert torch.equal(batch.x_ND[:, 0].long(), batch.sequence_N)
        assert torch.equal(batch.token_id_N.long(), batch.sequence_N)
        assert torch.equal(batch.position_N.long(), batch.sequence_N % 7)


@pytest.mark.parametrize(
    ("mix_fraction", "most"), [(0.0, 80), (0.5, 80), (0.9, 64 + 24 + 16), (1.0, 64 + 24 + 16)]
)
def test_the_store_is_allocated_once_for_a_buffer_and_a_chunk(mix_fraction, most):
    buffer = MixingBuffer(chunks_of([16] * 200), 64, 24, mix_fraction, seeded_permutation(1))
    capacities = {buffer.capacity for _ in buffer}
    assert len(capacities) == 1
    assert capacities.pop() <= most


def test_a_refill_moves_no_rows_that_stay(monkeypatch):
    buffer = MixingBuffer(chunks_of([16] * 20), 64, 16, 0.5, seeded_permutation(1))
    next(buffer)
    store = buffer._store.x_ND
    for _ in buffer:
        assert buffer._store.x_ND.data_ptr() == store.data_ptr()


def test_the_order_is_a_function_of_the_seed_alone():
    def served(seed: int) -> list[int]:
        torch.rand(seed + 1)  # the global generator plays no part
        batches = MixingBuffer(chunks_of([16] * 20), 64, 16, 0.5, seeded_permutation(seed))
        return torch.cat([batch.sequence_N for batch in batches]).tolist()

    assert served(1) == served(1)
    assert served(1) != served(2)
    permute = seeded_permutation(1)
    assert not torch.equal(permute(64, 0), permute(64, 1))


def test_looking_at_the_held_rows_consumes_nothing():
    buffer = MixingBuffer(chunks_of([16] * 6), 64, 16, 0.5, seeded_permutation(1))
    assert buffer.held() is None
    buffer.fill()
    assert buffer.held().sequence_N.tolist() == list(range(64))
    untouched = MixingBuffer(chunks_of([16] * 6), 64, 16, 0.5, seeded_permutation(1))
    for seen, expected in zip(buffer, untouched, strict=True):
        assert torch.equal(seen.x_ND, expected.x_ND)


def test_a_buffer_smaller_than_a_batch_is_refused_with_both_numbers():
    with pytest.raises(WorkerError, match="holds 8 rows, a training batch needs 9") as caught:
        MixingBuffer(chunks_of([8]), 8, 9, 0.5, seeded_permutation(1))
    assert caught.value.code == "CONFIG_INVALID"
