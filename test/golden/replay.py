"""Replay recorded training of SAELens through the real trainer.

Reads one JSON line for each case from standard input (or ``--resolved FILE``), as test/golden/run.ts makes
them: ``{kind: "v5"|"v6", folder, case, config}`` with our resolved configuration, or
``missing``/``error`` in its place.
Prints one line a case; the exit status is 1 when one differs. Tolerances: shared/golden/README.md.
Every tensor of a record is compared, or the line says why not.
"""

import argparse
import json
import math
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import torch
from compare import Comparison, MetricRows, RecordedBatches, RecordedTensors
from torch import Tensor

from pyworker.files import write_files
from pyworker.protocol.config import LanguageModelSAERunnerConfig
from pyworker.saes import SAE, StepInput, StepOutput, create_sae, load_sae, seeded_generator
from pyworker.saes.gated import GatedSAE
from pyworker.saes.init import unit_rows
from pyworker.saes.topk import TopKSAE
from pyworker.train import SAETrainer
from pyworker.train.activation_scaler import Whitening

LOSS_RTOL, RATE_RTOL, OUTPUT_ATOL, WEIGHT_ATOL = 1e-5, 1e-9, 2e-5, 1e-6
NOISE_SEED = 1234
"""Before every recorded run; its draws were recorded too."""
PER_STEP = ("sae_out", "feature_acts", "hidden_pre", "dead_mask", "batch_scaled", "grad", "after")
EXPECTED = {
    "v5": ("sae_out", "feature_acts", "dead_mask", "grad"),
    "v6": ("sae_out", "feature_acts"),
}
"""Recorded for every step; a record without them is compared in what it has, and named."""


