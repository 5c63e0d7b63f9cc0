"""The stream of sequences: its order, its numbers, its end, and the part kept for evaluation."""

import json

import datasets
import numpy as np
import pytest
import torch
from small_data import SmallVocabulary, make_config, word_tokenizer, write_texts

from pyworker.data.held_out import open_token_data
from pyworker.data.token_sequences import TokenSequences
from pyworker.errors import WorkerError


def as_set(sequences) -> set[tuple[int, ...]]:
    return {tuple(int(token) for token in sequence) for sequence in sequences}


def numbered(n: int) -> list[np.ndarray]:
    return [np.full(4, i) for i in range(n)]


def stream(n: int, on_data_end="repeat", n_reserved=0) -> TokenSequences:
    return TokenSequences(lambda: iter(numbered(n)), "numbers", on_data_end, n_reserved)


def first_tokens(chunks, n: int) -> list[list[int]]:
    return [chunk.tokens_PC[:, 0].tolist() for chunk, _ in zip(chunks, range(n), strict=False)]


def test_raw_texts_become_the_sequences_of_the_real_store(shared, tmp_path):
    recorded = json.loads((shared / "golden/v6/tokenization.json").read_text())["store_level"]
    file = tmp_path / "docs.jsonl"
    file.write_text("".join(json.dumps({"text": doc}) + "\n" for doc in recorded["docs"]))
    assert recorded["cases"]
    for recorded_case in recorded["cases"]:
        case = dict(recorded_case)
        expected = case.pop("sequences")
        model = SmallVocabulary()
        data = open_token_data(make_config(dataset_path=str(file), on_data_end="stop", **case), model)
        assert [sequence.tolist() for sequence in data.training.sequences()] == expected, case


def test_chunk_c_is_the_sequences_from_c_times_p_on_across_epochs():
    chunks = stream(5).chunks(3)
    assert first_tokens(chunks, 4) == [[0, 1, 2], [3, 4, 0], [1, 2, 3], [4, 0, 1]]


@pytest.mark.parametrize("n_reserved", [0, 2])
def test_a_stream_taken_up_at_any_chunk_goes_on_as_if_never_left(n_reserved):
    through = [
        (chunk.tokens_PC.tolist(), chunk.first_sequence)
        for chunk, _ in zip(stream(7, n_reserved=n_reserved).chunks(3), range(20), strict=False)
    ]
    for start in range(18):
        chunk = next(stream(7, n_reserved=n_reserved).chunks(3, start))
        assert (chunk.tokens_PC.tolist(), chunk.first_sequence) == through[start]


def test_repeating_is_said_once(caplog):
    first_tokens(stream(5).chunks(5), 6)
    assert [record.message for record in caplog.records] == [
        "dataset numbers ended after 5 sequences; it is read again"
    ]


def test_stopping_ends_the_stream_cleanly_with_the_last_chunk_in_its_shape(caplog):
    chunks = list(stream(5, "stop").chunks(3))
    assert [chunk.tokens_PC.shape for chunk in chunks] == [(3, 4), (3, 4)]
    assert [chunk.n_valid for chunk in chunks] == [3, 2]
    assert "on_data_end is stop" in caplog.text


def test_a_dataset_without_a_whole_sequence_is_an_error_not_a_loop(tmp_path):
    file = tmp_path / "short.txt"
    file.write_text("w1 w2\n")
    data = open_token_data(make_config(dataset_path=str(file)), SmallVocabulary())
    with pytest.raises(WorkerError, match="gives no training sequence") as caught:
        next(data.training.sequences())
    assert caught.value.code == "DATASET_EXHAUSTED"


@pytest.mark.parametrize("streaming", [False, True])
def test_evaluation_sequences_are_never_trained_on_in_any_epoch(texts, streaming):
    config = make_config(dataset_path=texts, n_eval_batches=3, eval_batch_size_prompts=5, streaming=streaming)
    data = open_token_data(config, SmallVocabulary())
    held_out = as_set(data.evaluation.tokens_EC)
    assert len(data.evaluation.tokens_EC) == 15
    everything = as_set(
        TokenSequences.sequences(stop_at_end(open_token_data(without_evals(config), SmallVocabulary())))
    )
    chunks = data.training.chunks(10)
    trained = [as_set(next(chunks).tokens_PC) for _ in range(80)]  # several epochs
    assert not held_out & set().union(*trained)
    assert held_out | set().union(*trained) == everything


def without_evals(config):
    config.n_eval_batches = 0
    return config


def stop_at_end(data) -> TokenSequences:
    data.training._on_data_end = "stop"
    return data.training


def test_every_evaluation_sees_the_same_tokens(texts):
    config = make_config(dataset_path=texts, n_eval_batches=3, eval_batch_size_prompts=5)
    evaluation = open_token_data(config, SmallVocabulary()).evaluation
    first, second = list(evaluation.batches()), list(evaluation.batches())
    assert [batch.shape for batch in first] == [(5, 8)] * 3
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_without_evaluations_nothing_is_kept_back(texts):
    data = open_token_data(make_config(dataset_path=texts), SmallVocabulary())
    assert data.training.n_reserved == 0
    assert list(data.evaluation.batches()) == []


