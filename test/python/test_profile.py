"""Each part of a step is measured without the parts inside it, by the thread that measures, and by nobody else."""

import threading
import time

import torch
from complete_config import config_for

from pyworker.kernels.product import best_seconds
from pyworker.profile import Profile, part, profiled
from pyworker.saes import create_sae, seeded_generator
from pyworker.train import SAETrainer, TrainingLoop


def test_a_part_is_measured_without_the_parts_inside_it():
    profile = Profile("cpu")
    with profiled(profile), part("outer"):
        time.sleep(0.02)
        for _ in range(2):
            with part("inner"):
                time.sleep(0.05)
    outer, inner = profile.parts["outer"], profile.parts["inner"]
    assert (outer.calls, inner.calls) == (1, 2)
    assert 0.02 <= outer.seconds < 0.09 <= inner.seconds


def test_other_threads_and_later_work_are_not_measured():
    profile = Profile("cpu")

    def elsewhere():
        with part("elsewhere"):
            pass

    with profiled(profile):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    with part("later"):
        pass
    assert profile.parts == {}


class Silent:
    """Callbacks and batches of a trainer."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(0)

    def __iter__(self):
        return self

    def __next__(self):
        return torch.randn(16, 8, generator=self.generator)

    def __getattr__(self, name):
        return lambda *args, **kwargs: None


def test_a_profiled_run_names_the_parts_of_its_steps_and_is_the_same_run():
    def trained(profile):
        run = {
            "train_batch_size_tokens": 16,
            "training_tokens": 160,
            "profile": profile,
            "n_checkpoints": 1,
        }
        config = config_for("topk", run, d_in=8, d_sae=64, k=4)
        trainer = SAETrainer(create_sae(config.sae, seeded_generator(0)), config, Silent(), Silent())
        loop = TrainingLoop([trainer], trainer.batches, trainer.callbacks)
        assert loop.run()[0].n_training_steps == 10
        return loop.profile, trainer.sae

    (nothing, plain), (profile, measured) = trained(False), trained(True)
    assert nothing is None
    assert torch.equal(plain.W_dec, measured.W_dec)
    parts = profile.parts
    steps = {
        "rows",
        "losses",
        "encode",
        "select",
        "decode",
        "statistics",
        "backward",
        "clip",
        "optimizer",
        "metrics",
    }
    assert set(parts) == {*steps, "checkpoints", "other"}
    assert all(parts[step].calls == 10 for step in steps)
    assert (parts["checkpoints"].calls, parts["other"].calls) == (1, 1)


def test_the_best_time_of_the_encoder_grows_with_its_rows():
    W_DF = torch.zeros(512, 64).t()
    assert 0 < best_seconds(W_DF, 100) < best_seconds(W_DF, 1000000)
