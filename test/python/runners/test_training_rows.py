"""One run, three sources of rows: the language model, a cache on disk, and rows fed from outside."""

import hashlib
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import datasets
import msgspec
import numpy as np
import pytest
import torch

from pyworker.data.activation_cache_manifest import CacheManifest, ShardRecord, write_manifest
from pyworker.data.held_out import open_token_data
from pyworker.errors import WorkerError
from pyworker.runners import models
from pyworker.runners.models import language_model
from pyworker.runners.training import train

sys.path.insert(0, str(Path(__file__).parent))
import test_training

place = test_training.place

WIDTH, CONTEXT = 32, 16
MODEL_METRIC = "model_performance_preservation/ce_loss_score"
ROW_METRIC = "reconstruction_quality/explained_variance"


class Session(test_training.Session):
    """Keeps the rows of metrics, and the activations trained on for whoever wants them fed again."""

    def __init__(self, feed: Iterator | None = None):
        super().__init__()
        self.rows: list[dict] = []
        self.logged: list[str] = []
        self.tapped: list[list[np.ndarray]] = []
        self.feed = self
        self._feed = feed

    def frames(self, n_ahead, waiting):
        return self._feed

    def log(self, level, message):
        self.logged.append(message)

    def metrics(self, name, row):
        self.rows.append(dict(row))

    def tap_wanted(self):
        return True

    def tap(self, *, activation, token_id, position, sequence, hook_name, step):
        columns = (token_id, position, sequence, activation)
        self.tapped.append([column.numpy().copy() for column in columns])

    def losses(self) -> list[float]:
        return [row["losses/mse_loss"] for row in self.rows if "losses/mse_loss" in row]

    def last(self, metric: str) -> float | None:
        return next((row[metric] for row in reversed(self.rows) if metric in row), None)


def run(config, folder: Path, session: Session, fed: bool = False) -> Session:
    places = {
        "checkpoints": str(folder / "checkpoints"),
        "output": str(folder / "out"),
        "staging_suffix": "t",
        "rescue": None,
        "kernel_timings": str(folder / "kernels.json"),
    }
    names = ("model_name", "dataset_path", "from_pretrained_path")
    recorded = {name: getattr(config, name) for name in names}
    params = {
        "config": msgspec.to_builtins(config),
        "places": places,
        "recorded": recorded,
        "fed": fed,
        "resume": None,
        "saes": None,
    }
    session.result = train(params, session)
    return session


@pytest.fixture
def configure(make_config, place):
    def configured(**changes):
        options = {"activations_mixing_fraction": 0, "n_eval_batches": 2, **changes}
        return test_training.config(make_config, place, **options)

    return configured


@pytest.fixture
def cache(configure, place, tmp_path) -> Path:
    """The sequences of the dataset in its order, through the model in the batches of a live run."""
    config = configure()
    lm = language_model(config, Session())
    data = open_token_data(config, lm)
    tokens_NC = np.stack([*data.evaluation.tokens_EC.numpy(), *islice(data.training.sequences(), 88)])
    x_NCD = torch.cat([lm.activations(tokens_PC) for tokens_PC in torch.from_numpy(tokens_NC).split(4)])
    hook, path = config.hook_name, tmp_path / "cache"
    features = datasets.Features(
        {
            hook: datasets.Array2D((CONTEXT, WIDTH), "float32"),
            "token_ids": datasets.Sequence(datasets.Value("int32"), length=CONTEXT),
        }
    )
    columns = {hook: x_NCD.numpy(), "token_ids": tokens_NC.astype(np.int32)}
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(path, num_shards=2)
    shards = [
        ShardRecord(file.name, 48, file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest())
        for file in sorted(path.glob("*.arrow"))
    ]
    manifest = CacheManifest(
        model_name=str(place), model_revision=None, hook_names=[hook], d_in={hook: WIDTH}, dtype="float32",
        context_size=CONTEXT, seqpos_slice=[None], tokenizer_sha256=None,
        dataset_path="the dataset of the cache", dataset_revision=None, seed=42, shuffle=False,
        n_sequences=96, n_tokens=96 * CONTEXT, tokens_sha256="0" * 64, prepend_bos=True,
        sequence_separator_token="bos", disable_concat_sequences=False, shards=shards,
    )  # fmt: skip
    write_manifest(path, manifest)
    return path


def cached(cache: Path) -> dict:
    return {"use_cached_activations": True, "cached_activations_path": str(cache)}