def test_a_small_dataset_keeps_a_tenth_for_evaluation_and_says_so(tmp_path, caplog):
    file = write_texts(tmp_path / "few.jsonl", 50)
    config = make_config(dataset_path=file, n_eval_batches=10, eval_batch_size_prompts=32, on_data_end="stop")
    data = open_token_data(config, SmallVocabulary())
    n_training = sum(1 for _ in data.training.sequences())
    n_held_out = len(data.evaluation.tokens_EC)
    assert 1 <= n_held_out == (n_training + n_held_out) // 10
    assert f"{n_held_out} of the 320 asked are kept" in caplog.text


def test_another_dataset_or_split_for_evaluation_leaves_the_training_data_whole(texts, tmp_path):
    folder = tmp_path / "both"
    folder.mkdir()
    write_texts(folder / "train.jsonl", 60)
    write_texts(folder / "validation.jsonl", 60, seed=1)
    of_file = {"dataset_path": texts, "eval_dataset_path": str(folder), "eval_dataset_split": "validation"}
    of_split = {"dataset_path": str(folder), "eval_dataset_split": "validation"}
    taken = []
    for named in (of_file, of_split):
        data = open_token_data(make_config(n_eval_batches=2, **named), SmallVocabulary())
        assert data.training.n_reserved == 0
        taken.append(data.evaluation.tokens_EC.tolist())
    assert len(taken[0]) == 8
    assert taken[0] == taken[1]


def test_token_ids_beyond_the_models_embedding_are_refused_before_any_forward(tmp_path):
    saved = tmp_path / "saved"
    datasets.Dataset.from_dict({"input_ids": [[1] * 8, [2] * 7 + [44]]}).save_to_disk(saved)
    data = open_token_data(make_config(dataset_path=str(saved)), SmallVocabulary())
    with pytest.raises(WorkerError, match="token id 44, the model knows 0 to 43") as caught:
        next(data.training.chunks(2))
    assert caught.value.code == "TOKENIZER_MISMATCH"


def test_rows_longer_than_the_context_are_said_once_in_all_passes(tmp_path, caplog):
    saved = tmp_path / "saved"
    datasets.Dataset.from_dict({"input_ids": [list(range(12))] * 30}).save_to_disk(saved)
    data = open_token_data(make_config(dataset_path=str(saved), n_eval_batches=1), SmallVocabulary())
    assert next(data.training.chunks(60)).tokens_PC.shape == (60, 8)
    assert caplog.text.count("rows of 12 tokens are cut to context_size 8") == 1


def test_a_dataset_tokenized_with_another_vocabulary_is_refused(tmp_path):
    other = word_tokenizer()
    other.add_tokens(["w99"])
    other.save_pretrained(tmp_path / "other")
    word_tokenizer().save_pretrained(tmp_path / "same")
    saved = tmp_path / "saved"
    datasets.Dataset.from_dict({"input_ids": [list(range(8))] * 4}).save_to_disk(saved)
    config = make_config(dataset_path=str(saved))

    def record(**made):
        (saved / "sae_lens.json").write_text(json.dumps(made))

    record(tokenizer_name=str(tmp_path / "same"), context_size=8)
    assert next(open_token_data(config, SmallVocabulary()).training.sequences()).tolist() == list(range(8))
    record(tokenizer_name=str(tmp_path / "other"), context_size=8)
    with pytest.raises(WorkerError, match="another vocabulary") as caught:
        open_token_data(config, SmallVocabulary())
    assert caught.value.code == "TOKENIZER_MISMATCH"
    record(tokenizer_name=str(tmp_path / "same"), context_size=4)
    with pytest.raises(WorkerError, match="tokenized with context_size 4, not 8"):
        open_token_data(config, SmallVocabulary())


def test_too_few_tokens_are_said_in_tokens_and_enough_are_not(texts, caplog):
    model = SmallVocabulary()
    n_tokens = 8 * sum(
        1
        for _ in open_token_data(
            make_config(dataset_path=texts, on_data_end="stop"), model
        ).training.sequences()
    )
    caplog.clear()
    open_token_data(make_config(dataset_path=texts, training_tokens=n_tokens), model)
    assert not caplog.records
    open_token_data(make_config(dataset_path=texts, training_tokens=n_tokens * 3), model)
    assert (
        f"gives about {n_tokens} training tokens, {n_tokens * 3} are asked: it is read 3.0 times"
        in caplog.text
    )
    caplog.clear()
    half = make_config(
        dataset_path=texts,
        training_tokens=n_tokens,
        seqpos_slice=[0, 4],
        on_data_end="stop",
        n_eval_batches=1,
    )
    open_token_data(half, model)
    assert f"about {n_tokens // 2 - 16} training tokens" in caplog.text
    assert "training ends with it" in caplog.text


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("n_eval_batches", [0, 2])
@pytest.mark.parametrize(
    ("text", "options"),
    [("", {}), (None, {}), ("w1 w2", {"disable_concat_sequences": True})],
)
def test_texts_that_fill_no_sequence_are_an_error_with_what_to_do(
    tmp_path, streaming, n_eval_batches, text, options
):
    file = tmp_path / "a.jsonl"
    file.write_text(f"{json.dumps({'text': text})}\n" * 40)
    cfg = make_config(dataset_path=str(file), streaming=streaming, n_eval_batches=n_eval_batches, **options)
    with pytest.raises(WorkerError, match="gives no training sequence") as caught:
        next(open_token_data(cfg, SmallVocabulary()).training.chunks(2))
    assert caught.value.code == "DATASET_EXHAUSTED"
    assert "disable_concat_sequences" in caught.value.hint
