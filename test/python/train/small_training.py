"""A trainer on rows made here, and what it reports."""

import torch

from pyworker.files import write_files
from pyworker.saes import create_sae, seeded_generator
from pyworker.train import SAETrainer


class Batches:
    def __init__(self, n=100, batch=64, d_in=8, poison_at=None):
        generator = seeded_generator(11)
        made = [torch.randn(batch, d_in, generator=generator) * 2 + 0.5 for _ in range(n)]
        if poison_at is not None:
            made[poison_at][3, 2] = float("inf")
        self.made = made
        self._left = iter(made)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._left)

    def peek_rows(self):
        return torch.cat(self.made[:4])

    def estimation_batches(self):
        try:
            yield from self.made[:4]
        finally:
            self._left = iter(self.made)


class Recorder:
    def __init__(self, stop_at=None, request_at=None, folder=None, stop_in=None):
        self.stop_at, self.request_at, self.folder, self.stop_in = stop_at, request_at, folder, stop_in
        self.metrics, self.sparsity, self.checkpoints, self.stages, self.evaluated = {}, {}, [], [], []
        self.kernels, self.steps = [], 0
        self.trainer = None

    def on_stage(self, stage, message, done=None, total=None):
        self.stages.append((stage, done, total))

    def on_metrics(self, step, row):
        self.metrics[step] = row

    def on_kernels(self, step, kernels):
        self.kernels.append((step, kernels))

    def on_sparsity(self, step, row, log10_frequency_F):
        self.sparsity[step] = (row, log10_frequency_F)

    def evaluate(self, step):
        self.evaluated.append(step)
        assert not self.trainer.sae.training
        return {"model_performance_preservation/ce_loss_score": 0.5}

    def should_stop(self):
        return self.steps == self.stop_at or (self.stop_in is not None and self.stages[-1:] == [self.stop_in])

    def take_checkpoint_request(self):
        self.steps += 1
        return self.steps == self.request_at

    def on_checkpoint(self, kind, n_training_samples):
        self.checkpoints.append((kind, n_training_samples))
        if self.folder is not None:
            write_files(self.trainer.sae_files(), self.folder / str(n_training_samples))


def make_trainer(config, recorder=None, batches=None, seed=0):
    recorder = recorder or Recorder()
    sae = create_sae(config.sae, seeded_generator(seed))
    recorder.trainer = SAETrainer(sae, config, batches or Batches(), recorder)
    return recorder.trainer, recorder