class Replay:
    """One case: the trainer with the recorded inputs, and eyes on what it does."""

    def __init__(self, line: dict[str, Any], kernels: str):
        folder, self.case, self.kind = Path(line["folder"]), line["case"], line["kind"]
        self.record = json.loads((folder / "index.json").read_text())[self.case]
        self.tensors = RecordedTensors(folder / f"{self.case}.safetensors")
        self.config = msgspec.convert(line["config"], LanguageModelSAERunnerConfig)
        # Where b_dec started is recorded with the other weights.
        self.config.sae.b_dec_init_method = "zeros"
        sae = self.config.sae
        if sae.noise_scale == 0 and getattr(sae, "activation_fn", "relu") in ("relu", "tanh-relu"):
            sae.kernels = kernels
        self.steps = self.record["steps"]
        self.crash = self.record.get("error")
        self.compared = Comparison()
        self.ghost = bool(getattr(self.config.sae, "use_ghost_grads", False))

    def run(self) -> Comparison:
        """Train, compare each step, then what is left at the end."""
        sae = create_sae(self.config.sae, seeded_generator(self.config.seed))
        self.estimates, batches = self.tensors.numbered("estimate_batch"), self.tensors.numbered("batch")
        self.config.logger.wandb_log_frequency = 1
        self.metrics = MetricRows()
        self.trainer = SAETrainer(sae, self.config, RecordedBatches(self.estimates, batches), self.metrics)
        sae.load_state_dict(self.tensors.group("init"))
        self._inject_statistics()
        self._watch()
        self.trainer.prepare()
        factor = self.record.get("scaling_factor")
        if factor is not None or self.trainer.scaler.factor is not None:
            ours, theirs = (math.nan if f is None else f for f in (self.trainer.scaler.factor, factor))
            self.compared.numbers("scaling_factor", ours, theirs, 1e-6)
        if self._completed() == self.trainer.total_steps:
            self._finish()
        else:
            self._run_to_the_crash(batches)
        self._name_what_is_missing()
        return self.compared

    def _completed(self) -> int:
        """Steps that the recorded run completed: a crash may have come after a recorded forward pass."""
        if self.crash is None or self.kind == "v6" or self.tensors.has("saved"):
            return len(self.steps)
        last = len(self.steps) - 1
        crashed_backward = last >= 0 and not any(self.tensors.has(f"{p}.{last}") for p in ("grad", "after"))
        return last if crashed_backward else len(self.steps)

    def _run_to_the_crash(self, batches: list[Tensor]) -> None:
        completed = self._completed()
        if self.crash is None:
            self.compared.differences.append(f"{completed} of {self.trainer.total_steps} steps recorded")
        else:
            self.compared.notes.append(f"SAELens crashed after {completed} steps, ours goes on")
        for batch_BD in batches[: len(self.steps)]:
            self.trainer.train_step(batch_BD)
            self.trainer.n_training_steps += 1
            self.trainer.finetuning.begin_if_due(self.trainer.sae, self.trainer.n_training_samples)
        # What the crash left behind has no counterpart.
        later = [f"{name}.{i}" for name in PER_STEP for i in range(completed, self.trainer.total_steps)]
        self.tensors.set_aside(*later, "saved", "folded", "inference_in")

    # -- inputs ----------------------------------------------------------------------------------------------

    def _inject_statistics(self) -> None:
        """v6 recorded the statistics and not the batches they came from."""
        if self.estimates:
            return
        self.trainer.scaler.factor = self.record.get("scaling_factor")
        statistics = self.tensors.group("whitening")
        if statistics:
            self.trainer.scaler.whitening = Whitening(
                statistics["mean"], statistics["matrix"], statistics["inverse"]
            )

    def _watch(self) -> None:
        """Look into every step of the trainer, and give it the recorded noise."""
        trainer, sae = self.trainer, self.trainer.sae
        forward = trainer.training_forward
        noise = iter(self.tensors.numbered("noise"))
        sae.noise_generator.manual_seed(NOISE_SEED)
        if self.tensors.has("noise"):
            sae.draw_noise = lambda z_BF: next(noise)  # type: ignore[method-assign]

        def watched(step: StepInput) -> StepOutput:
            output = forward(step)
            self._compare_forward(step, output)
            return output

        trainer.training_forward = watched
        trainer.optimizer.register_step_post_hook(lambda *_: self._compare_after())
        for name, parameter in sae.named_parameters():
            if not parameter.requires_grad:  # rests before fine-tuning; no record has its gradient
                continue
            parameter.register_post_accumulate_grad_hook(lambda p, name=name: self._compare_grad(name, p))

    # -- comparisons -----------------------------------------------------------------------------------------

    @property
    def step(self) -> int:
        return self.trainer.n_training_steps

    def _compare_forward(self, step: StepInput, output: StepOutput) -> None:
        i, c, recorded = self.step, self.compared, self.steps[self.step]
        c.numbers(f"loss.{i}", output.loss.item(), recorded["loss"], LOSS_RTOL)
        c.equal(f"losses.{i}", sorted(output.losses), sorted(recorded["losses"]))
        for name in output.losses.keys() & recorded["losses"].keys():
            ours, theirs = output.losses[name].item(), recorded["losses"][name]
            c.numbers(f"{name}.{i}", ours, theirs, LOSS_RTOL, atol=1e-7)
        c.numbers(f"lr.{i}", self.trainer.schedule.at(i), recorded["lr"], RATE_RTOL)
        ours = step.coefficients
        theirs = recorded.get("coefficients")
        if theirs is None:
            theirs = {name: recorded["coefficient"] for name in ours}
        c.equal(f"coefficients.{i}", sorted(ours), sorted(theirs))
        for name in ours.keys() & theirs.keys():
            c.numbers(f"coefficient {name}.{i}", ours[name], theirs[name], RATE_RTOL)
        c.numbers(f"n_dead.{i}", step.dead_F.sum().item(), recorded["n_dead_before"], 0)
        seen = {
            "sae_out": output.reconstruction_BD,
            "feature_acts": self._feature_acts(output),
            "hidden_pre": self._hidden_pre(step, output),
            "dead_mask": step.dead_F,
            "batch_scaled": step.x_BD,
        }
        for name, tensor in seen.items():
            theirs_i = self.tensors.get(f"{name}.{i}")
            if theirs_i is not None:
                # Ghosts read the pre-activations of dead latents, which differ as the weights may.
                wide = 5 if self.ghost and name == "hidden_pre" else 1
                c.tensors(f"{name}.{i}", tensor.detach(), theirs_i, wide * OUTPUT_ATOL)

    def _feature_acts(self, output: StepOutput) -> Tensor:
        """TopK by index leaves latents in the units of their pre-activations."""
        sae: Any = self.trainer.sae
        scaled = not isinstance(sae, TopKSAE) or sae.code_is_scaled or not sae.rescales
        return (output.code if scaled else output.code.weighted(sae.W_dec.norm(dim=1))).dense()

    def _hidden_pre(self, step: StepInput, output: StepOutput) -> Tensor:
        """Kernels that work by index keep none: those of the dense ones then, with the same weights."""
        sae: Any = self.trainer.sae
        pre = output.pre
        if pre is None or pre.matrix() is None:
            by_index, sae.by_index = sae.by_index, False
            pre = sae.encode_rows(sae.prepare(step.x_BD)[0])[1]
            sae.by_index = by_index
        return (sae.magnitude(pre) if isinstance(sae, GatedSAE) else pre).dense()

    def _compare_grad(self, name: str, parameter: Tensor) -> None:
        theirs = self.tensors.get(f"grad.{self.step}.{name}")
        if theirs is not None:
            rtol = 2e-4 if self.ghost else 1e-4
            atol = rtol * theirs.abs().max().item() + 1e-7
            self.compared.tensors(f"grad.{self.step}.{name}", parameter.grad, theirs, atol)

    def _compare_after(self) -> None:
        for name in self.tensors.unread(f"grad.{self.step}."):
            theirs = self.tensors.get(name)
            assert theirs is not None
            self.compared.tensors(f"{name} (ours has none)", torch.zeros_like(theirs), theirs, 1e-7)
        if self.step < self._completed():
            self._compare_weights(f"after.{self.step}", self.trainer.sae.state_dict())
        if self.step == self._completed() - 1:
            self._compare_weights("final", self.trainer.sae.state_dict())

    def _compare_weights(self, prefix: str, weights: dict[str, Tensor]) -> None:
        dense_batch = self.config.sae.mse_loss_normalization == "dense_batch"
        atol = (5e-5 if dense_batch else 1e-5) if self.ghost else WEIGHT_ATOL
        for name, theirs in self.tensors.group(prefix).items():
            bound = atol + 1e-6 * theirs.abs().max().item()
            self.compared.tensors(f"{prefix}.{name}", weights.get(name), theirs, bound)

    def _finish(self) -> None:
        """The end of training: folded weights, the saved files, inference and sparsity."""
        self.trainer.fit()
        c, firing = self.compared, self.trainer.firing
        c.numbers("steps", self.step, len(self.steps), 0)
        self._compare_weights("folded", self.trainer.sae.state_dict())
        counters = {
            "n_forward_passes_since_fired": firing.steps_since_fired_F.tolist(),
            "act_freq_scores": firing.firings_F.tolist(),
            "n_frac_active_tokens": firing.n_samples,
        }
        for name, ours in counters.items():
            if name in self.record:
                c.equal(name, ours, self.record[name])
        self._compare_metrics()
        with TemporaryDirectory() as place:
            write_files(self.trainer.sae_files(), Path(place))
            sae, _, log_sparsity_F = load_sae(Path(place))
        theirs = self.record.get("sparsity")
        theirs_F = self.tensors.get("saved_log_sparsity") if theirs is None else torch.tensor(theirs)
        if theirs_F is not None:
            c.tensors("log sparsity", log_sparsity_F, theirs_F, 1e-5)
        self._compare_saved(sae)

    def _compare_metrics(self) -> None:
        """What v5 logged of a step itself. Its losses, rates and coefficients were logged one step late
        (trap 11); the true ones are compared in the step."""
        for i, recorded in enumerate(self.steps):
            for name, theirs in recorded.get("log_as_v5_would_emit", {}).items():
                if name.startswith(("metrics/", "sparsity/")):
                    self.compared.numbers(f"{name}.{i}", self.metrics.rows[i][name], theirs, LOSS_RTOL, 1e-6)

    def _compare_saved(self, saved: SAE) -> None:
        """The files and what they compute.

        v5 made decoder rows unit while saving and left the encoder alone (trap 2). Ours saves what was
        trained; for the rest of the comparison it is made unit as well.
        """
        trained = self.trainer.sae.eval()
        if self.kind == "v5" and self.config.sae.normalize_sae_decoder:
            self.compared.notes.append("v5 saved another SAE than it trained (trap 2), ours does not")
            raw = self.tensors.group("batch")["0"]
            with torch.no_grad():
                bound = OUTPUT_ATOL + 2e-5 * trained(raw).abs().max().item()
                self.compared.tensors("saved against trained", saved(raw), trained(raw), bound)
                saved.W_dec.copy_(unit_rows(saved.W_dec))
        weights = saved.state_dict()
        if trained.finetuning_scaling_factor is not None:
            weights["finetuning_scaling_factor"] = trained.finetuning_scaling_factor.detach()
        self._compare_weights("saved", weights)
        raw, out_theirs = self.tensors.get("inference_in"), self.tensors.get("inference_out")
        acts_theirs = self.tensors.get("inference_acts")
        if raw is None or out_theirs is None:
            return
        bound = OUTPUT_ATOL + 2e-5 * out_theirs.abs().max().item()
        if acts_theirs is not None:
            self.compared.tensors("inference_acts", saved.encode(raw), acts_theirs, bound)
        self.compared.tensors("inference_out", saved(raw), out_theirs, bound)

    def _name_what_is_missing(self) -> None:
        """What was recorded and not compared is a failure; what was not recorded is named."""
        unread = self.tensors.unread()
        if unread:
            self.compared.differences.append(f"recorded but not compared: {', '.join(unread)}")
        absent = [
            f"{name}.{i}"
            for name in EXPECTED[self.kind]
            for i in range(self._completed())
            if not self.tensors.has(f"{name}.{i}")
        ]
        ends = ("final", "inference_out") if self.crash is None else ()
        absent += [name for name in ends if not self.tensors.has(name)]
        if absent:
            self.compared.notes.append(f"not recorded: {', '.join(absent)}")


