"""A look at a dataset tells what it holds without reading all of it."""

import json
from pathlib import Path

import datasets
import pytest
from small_data import write_texts

from pyworker.data.peek import peek
from pyworker.errors import WorkerError


def look(path, column=None, tokenizer=None, rows=2):
    return peek(str(path), None, "train", column, rows, tokenizer)


def test_texts_are_counted_in_characters_and_with_a_tokenizer_in_tokens(texts, tokenizer):
    seen = look(texts)
    assert seen["columns"] == [{"name": "text", "type": "string"}]
    assert (seen["n_rows"], seen["column"], len(seen["rows"])) == (200, "text", 2)
    assert seen["lengths"]["unit"] == "characters"
    counted = look(texts, tokenizer=tokenizer)["lengths"]
    rows = [json.loads(line)["text"].split() for line in Path(texts).read_text().splitlines()]
    lengths = [len(row) for row in rows]
    assert (counted["unit"], counted["min"], counted["max"]) == ("tokens", min(lengths), max(lengths))
    assert counted["estimated_total"] == sum(lengths)


def test_token_ids_have_their_length_and_with_a_tokenizer_their_text(tmp_path, tokenizer):
    features = datasets.Features({"input_ids": datasets.Sequence(datasets.Value("int32"), length=20)})
    rows = {"input_ids": [[4 + i % 3] * 20 for i in range(30)]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "tokens")
    seen = look(tmp_path / "tokens", tokenizer=tokenizer)
    assert seen["columns"] == [{"name": "input_ids", "type": "list of int32 × 20"}]
    assert seen["rows"][1] == {"input_ids": "[5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, …] (20)"}
    assert seen["decoded"][0] == " ".join(["w0"] * 20)
    assert (seen["n_rows"], seen["lengths"]["mean"], seen["lengths"]["estimated_total"]) == (30, 20, 600)


def test_rows_of_one_parquet_file_are_known_and_long_texts_shortened(tmp_path):
    datasets.Dataset.from_dict({"text": ["word\n" * 500] * 7}).to_parquet(tmp_path / "some.parquet")
    seen = look(tmp_path / "some.parquet")
    assert seen["n_rows"] == 7
    assert seen["rows"][0]["text"] == "word " * 40 + "…"


def test_a_column_without_texts_or_ids_has_no_length_and_one_that_is_not_there_is_refused(tmp_path):
    path = tmp_path / "numbers.jsonl"
    path.write_text("".join(json.dumps({"score": i, "turns": [{"role": "user"}]}) + "\n" for i in range(3)))
    seen = look(path)
    assert (seen["column"], seen["lengths"]) == (None, None)
    assert seen["rows"][0] == {"score": "0", "turns": "[{'role': 'user'}]"}
    with pytest.raises(WorkerError, match="no column 'text'; it has 'score', 'turns'") as caught:
        look(path, column="text")
    assert caught.value.code == "DATASET_INVALID"


def test_a_dataset_without_rows_is_said(tmp_path):
    write_texts(tmp_path / "none.jsonl", 0)
    with pytest.raises(WorkerError, match="has no rows"):
        look(tmp_path / "none.jsonl")