def test_training_from_the_cache_gives_the_losses_and_evaluations_of_training_live(
    configure, cache, tmp_path
):
    live = run(configure(), tmp_path / "live", Session())
    ours = run(configure(**cached(cache)), tmp_path / "cached", Session())
    assert len(live.losses()) >= 5
    assert ours.losses() == live.losses(), "bit for bit"
    for metric in (MODEL_METRIC, ROW_METRIC):
        assert ours.last(metric) == live.last(metric)
    for one, other in zip(ours.tapped, live.tapped, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_feeding_the_rows_of_a_live_run_gives_its_losses(configure, tmp_path):
    fed = configure(model_name="a name", dataset_path="another", hook_name="h")
    fed.sae.d_in, fed.sae.normalize_activations = None, "none"
    plain = configure()
    plain.sae.normalize_activations = "none"
    live = run(plain, tmp_path / "live", Session())
    ours = run(fed, tmp_path / "fed", Session(iter(live.tapped)), fed=True)
    assert ours.losses() == live.losses(), "bit for bit"
    assert ours.result["ended"] == "done"
    assert "load_model" not in {stage for stage, *_ in ours.stages}


def test_no_model_is_loaded_where_no_dataset_asks_for_it(configure, cache, tmp_path, monkeypatch):
    def never(*_):
        raise AssertionError("a model was loaded")

    in_model = run(configure(**cached(cache)), tmp_path / "in_model", Session())
    monkeypatch.setattr("pyworker.runners.training_rows.language_model", never)
    session = run(configure(**cached(cache), dataset_path=""), tmp_path, Session())
    assert session.result["n_training_steps"] == 10
    alike = run(
        configure(**cached(cache), dataset_path="", exclude_special_tokens=True), tmp_path / "b", Session()
    )
    assert 1 not in np.concatenate([tapped[0] for tapped in alike.tapped])
    assert 1 in np.concatenate([tapped[0] for tapped in session.tapped])
    assert session.last(ROW_METRIC) == pytest.approx(in_model.last(ROW_METRIC), abs=1e-6)
    assert session.last(MODEL_METRIC) is None
    assert '"dataset_path": "the dataset of the cache"' in (tmp_path / "out.t" / "cfg.json").read_text()


def test_the_model_is_loaded_by_the_first_evaluation_and_changes_no_number(configure, cache, tmp_path):
    options = {"training_tokens": 640, **cached(cache)}
    noisy = configure(**options)
    noisy.sae.noise_scale = 0.1
    runs = []
    for dataset in (noisy.dataset_path, ""):
        models._held = None
        noisy.dataset_path = dataset
        runs.append(run(noisy, tmp_path / f"{bool(dataset)}", Session()))
    stages = [stage for stage, *_ in runs[0].stages]
    assert stages.index("load_model") > stages.index("train")
    assert runs[0].losses() == runs[1].losses()


def test_evaluations_read_a_dataset_of_their_own_where_one_is_named(configure, cache, place, tmp_path):
    own = {"eval_dataset_path": str(place / "texts.jsonl"), "dataset_path": ""}
    session = run(configure(**cached(cache), **own), tmp_path, Session())
    assert session.last(MODEL_METRIC) is not None
    first = np.concatenate([tapped[2] for tapped in session.tapped])
    assert first[0] == 0


def test_the_width_may_be_left_to_the_cache(configure, cache, tmp_path):
    config = configure(**cached(cache), dataset_path="")
    config.sae.d_in = config.sae.d_sae = None
    config.sae.expansion_factor = 2
    session = run(config, tmp_path, Session())
    assert session.result["n_training_steps"] == 10


def test_the_end_of_the_cache_is_an_end_where_it_is_asked_for(configure, cache, tmp_path):
    options = {**cached(cache), "dataset_path": "", "on_data_end": "stop", "training_tokens": 64_000}
    session = run(configure(**options), tmp_path, Session())
    assert session.result["ended"] == "data_ended"
    assert session.result["n_training_samples"] == 88 * CONTEXT
    assert (tmp_path / "out.t" / "sae_weights.safetensors").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hook_name": "model.layers.0"}, ["model.layers.0", "model.layers.1"]),
        ({"context_size": 8}, ["8", "16"]),
        ({"dtype": "float16"}, ["float16", "float32"]),
        ({"model_name": "gpt2"}, ["gpt2", "tiny"]),
        ({"prepend_bos": False}, ["prepend_bos", "False", "True"]),
    ],
)
def test_a_config_that_the_cache_was_not_made_for_is_refused_before_the_first_step(
    configure, cache, tmp_path, changes, words
):
    session = Session()
    with pytest.raises(WorkerError) as caught:
        run(configure(**cached(cache), **changes), tmp_path, session)
    assert all(word in caught.value.message for word in words), caught.value.message
    assert "train" not in {stage for stage, *_ in session.stages}


def test_a_damaged_shard_is_named_before_the_first_step(configure, cache, tmp_path):
    shard = sorted(cache.glob("*.arrow"))[1]
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    session = Session()
    with pytest.raises(WorkerError, match=shard.name) as caught:
        run(configure(**cached(cache)), tmp_path, session)
    assert caught.value.code == "STORAGE"
    assert "train" not in {stage for stage, *_ in session.stages}


def test_feeding_ends_early_with_a_whole_sae_and_a_stop_while_waiting_is_a_stop(configure, tmp_path):
    draw = np.random.default_rng(0)

    def frames(n: int):
        for _ in range(n):
            yield [
                np.zeros(64, "i4"), np.zeros(64, "i4"), np.zeros(64, "i8"),
                draw.standard_normal((64, WIDTH)).astype("f4"),
            ]  # fmt: skip

    ended = run(configure(), tmp_path / "early", Session(frames(7)), fed=True)
    assert (ended.result["ended"], ended.result["n_training_steps"]) == ("data_ended", 7)
    assert (tmp_path / "early" / "out.t" / "sae_weights.safetensors").exists()

    stopping = Session()

    def until_stopped():
        yield from frames(7)
        stopping.stop_in = "train"

    stopping._feed = until_stopped()
    stopped = run(configure(), tmp_path / "stopped", stopping, fed=True)
    assert stopped.result["ended"] == "stopped"
