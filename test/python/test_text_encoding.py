"""Texts and conversations get the ids that the tokenizer itself gives them, in order, in any number of processes."""

import contextlib
import itertools
import os
import signal

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from pyworker import text_encoding
from pyworker.errors import WorkerError
from pyworker.text_encoding import ChatEncoder, TextEncoder, WholeEncoder, encode_batches, encoder_for

WORDS = ["<bos>", "<eos>", "<unk>", "a", "b", "c"]
TEMPLATE = "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} {% endfor %}"


def tokenizer():
    """Puts BOS before each text, as Llama's does, and would cut texts at two tokens if it were let."""
    rust = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    rust.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    rust.post_processor = processors.TemplateProcessing("<bos> $A", special_tokens=[("<bos>", 0)])
    rust.enable_truncation(2)
    rust.enable_padding(length=9)
    return PreTrainedTokenizerFast(tokenizer_object=rust, bos_token="<bos>", eos_token="<eos>")


class Reversing(PreTrainedTokenizerFast):
    """A tokenizer whose Python part does what its Rust part does not."""

    def encode(self, text, **options):
        return super().encode(text, **options)[::-1]


TEXTS = ["a b c", "", "c", "a <eos> b", "x y", "b " * 50]


def documents(encoded):
    return [part.tolist() for part in np.split(encoded.tokens, np.cumsum(encoded.lengths)[:-1])]


def test_texts_get_the_ids_of_the_tokenizer_special_tokens_included_and_uncut():
    whole = tokenizer()
    encoder = encoder_for(whole, TEXTS, chat=False)
    assert isinstance(encoder, TextEncoder)
    expected = [whole.encode(text) for text in TEXTS]
    assert documents(encoder(TEXTS)) == expected
    assert expected[1] == [0]
    assert len(expected[5]) == 51


def test_null_texts_give_nothing():
    encoder = encoder_for(tokenizer(), [None], chat=False)
    assert documents(encoder([None, "a", None])) == [[0, 3]]
    assert len(encoder([None]).tokens) == 0


def test_a_tokenizer_that_does_more_than_its_rust_part_is_taken_whole():
    rust = tokenizer().backend_tokenizer
    whole = Reversing(tokenizer_object=rust, bos_token="<bos>")
    encoder = encoder_for(whole, TEXTS, chat=False)
    assert isinstance(encoder, WholeEncoder)
    assert documents(encoder(["a b"])) == [[4, 3, 0]]


def test_conversations_go_through_the_chat_template_and_texts_are_one_turn():
    whole = tokenizer()
    whole.chat_template = TEMPLATE
    turns = [{"role": "a", "content": "b"}, {"role": "c", "content": "a"}]
    encoder = encoder_for(whole, [turns], chat=True)
    expected = [whole.apply_chat_template(turns, tokenize=True, return_dict=False)]
    assert documents(encoder([turns, None, []])) == expected
    assert documents(encoder(["c"])) == documents(encoder([[{"role": "user", "content": "c"}]]))


def test_a_tokenizer_without_a_chat_template_is_refused_and_a_refusing_template_is_named():
    with pytest.raises(WorkerError, match="no chat template") as missing:
        ChatEncoder(tokenizer())
    assert missing.value.code == "TOKENIZER_MISMATCH"
    whole = tokenizer()
    whole.chat_template = "{{ raise_exception('only one turn') }}"
    with pytest.raises(WorkerError, match="only one turn") as refused:
        ChatEncoder(whole)(["a"])
    assert refused.value.code == "DATASET_INVALID"


def endless(seconds):
    """Batches until so many of them came from a process of the pool."""
    for number in itertools.count():
        yield [f"{'abc'[number % 3]} " * (number % 7)]
        if number > seconds:
            return


@pytest.mark.parametrize("num_proc", [1, 2])
def test_batches_come_back_in_order_from_any_number_of_processes(monkeypatch, num_proc):
    monkeypatch.setattr(text_encoding, "ALONE_SECONDS", 0)
    encoder = encoder_for(tokenizer(), TEXTS, chat=False)
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    batches = [batch for batch in endless(20_000)]
    pids = []
    monkeypatch.setattr(text_encoding, "_pool", lambda *given: pids.append(given[1]) or pool(*given))
    got = [
        (n_rows, encoded.tokens.tolist())
        for n_rows, encoded in encode_batches(iter(batches), encoder, num_proc)
    ]
    assert got == [(1, encoder(batch).tokens.tolist()) for batch in batches]
    assert pids == ([] if num_proc == 1 else [2])
    assert os.environ.get("TOKENIZERS_PARALLELISM") == before


pool = text_encoding._pool


def test_a_process_that_is_killed_ends_the_work_with_a_code_and_what_to_lower(monkeypatch):
    monkeypatch.setattr(text_encoding, "ALONE_SECONDS", 0)
    pools = []
    monkeypatch.setattr(text_encoding, "_pool", lambda *given: pools.append(pool(*given)) or pools[0])
    encoder = encoder_for(tokenizer(), TEXTS, chat=False)
    with pytest.raises(WorkerError, match="was killed") as caught:
        for number, _ in enumerate(encode_batches(endless(10**9), encoder, 2)):
            if number > 100 and pools[0]._processes:
                for process in pools[0]._processes.values():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGKILL)
    assert caught.value.code == "OUT_OF_MEMORY"
    assert "num_proc" in caught.value.hint
