"""Every place a dataset can be, every column it can have, and what is said when there is none."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import pytest

from pyworker.data import broken_line
from pyworker.data.datasets import open_source
from pyworker.errors import WorkerError

TEXTS = [f"w{i} w{i + 1} w{i + 2}" for i in range(20)]


def values(source):
    return [value for batch in source.batches() for value in batch]


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_all_formats(folder, data):
    data.to_parquet(folder / "a.parquet")
    data.to_csv(folder / "a.csv")
    write_jsonl(folder / "a.jsonl", list(data))
    (folder / "a.json").write_text(json.dumps(list(data)))
    (folder / "a.txt").write_text("\n".join(data["text"]) + "\n")
    with gzip.open(folder / "a.jsonl.gz", "wt") as file:
        file.write((folder / "a.jsonl").read_text())
    data.save_to_disk(folder / "saved")
    [arrow] = (folder / "saved").glob("*.arrow")
    (folder / "a.arrow").write_bytes(arrow.read_bytes())


@pytest.mark.parametrize("streaming", [False, True])
def test_files_of_every_format_give_the_same_rows_in_their_order(tmp_path, streaming):
    write_all_formats(tmp_path, datasets.Dataset.from_dict({"text": TEXTS}))
    for name in ("a.parquet", "a.csv", "a.jsonl", "a.json", "a.txt", "a.jsonl.gz", "a.arrow", "saved"):
        source = open_source(str(tmp_path / name), streaming=streaming)
        assert (source.kind, source.column) == ("text", "text"), name
        assert values(source) == TEXTS, name
        assert values(source) == TEXTS, "a second pass gives the same rows"


def test_a_folder_of_files_is_read_by_its_splits(tmp_path):
    write_jsonl(tmp_path / "train.jsonl", [{"text": text} for text in TEXTS])
    write_jsonl(tmp_path / "validation.jsonl", [{"text": "w1"}])
    assert values(open_source(str(tmp_path))) == TEXTS
    assert values(open_source(str(tmp_path), split="validation")) == ["w1"]
    with pytest.raises(WorkerError, match="test") as caught:
        open_source(str(tmp_path), split="test")
    assert caught.value.code == "DATASET_INVALID"


def test_a_streamed_dataset_has_the_length_that_its_card_tells(tmp_path):
    write_jsonl(tmp_path / "train.jsonl", [{"text": text} for text in TEXTS])
    assert open_source(str(tmp_path), streaming=True).n_rows is None
    card = "dataset_info:\n  splits:\n  - name: train\n    num_bytes: 1\n    num_examples: 20\n"
    (tmp_path / "README.md").write_text(f"---\n{card}---\n")
    assert open_source(str(tmp_path), streaming=True).n_rows == 20


def test_a_saved_folder_with_splits_is_read_by_its_splits(tmp_path):
    datasets.DatasetDict(
        {
            "train": datasets.Dataset.from_dict({"text": TEXTS}),
            "other": datasets.Dataset.from_dict({"text": ["w9"]}),
        }
    ).save_to_disk(tmp_path / "saved")
    assert values(open_source(str(tmp_path / "saved"))) == TEXTS
    assert values(open_source(str(tmp_path / "saved"), split="other")) == ["w9"]
    with pytest.raises(WorkerError, match="train, other"):
        open_source(str(tmp_path / "saved"), split="test")


@pytest.mark.parametrize("name", ["a.jsonl", "saved"])
def test_a_slice_of_a_split_is_honoured(tmp_path, name):
    write_all_formats(tmp_path, datasets.Dataset.from_dict({"text": TEXTS}))
    assert values(open_source(str(tmp_path / name), split="train[:10%]")) == TEXTS[:2]
    assert values(open_source(str(tmp_path / name), split="train[15:]")) == TEXTS[15:]


def test_one_file_and_chosen_files_have_the_split_train_and_no_other(tmp_path):
    file = write_jsonl(tmp_path / "a.jsonl", [{"text": "w1"}])
    for path, chosen in ((file, None), (tmp_path, "a.jsonl")):
        assert values(open_source(str(path), data_files=chosen)) == ["w1"]
        with pytest.raises(WorkerError, match="validation") as refused:
            open_source(str(path), split="validation", data_files=chosen)
        assert refused.value.code == "DATASET_INVALID"


@pytest.mark.parametrize("option", ["data_files", "data_dir"])
@pytest.mark.parametrize(
    "part", ["../secret.jsonl", "/etc/passwd", "a/../../secret.jsonl", "file:///etc/passwd"]
)
def test_what_is_chosen_of_a_folder_lies_in_it(tmp_path, option, part):
    write_jsonl(tmp_path / "secret.jsonl", [{"text": "w2"}])
    (tmp_path / "data").mkdir()
    write_jsonl(tmp_path / "data" / "a.jsonl", [{"text": "w1"}])
    with pytest.raises(WorkerError, match=f"{option} is '{part}', which leads out") as refused:
        open_source(str(tmp_path / "data"), **{option: part})
    assert refused.value.code == "CONFIG_INVALID"


def test_what_is_no_dataset_is_named_and_a_huge_folder_is_not_listed_to_its_end(tmp_path, monkeypatch):
    (tmp_path / "code" / "empty").mkdir(parents=True)
    (tmp_path / "code" / "main.py").write_text("print()")
    for path, code, words in (
        ("/dev/zero", "DATASET_INVALID", "neither a file nor a folder"),
        (tmp_path / "code", "DATASET_NOT_FOUND", "is no dataset: 2 entries hold no file"),
        (tmp_path / "code/empty", "DATASET_NOT_FOUND", "is no dataset"),
    ):
        with pytest.raises(WorkerError, match=words) as refused:
            open_source(str(path))
        assert refused.value.code == code
    monkeypatch.setattr("pyworker.data.local_dataset.MOST_ENTRIES", 20)
    for number in range(30):
        write_jsonl(tmp_path / "code" / f"{number}.jsonl", [{"text": "w1"}])
    with pytest.raises(WorkerError, match="holds more than 20 files and folders"):
        open_source(str(tmp_path / "code"))


def test_the_shared_fixtures_open(shared):
    for name, n_rows in (("tinystories/valid.parquet", 136), ("tinystories/valid.jsonl", 136)):
        source = open_source(str(shared / "fixtures/datasets" / name))
        assert (source.kind, source.n_rows) == ("text", n_rows)
    assert open_source(str(shared / "fixtures/datasets/gutenberg")).n_rows == 4371


@pytest.mark.parametrize(
    ("row", "options", "column", "kind"),
    [
        ({"text": "w1", "input_ids": [1, 2]}, {}, "input_ids", "tokens"),
        ({"input_ids": [1], "tokens": [1, 2]}, {}, "tokens", "tokens"),
        ({"text": "w1", "input_ids": [1, 2]}, {"is_tokenized": False}, "text", "text"),
        ({"text": "w1", "input_ids": [1, 2]}, {"is_tokenized": True}, "input_ids", "tokens"),
        ({"problem": "w1", "text": "w2"}, {}, "text", "text"),
        ({"problem": "w1", "answer": "w2"}, {}, "problem", "text"),
        ({"story": "w1", "text": "w2"}, {"column": "story"}, "story", "text"),
        ({"ids": [1, 2], "text": "w2"}, {"column": "ids"}, "ids", "tokens"),
        ({"messages": [{"role": "u", "content": "c"}], "text": "w"}, {"chat": True}, "messages", "chat"),
        ({"text": "w", "n": 1}, {"chat": True}, "text", "chat"),
        ({"talk": "w", "text": "w"}, {"chat": True, "column": "talk"}, "talk", "chat"),
    ],
)
def test_the_column_is_chosen_by_its_name_and_contents(tmp_path, row, options, column, kind):
    source = open_source(str(write_jsonl(tmp_path / "a.jsonl", [row])), **options)
    assert (source.column, source.kind) == (column, kind)


@pytest.mark.parametrize(
    ("row", "options", "said"),
    [
        ({"story": "w1", "id": 3}, {}, "columns 'story', 'id'.*'tokens', 'input_ids', 'text', 'problem'"),
        ({"text": "w1"}, {"is_tokenized": True}, "columns 'text'.*'tokens', 'input_ids'"),
        ({"input_ids": [1]}, {"is_tokenized": False}, "'text', 'problem'"),
        ({"text": "w1"}, {"column": "body"}, "dataset_column: 'body'"),
        (
            {"text": "w1"},
            {"column": "text", "is_tokenized": True},
            "holds text, but is_dataset_tokenized is True",
        ),
        ({"prompt": "w1"}, {"chat": True}, "'conversation', 'conversations', 'messages', 'text'"),
    ],
)
def test_without_a_usable_column_the_columns_seen_and_accepted_are_named(tmp_path, row, options, said):
    with pytest.raises(WorkerError, match=said) as caught:
        open_source(str(write_jsonl(tmp_path / "a.jsonl", [row])), **options)
    assert caught.value.code == "DATASET_INVALID"


def test_a_mistyped_path_is_answered_with_the_nearest_names(tmp_path):
    write_jsonl(tmp_path / "stories.jsonl", [{"text": "w1"}])
    for wrong in ("storys.jsonl", "stories.json"):
        with pytest.raises(WorkerError, match="does not exist") as caught:
            open_source(str(tmp_path / wrong))
        assert caught.value.code == "DATASET_NOT_FOUND"
        assert str(tmp_path / "stories.jsonl") in caught.value.hint


def test_a_mistyped_folder_is_answered_with_the_nearest_folder(tmp_path):
    (tmp_path / "stories").mkdir()
    with pytest.raises(WorkerError) as caught:
        open_source(str(tmp_path / "storys" / "train.jsonl"))
    assert str(tmp_path / "stories") in caught.value.hint


def test_a_file_of_unknown_format_an_empty_file_and_a_broken_file_are_refused(tmp_path):
    (tmp_path / "a.xyz").write_text("w1")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "broken.jsonl").write_text("{not json\n")
    (tmp_path / "folder").mkdir()
    for name, code in (
        ("a.xyz", "DATASET_INVALID"),
        ("empty.txt", "DATASET_INVALID"),
        ("broken.jsonl", "DATASET_INVALID"),
        ("folder", "DATASET_NOT_FOUND"),
    ):
        with pytest.raises(WorkerError) as caught:
            open_source(str(tmp_path / name))
        assert caught.value.code == code, name


def test_a_line_that_breaks_in_the_middle_of_a_stream_is_named(tmp_path):
    file = write_jsonl(tmp_path / "a.jsonl", [{"text": "w1 " * 1000} for _ in range(9000)])
    with file.open("a") as appended:
        appended.write("{not json\n")
    source = open_source(str(file), streaming=True)
    with pytest.raises(WorkerError, match=f"could not be read: line 9001 of '{file}' is no JSON") as caught:
        values(source)
    assert caught.value.code == "DATASET_INVALID"


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "a.jsonl",
            b'{"text": "w1"}\n{"text": "w2\n{"text": "w3"}\n',
            "line 2 of .* is no JSON: Unterminated",
        ),
        ("a.jsonl", b'["w1"]\n["w2"]\n', "line 1 of .* is no JSON object with the columns as keys"),
        ("a.jsonl", b'{"text": "w1"}\n\n{"text": "\xff"}\n', "line 3 of .* is not UTF-8"),
        ("a.json", b'[{"text": "w1"},\n{"text": }]', "line 2 of .* is no JSON: Expecting value"),
        ("a.txt", b"w1\n\xff\n", "line 2 of .* is not UTF-8"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "w1"}\n{"te', mtime=0), "line 2 of .*a.jsonl.gz' is no JSON"),
        ("b/train.jsonl", b'{"text": "w1"}\nw2\n', "line 2 of .*b/train.jsonl' is no JSON"),
        ("a.csv", b'text,n\n"w1,2\nw3,4\n', "EOF inside string"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "w1"}\n' * 99, mtime=0)[:-12], "a.jsonl.gz"),
        ("a.parquet", b"PAR1 and no more", "magic bytes"),
    ],
)
def test_what_cannot_be_read_is_named_by_file_and_line(tmp_path, streaming, name, content, said):
    (tmp_path / "b").mkdir()
    (tmp_path / name).write_bytes(content)
    path = tmp_path / (name if "/" not in name else "b")
    with pytest.raises(WorkerError, match=said) as caught:
        values(open_source(str(path), streaming=streaming))
    assert caught.value.code == "DATASET_INVALID"
    assert "An error occurred while generating" not in caught.value.message
    assert ("this line" in caught.value.hint) == ("line" in said)


def test_the_search_for_a_broken_line_looks_into_whole_documents_and_ends_at_its_limit(tmp_path, monkeypatch):
    (tmp_path / "a.json").write_text('[\n{"text": "w1"},\n{"text": "w2"}\n]')
    assert broken_line.broken_line(tmp_path) is None
    (tmp_path / "b.txt").write_bytes(b"w1\n\xff\n")
    assert "line 2" in broken_line.broken_line(tmp_path)
    monkeypatch.setattr(broken_line, "SEARCHED_BYTES", 3)
    assert broken_line.broken_line(tmp_path) is None


@pytest.mark.parametrize("streaming", [False, True])
def test_a_dataset_without_rows_is_said_to_have_none(tmp_path, streaming):
    (tmp_path / "a.jsonl").write_text("")
    (tmp_path / "b.jsonl").write_text("\n")
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(b""))
    datasets.Dataset.from_dict({"text": []}).save_to_disk(tmp_path / "saved")
    datasets.Dataset.from_dict({"text": []}).to_parquet(tmp_path / "d.parquet")
    (tmp_path / "e.csv").write_text("text\n")
    for name in ("a.jsonl", "b.jsonl", "c.jsonl.gz", "saved", "d.parquet", "e.csv"):
        with pytest.raises(WorkerError, match="has no rows") as caught:
            open_source(str(tmp_path / name), streaming=streaming)
        assert caught.value.code == "DATASET_INVALID", name
        assert "dataset_split" in caught.value.hint


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        ([{"text": 5}, {"text": None}], {}, r"column 'text' .* holds neither texts .* but 5 \(int\)"),
        ([{"text": None}, {"text": 5}], {}, r"column 'text' .* holds neither texts .* but 5 \(int\)"),
        ([{"text": "w1", "n": 3}], {"column": "n"}, r"column 'n' .* but 3 \(int\)"),
        ([{"text": {"en": "w1"}}], {}, r"column 'text' .* but {'en': 'w1'} \(dict\)"),
        ([{"text": "w1"}] * 300 + [{"text": 7}], {}, r"row 301 of column 'text' .* must be a text, but is 7"),
        ([{"text": "w1"}, {"text": ["w1", "w2"]}], {}, r"row 2 of .* must be a text, but is \['w1', 'w2'\]"),
        ([{"text": ["w1", "w2"]}], {}, "row 1 of .* a flat list of integers"),
        (
            [{"ids": [1, 2]}, {"ids": [[1, 2], [3]]}],
            {"column": "ids"},
            r"row 2 .* but is \[\[1, 2\], \[3\]\]",
        ),
        ([{"tokens": [[1, 2], [3, 4]]}], {}, "row 1 of column 'tokens' .* a flat list of integers"),
        ([{"tokens": [1, None, 2]}], {}, r"row 1 .* but is \[1, None, 2\]"),
        ([{"tokens": [0.5, 1.5]}], {}, r"row 1 .* but is \[0.5, 1.5\]"),
        ([{"messages": "w1"}, {"messages": 5}], {"chat": True}, "row 2 of .* must be a conversation"),
        ([{"messages": [1, 2]}], {"chat": True}, "row 1 of column 'messages' .* must be a conversation"),
    ],
)
def test_a_row_that_is_not_what_its_column_holds_is_named(tmp_path, streaming, rows, options, said):
    file = write_jsonl(tmp_path / "a.jsonl", rows)
    with pytest.raises(WorkerError, match=said) as caught:
        values(open_source(str(file), streaming=streaming, **options))
    assert caught.value.code == "DATASET_INVALID"
    assert "dataset_column" in caught.value.hint


@pytest.mark.parametrize("streaming", [False, True])
def test_null_rows_are_no_fault_and_do_not_decide_what_a_column_holds(tmp_path, streaming):
    texts = write_jsonl(tmp_path / "a.jsonl", [{"text": None}, {"text": "w1"}, {"other": 3}] * 200)
    assert values(open_source(str(texts), streaming=streaming))[:3] == [None, "w1", None]
    ids = write_jsonl(tmp_path / "b.jsonl", [{"ids": None}, {"ids": [1, 2]}])
    source = open_source(str(ids), column="ids", streaming=streaming)
    assert source.kind == "tokens"
    assert [row if row is None else row.tolist() for row in values(source)] == [None, [1, 2]]


def test_a_hub_that_cannot_be_reached_is_said_and_not_mistaken_for_a_missing_dataset():
    program = (
        "from pyworker.data.datasets import open_source\n"
        "from pyworker.errors import WorkerError\n"
        "try:\n"
        "    open_source('someone/stories')\n"
        "except WorkerError as error:\n"
        "    print(error.code, error.message)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.startswith("HUB dataset 'someone/stories' could not be read from the hub")


def test_what_the_pretokenizer_recorded_is_read_beside_the_data(tmp_path):
    saved = tmp_path / "saved"
    datasets.Dataset.from_dict({"input_ids": [[1, 2, 3]]}).save_to_disk(saved)
    assert open_source(str(saved)).pretokenized is None
    (saved / "sae_lens.json").write_text('{"tokenizer_name": "gpt2", "context_size": 3}')
    assert open_source(str(saved)).pretokenized == {"tokenizer_name": "gpt2", "context_size": 3}


def test_code_of_the_hub_is_not_run_by_a_version_that_cannot_and_that_is_said(tmp_path, caplog):
    file = write_jsonl(tmp_path / "a.jsonl", [{"text": "w1"}])
    assert values(open_source(str(file), trust_remote_code=True)) == ["w1"]
    assert "runs no code of the hub" in caplog.text


@pytest.mark.parametrize("name", ["a.jsonl", "saved"])
def test_a_configuration_of_what_has_none_is_refused(tmp_path, name):
    write_all_formats(tmp_path, datasets.Dataset.from_dict({"text": TEXTS}))
    with pytest.raises(WorkerError, match=r"dataset_name is 'junk'.* has no configurations") as caught:
        open_source(str(tmp_path / name), name="junk")
    assert caught.value.code == "CONFIG_INVALID"


def test_the_configurations_of_a_folder_are_told_when_another_is_asked_for(tmp_path):
    write_jsonl(tmp_path / "train.jsonl", [{"text": "w1"}])
    with pytest.raises(WorkerError, match=r"'junk' not found. Available: .'default'") as caught:
        open_source(str(tmp_path), name="junk")
    assert caught.value.code == "DATASET_INVALID"