def replay(line: dict[str, Any], kernels: str) -> Comparison:
    """The comparison of one line, whatever happens in it."""
    if "config" not in line:
        return Comparison(0, [line["error"]])
    try:
        return Replay(line, kernels).run()
    except Exception as error:  # a case that breaks fails; the others still count
        return Comparison(0, [" ".join(f"{type(error).__name__}: {error}".split())])


def main() -> int:
    """Replay every case; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--resolved", type=Path, help="read the cases from this file instead of standard input"
    )
    parser.add_argument(
        "--allow-missing", action="store_true", help="cases of architectures not built yet may fail"
    )
    parser.add_argument(
        "--kernels", default="auto", help="auto, dense or sparse; cases that cannot work by index stay dense"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    text = arguments.resolved.read_text() if arguments.resolved else sys.stdin.read()
    lines = [json.loads(line) for line in text.splitlines() if line]
    passed = failed = missing = 0
    for line in lines:
        name = f"{line['kind']}/{line['case']}"
        if "missing" in line:
            print(f"MISSING {name}: architecture {line['missing']} is not built yet")
            missing += 1
            continue
        compared = replay(line, arguments.kernels)
        if line.get("left_out"):
            compared.notes.insert(0, f"left out, has no effect: {', '.join(line['left_out'])}")
        notes = f" ({'; '.join(compared.notes)})" if compared.notes else ""
        if compared.differences:
            print(f"FAIL    {name}{notes}: {'; '.join(compared.differences[:4])}")
        else:
            print(f"ok      {name}{notes}: {compared.n_values} values")
        failed += bool(compared.differences)
        passed += not compared.differences
    print(f"{passed} of {len(lines)} cases passed, {failed} failed, {missing} not built yet")
    return 1 if failed or (missing and not arguments.allow_missing) or not lines else 0


if __name__ == "__main__":
    sys.exit(main())
