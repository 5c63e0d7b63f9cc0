"""Packing judged by SAELens' own runs; batch tokenization; chats; rows that are tokenized already."""

import hashlib
import json
from itertools import islice

import numpy as np
import pytest
from transformers import AutoTokenizer

from pyworker.data.tokenization import (
    SequencePacker,
    concat_and_batch_sequences,
    pretokenized_sequences,
    special_token_id,
    tokenize_chats,
    tokenize_texts,
)
from pyworker.errors import WorkerError


@pytest.fixture(scope="module")
def recorded(shared):
    return json.loads((shared / "golden/v6/tokenization.json").read_text())


def as_documents(given):
    return [
        np.arange(seq["arange"]) if isinstance(seq, dict) else np.array(seq, dtype=np.int64) for seq in given
    ]


def test_each_step_of_packing_is_that_of_saelens(recorded):
    cases = [case for case in recorded["cases"] if case["function"] == "_add_tokens_to_batch"]
    assert cases
    for case in cases:
        given = dict(case["input"])
        batch, tokens, offset, starts = (
            given.pop(key) for key in ("batch", "tokens", "offset", "is_start_of_sequence")
        )
        packer = SequencePacker(**given)
        if batch is not None:
            packer.parts, packer.filled = [np.array(batch)], len(batch)
        offset, owed = packer.take(np.array(tokens), offset, starts)
        seen = {"batch": packer.pop().tolist(), "offset": offset, "still_start_of_sequence": owed}
        assert seen == case["output"], case["source"]


def test_documents_become_the_sequences_of_saelens(recorded):
    cases = [case for case in recorded["cases"] if case["function"] == "concat_and_batch_sequences"]
    assert cases
    for case in cases:
        given = dict(case["input"])
        documents, n_first = as_documents(given.pop("seqs")), given.pop("take_first_batches", None)
        if (
            "error" in case or "never_terminates" in case
        ):  # where SAELens fails or hangs, we say what is wrong
            with pytest.raises(WorkerError):
                list(concat_and_batch_sequences(documents, **given))
            continue
        sequences = list(islice(concat_and_batch_sequences(documents, **given), n_first))
        expected = case["output"]
        if isinstance(expected, list):
            assert [sequence.tolist() for sequence in sequences] == expected, case["source"]
        else:
            digest = hashlib.sha256(np.stack(sequences).astype("<i8").tobytes()).hexdigest()
            assert (len(sequences), digest) == (expected["n"], expected["sha256_of_int64_le"])


def test_bos_leaves_no_room_in_a_context_of_one_token():
    with pytest.raises(WorkerError, match="context_size is 1; it must be at least 2") as caught:
        list(concat_and_batch_sequences([np.array([1, 2])], 1, begin_batch_token_id=0))
    assert caught.value.code == "CONFIG_INVALID"


def test_texts_tokenized_together_have_the_ids_of_texts_tokenized_alone(shared):
    tokenizer = AutoTokenizer.from_pretrained(shared / "fixtures/models/stories260K")
    lines = (shared / "fixtures/datasets/tinystories/valid.jsonl").read_text().splitlines()
    texts = [json.loads(line)["text"] for line in lines][:60]
    texts += [
        "",
        None,
        "é 漢字 🙂 <s>",
        "word " * 2000,
    ]  # longer than the model's context: not cut, not warned of
    together = [ids.tolist() for ids in tokenize_texts([texts[:30], texts[30:]], tokenizer)]
    alone = [tokenizer.encode(text, add_special_tokens=False) for text in texts if text]
    assert together == alone
    assert len(together[-1]) > 2000


def test_a_conversation_goes_through_the_chat_template_and_a_text_becomes_a_user_turn(tokenizer):
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} <eos> {% endfor %}"
    turns = [{"role": "w1", "content": "w2 w3"}, {"role": "w4", "content": "w5"}]
    ids = [ids.tolist() for ids in tokenize_chats([[turns, [], None, "w6"]], tokenizer)]
    assert ids == [[5, 6, 7, 1, 8, 9, 1], [2, 10, 1]]


def test_a_tokenizer_without_a_chat_template_is_refused(tokenizer):
    with pytest.raises(WorkerError, match="no chat template") as caught:
        list(tokenize_chats([["w1"]], tokenizer))
    assert caught.value.code == "TOKENIZER_MISMATCH"


def test_what_a_chat_template_refuses_is_an_error_with_its_words(tokenizer):
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(WorkerError, match="roles must alternate") as caught:
        list(tokenize_chats([["w1"]], tokenizer))
    assert caught.value.code == "DATASET_INVALID"


def test_special_tokens_are_named_by_role_or_number(model, caplog):
    assert special_token_id("bos", model) == 0
    assert special_token_id("eos", model) == 1
    assert special_token_id(7, model) == 7
    assert special_token_id(None, model) is None
    assert not caplog.records


def test_a_model_without_bos_does_without_and_that_is_said(model, caplog):
    model.bos_token_id = None
    assert special_token_id("bos", model) is None
    assert "no BOS token" in caplog.text


@pytest.mark.parametrize(("token", "said"), [("sep", "is 'sep'"), (44, "is 44, .* 0 to 43"), (-1, "is -1")])
def test_a_separator_that_the_model_does_not_have_is_refused(model, token, said):
    with pytest.raises(WorkerError, match=f"sequence_separator_token {said}") as caught:
        special_token_id(token, model)
    assert caught.value.code == "CONFIG_INVALID"
    assert "'bos', 'eos'" in caught.value.hint


def test_longer_tokenized_rows_are_cut_and_that_is_told():
    rows = [[1, 2, 3, 4], [], None, [5, 6, 7, 8, 9], [1, 2, 3]]
    ids = [None if row is None else np.array(row) for row in rows]
    cut: list[int] = []
    sequences = [sequence.tolist() for sequence in pretokenized_sequences(ids, 3, cut.append)]
    assert sequences == [[1, 2, 3], [5, 6, 7], [1, 2, 3]]
    assert cut == [4, 5]


def test_a_shorter_tokenized_row_is_an_error_that_names_both_lengths():
    with pytest.raises(WorkerError, match="rows of 2 tokens, context_size is 3") as caught:
        list(pretokenized_sequences([np.array([1, 2])], 3, print))
    assert caught.value.code == "DATASET_INVALID"
