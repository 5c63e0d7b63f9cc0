"""Texts become a dataset of sequences: no token lost, the same whatever interrupts it, nobody's files touched."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from small_work import Listener, folder_bytes, run
from transformers import AutoTokenizer

from pyworker.data.datasets import open_source
from pyworker.data.held_out import open_token_data
from pyworker.errors import WorkerError
from pyworker.runners import pretokenize as runner

N_TEXTS = 300
KILLED = Path(__file__).with_name("killed_work.py")


@pytest.fixture
def tokenizer_folder(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<bos>", "<eos>", "<unk>", *(f"w{i}" for i in range(40))]
    rust = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    rust.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    whole = PreTrainedTokenizerFast(tokenizer_object=rust, bos_token="<bos>", eos_token="<eos>")
    whole.save_pretrained(tmp_path / "words")
    return str(tmp_path / "words")


@pytest.fixture
def work(tmp_path, tokenizer_folder):
    """Options that name a dataset of texts, and a place for the result."""
    draw = np.random.default_rng(0)
    texts = tmp_path / "texts.jsonl"
    rows = [
        " ".join(f"w{i}" for i in draw.integers(0, 40, size=draw.integers(0, 30))) for _ in range(N_TEXTS)
    ]
    texts.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    return {
        "tokenizer_name": tokenizer_folder,
        "dataset_path": str(texts),
        "save_path": str(tmp_path / "out" / "tokens"),
    }


def refused(code, match, **changes):
    with pytest.raises(WorkerError, match=match) as caught:
        run(**changes)
    assert caught.value.code == code
    return caught.value


def sequences(path):
    return np.array(datasets.load_from_disk(path)["input_ids"][:])


def test_the_result_loads_with_datasets_and_says_how_it_was_made(work):
    result = run(**work)
    loaded = datasets.load_from_disk(work["save_path"])
    assert loaded.column_names == ["input_ids"]
    assert len(loaded) == result["n_sequences"] > 100
    assert set(map(len, loaded["input_ids"])) == {16}
    made = json.loads((Path(work["save_path"]) / "sae_lens.json").read_text())
    assert made["tokenizer_name"] == work["tokenizer_name"]
    assert (made["original_dataset"], made["context_size"], made["seed"]) == (work["dataset_path"], 16, 42)
    assert not Path(work["save_path"] + ".partial").exists()


def test_no_token_is_lost_where_batches_meet(work):
    result = run(**work, shuffle=False, pretokenize_batch_size=7)
    texts = [row["text"] for row in map(json.loads, Path(work["dataset_path"]).read_text().splitlines())]
    written = [token for row in sequences(work["save_path"]) for token in row if token > 1]
    told = [int(word[1:]) + 3 for text in texts for word in text.split()]
    assert told[: len(written)] == written
    assert len(told) - len(written) <= 16
    assert result["n_tokens"] == len(told)


@pytest.mark.parametrize("changes", [{"num_proc": 3}, {"pretokenize_batch_size": 1000}, {"streaming": True}])
def test_how_it_is_done_does_not_change_what_is_made(work, tmp_path, changes, monkeypatch):
    monkeypatch.setattr("pyworker.text_encoding.ALONE_SECONDS", 0)
    run(**work)
    other = str(tmp_path / "other")
    run(**{**work, "save_path": other, **changes})
    ours, theirs = (folder_bytes(Path(path)) for path in (work["save_path"], other))
    [shard] = [name for name in ours if name.endswith(".arrow")]
    assert ours[shard] == theirs[shard]


def test_shuffling_keeps_the_sequences_and_is_that_of_the_library_with_the_seed(work, tmp_path):
    plain = str(tmp_path / "plain")
    run(**{**work, "shuffle": False, "save_path": plain})
    run(**work)
    expected = datasets.load_from_disk(plain).shuffle(seed=42)["input_ids"][:]
    assert sequences(work["save_path"]).tolist() == expected


def test_a_seed_that_is_not_given_is_drawn_and_recorded(work):
    result = run(**work, seed=None)
    made = json.loads((Path(work["save_path"]) / "sae_lens.json").read_text())
    assert made["seed"] == result["seed"]
    assert isinstance(made["seed"], int)


def test_killed_at_any_written_file_and_run_again_it_makes_the_same_bytes(work, tmp_path):
    base = {key: value for key, value in work.items() if key != "save_path"}
    run(**base, save_path=str(tmp_path / "whole"))
    whole = folder_bytes(tmp_path / "whole")
    counts = [1, 2, 3, 20, 32, 33, 36, 37]
    command = [sys.executable, KILLED, json.dumps(base), tmp_path / "killed", *map(str, counts)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(KILLED.parent), str(KILLED.parents[3])])}
    killed = subprocess.run(
        command, env=environment, check=True, stdout=subprocess.PIPE, text=True, timeout=120
    )
    assert killed.stdout.split() == [str(signal.SIGKILL.value)] * len(counts)
    for count in counts:
        folder = tmp_path / "killed" / str(count)
        assert not folder.exists()
        listener = Listener()
        assert run(listener, **base, save_path=str(folder))["ended"] == "done"
        assert ("continued" in [kind for kind, _ in listener.events]) == (count > 2), count
        assert folder_bytes(folder) == whole, count
    assert sorted(os.listdir(tmp_path / "killed")) == sorted(map(str, counts))


def test_a_request_to_stop_puts_down_what_is_done_and_the_same_call_goes_on(work, monkeypatch):
    monkeypatch.setattr(runner, "TELL_SECONDS", 0)
    stopped = run(Listener(stop_after=4), **work)
    assert stopped["ended"] == "stopped"
    assert 0 < stopped["n_documents"] < N_TEXTS
    finished = run(**work)
    assert (finished["ended"], finished["n_continued"]) == ("done", stopped["n_documents"])


def test_the_same_call_on_a_finished_dataset_leaves_it_as_it_is(work):
    run(**work)
    before = folder_bytes(Path(work["save_path"]))
    assert run(**work, num_proc=2)["ended"] == "present"
    assert folder_bytes(Path(work["save_path"])) == before


def test_other_options_are_refused_by_name_when_it_is_unfinished_and_when_it_is_finished(work, monkeypatch):
    monkeypatch.setattr(runner, "TELL_SECONDS", 0)
    run(Listener(stop_after=4), **work)
    other = {**work, "context_size": 8, "seed": 1}
    error = refused("CONFIG_INVALID", "context_size was 16 and is 8; seed was 42 and is 1", **other)
    assert "another save_path" in error.hint
    run(**work)
    refused("CONFIG_INVALID", "holds a dataset made with other options: context_size", **other)


def test_a_dataset_that_has_changed_meanwhile_is_refused(work, monkeypatch):
    monkeypatch.setattr(runner, "TELL_SECONDS", 0)
    run(Listener(stop_after=4), **work)
    with Path(work["dataset_path"]).open("a") as file:
        file.write('{"text": "w1"}\n')
    refused("CONFIG_INVALID", "dataset_fingerprint was", **work)


@pytest.mark.parametrize("place", ["tokens", "tokens.partial"])
def test_a_place_with_somebody_elses_files_is_refused_and_left_alone(work, tmp_path, place):
    folder = tmp_path / "out" / place
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("years of work")
    refused("STORAGE", "thesis.txt", **work)
    assert folder_bytes(tmp_path / "out") == {f"{place}/thesis.txt": b"years of work"}


def test_an_empty_folder_is_a_good_place(work):
    Path(work["save_path"]).mkdir(parents=True)
    assert run(**work)["ended"] == "done"


def test_a_place_below_a_file_is_refused(work, tmp_path):
    (tmp_path / "out").write_text("")
    refused("STORAGE", "Not a directory", **work)


def test_two_processes_do_not_write_to_one_place(work, monkeypatch):
    import fcntl

    folder = Path(work["save_path"] + ".partial")
    folder.mkdir(parents=True)
    with (folder / "lock").open("w") as lock:
        lock.write("process 4711")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused("STORAGE", "is being written by process 4711", **work)


def test_a_full_disk_is_said_and_what_is_done_is_continued(work, tmp_path):
    run(**{**work, "save_path": str(tmp_path / "first")})  # the library's own files are there now
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))  # the system refuses larger files
    try:
        error = refused("STORAGE", "cannot write .*too large", **work)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "free some space" in error.hint
    assert run(**work)["ended"] == "done"


def test_a_need_for_more_space_than_there_is_is_found_at_the_beginning(work, monkeypatch):
    monkeypatch.setattr(runner, "BYTES_PER_TOKEN", 2**50)
    refused("STORAGE", "needs about .* GiB while it is made", **work)


@pytest.mark.parametrize(
    ("changes", "code", "match"),
    [
        (
            {"column_name": "story"},
            "DATASET_INVALID",
            "has the columns 'text'; none .* \\(column_name: 'story'\\)",
        ),
        ({"dataset_name": "en"}, "CONFIG_INVALID", "dataset_name is 'en', but dataset .* is one file"),
        ({"data_files": "x.jsonl"}, "CONFIG_INVALID", "data_files is 'x.jsonl', but dataset .* is one file"),
        ({"dataset_path": "./nowhere"}, "DATASET_NOT_FOUND", "does not exist"),
        ({"tokenizer_name": "./nowhere"}, "MODEL_NOT_FOUND", "tokenizer './nowhere'"),
        ({"begin_batch_token": 99}, "CONFIG_INVALID", "token id 99 .* 0 to 42"),
        ({"context_size": 100_000}, "DATASET_EXHAUSTED", "no whole sequence of 100000 tokens"),
        ({"use_chat_formatting": True}, "TOKENIZER_MISMATCH", "no chat template"),
    ],
)
def test_what_cannot_be_done_is_named(work, changes, code, match):
    refused(code, match, **{**work, **changes})


def test_token_ids_are_not_tokenized_again(work, tmp_path):
    run(**work)
    again = {**work, "dataset_path": work["save_path"], "column_name": "input_ids"}
    refused("DATASET_INVALID", "holds token ids already", **{**again, "save_path": str(tmp_path / "again")})


def test_files_and_a_folder_of_a_dataset_can_be_chosen(work, tmp_path):
    folder = tmp_path / "many"
    for name in ("a/one.jsonl", "a/two.jsonl", "b/three.jsonl"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps({"text": " ".join([f"w{len(name)}"] * 40)}) + "\n")
    base = {**work, "dataset_path": str(folder), "shuffle": False, "begin_batch_token": None}
    run(**{**base, "data_files": ["b/*.jsonl"]})
    assert set(sequences(work["save_path"]).ravel()) == {len("b/three.jsonl") + 3}
    other = str(tmp_path / "by_folder")
    run(**{**base, "data_dir": "a", "save_path": other})
    assert set(sequences(other).ravel()) == {len("a/one.jsonl") + 3, 1}


def test_our_dataset_is_read_as_pretokenized_with_its_record(work):
    run(**work)
    source = open_source(work["save_path"])
    assert source.kind == "tokens"
    assert source.pretokenized["context_size"] == 16


class Model:
    """What opening a dataset needs of a model."""

    bos_token_id, eos_token_id, sep_token_id = 0, 1, None

    def __init__(self, folder):
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.vocab_size = len(self.tokenizer)


@pytest.fixture
def training_on(make_config):
    given = {"context_size": 16, "streaming": False, "n_eval_batches": 0}
    return lambda path, **changes: make_config("topk", run={"dataset_path": path, **given, **changes})


def test_training_takes_the_dataset_for_a_model_with_its_tokenizer_wherever_that_lies(
    work, tmp_path, training_on
):
    run(**work)
    moved = str(tmp_path / "moved" / "elsewhere")
    AutoTokenizer.from_pretrained(work["tokenizer_name"]).save_pretrained(moved)
    data = open_token_data(training_on(work["save_path"]), Model(moved))
    first = next(iter(data.training.sequences()))
    assert first.tolist() == sequences(work["save_path"])[0].tolist()


def test_training_refuses_the_dataset_for_another_tokenizer_or_a_longer_context(work, tmp_path, training_on):
    run(**work)
    other = AutoTokenizer.from_pretrained(work["tokenizer_name"])
    other.add_tokens(["w41"])
    other.save_pretrained(tmp_path / "other" / "words")  # of the same name
    with pytest.raises(WorkerError, match="has another vocabulary") as caught:
        open_token_data(training_on(work["save_path"]), Model(tmp_path / "other" / "words"))
    assert caught.value.code == "TOKENIZER_MISMATCH"
    with pytest.raises(WorkerError, match="tokenized with context_size 16, not 32"):
        open_token_data(training_on(work["save_path"], context_size=32), Model(work["tokenizer_name"]))
