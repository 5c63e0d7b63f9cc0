"""Packing many documents at a time gives what packing one by one gives, wherever the batches end."""

import json
import random

import numpy as np
import pytest

from pyworker.data.stream_packing import SpecialTokens, StreamPacker
from pyworker.data.tokenization import concat_and_batch_sequences
from pyworker.errors import WorkerError

N_CASES = 600


def packed(documents, batches, context_size, specials, one_each=False, carried=False):
    """The sequences, with the documents given in ``batches`` of so many; with ``carried`` by a new packer each."""
    packer, rows, at = StreamPacker(context_size, specials, one_each), [], 0
    for size in batches:
        part = documents[at : at + size]
        at += size
        flat = np.array([token for document in part for token in document], dtype=np.int32)
        rows += packer.pack(flat, np.array([len(document) for document in part], dtype=np.int64)).tolist()
        if carried:
            fresh = StreamPacker(context_size, specials, one_each)
            fresh.carry_T = np.array(packer.carry_T.tolist(), dtype=np.int32)
            fresh.carry_separators = np.array(packer.carry_separators.tolist(), dtype=np.int64)
            packer = fresh
    return rows, packer


def case(rng):
    documents = [[rng.randrange(5) for _ in range(rng.randrange(24))] for _ in range(rng.randrange(12))]
    begin_batch = rng.choice([None, 0, 1])
    specials = SpecialTokens(begin_batch, rng.choice([None, 0, 2]), rng.choice([None, 0, 3]))
    batches, left = [], len(documents)
    while left > 0:
        batches.append(rng.randint(1, left))
        left -= batches[-1]
    return documents, batches, rng.randrange(1 if begin_batch is None else 2, 12), specials


@pytest.mark.parametrize("one_each", [False, True])
@pytest.mark.parametrize("carried", [False, True])
def test_random_documents_in_random_batches_become_the_sequences_of_one_by_one(one_each, carried):
    rng = random.Random(7)
    n_rows = 0
    for _ in range(N_CASES):
        documents, batches, context_size, specials = case(rng)
        expected = concat_and_batch_sequences(
            [np.array(document, dtype=np.int64) for document in documents],
            context_size,
            begin_batch_token_id=specials.begin_batch,
            begin_sequence_token_id=specials.begin_sequence,
            sequence_separator_token_id=specials.separator,
            disable_concat_sequences=one_each,
        )
        rows, _ = packed(documents, batches, context_size, specials, one_each, carried)
        assert rows == [row.tolist() for row in expected], (documents, batches, context_size, specials)
        n_rows += len(rows)
    assert n_rows > N_CASES


def test_the_recorded_sequences_of_saelens(shared):
    recorded = json.loads((shared / "golden/v6/tokenization.json").read_text())["cases"]
    n_judged = 0
    for one in recorded:
        given = dict(one["input"])
        if one["function"] != "concat_and_batch_sequences" or not isinstance(one.get("output"), list):
            continue  # those that fail, hang, or are told by a hash because they are long
        if given["context_size"] == 1:
            continue  # refused here: no text fits beside BOS
        seqs = given.pop("seqs")
        documents = [list(range(seq["arange"])) if isinstance(seq, dict) else seq for seq in seqs]
        n_first = given.pop("take_first_batches", None)
        ids = ("begin_batch_token_id", "begin_sequence_token_id", "sequence_separator_token_id")
        specials = SpecialTokens(*(given.get(name) for name in ids))
        one_each = given.get("disable_concat_sequences", False)
        rows, _ = packed(documents, [len(documents)], given["context_size"], specials, one_each)
        assert rows[:n_first] == one["output"], one["source"]
        n_judged += 1
    assert n_judged > 5


def test_every_token_is_in_a_sequence_or_carried():
    documents = [list(range(10 * i, 10 * i + 7)) for i in range(1, 40)]
    rows, packer = packed(documents, [3] * 13, 16, SpecialTokens(0, None, 1))
    texts = [token for row in [*rows, packer.carry_T.tolist()] for token in row if token > 1]
    assert texts == [token for document in documents for token in document]


def test_documents_too_short_for_a_sequence_of_their_own_are_counted():
    _, packer = packed([[5] * 3, [5] * 9, []], [3], 8, SpecialTokens(0, None, None), one_each=True)
    assert packer.n_short_documents == 1


def test_a_sequence_without_room_beside_its_first_token_is_refused():
    with pytest.raises(WorkerError, match="leaves no room"):
        StreamPacker(1, SpecialTokens(0, None, None))
