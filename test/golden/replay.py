"""Replay recorded training of SAELens through the real trainer.

Reads one JSON line for each case from standard input (or ``--resolved FILE``), as test/golden/run.ts makes
them: ``{kind: "v5"|"v6", folder, case, config}`` with our resolved configuration, or
``missing``/``error`` in its place.
Prints one line a case; the exit status is 1 when one differs. Tolerances: shared/golden/README.md.
"""

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import torch
from safetensors.torch import load_file
from torch import Tensor

from pyworker.protocol.config import LanguageModelSAERunnerConfig
from pyworker.saes import StepInput, StepOutput, create_sae, load_sae, seeded_generator
from pyworker.train import SAETrainer
from pyworker.train.activation_scaler import Whitening

LOSS_RTOL, RATE_RTOL, OUTPUT_ATOL, WEIGHT_ATOL = 1e-5, 1e-9, 2e-5, 1e-6


class RecordedBatches:
    """The recorded batches in order: the estimation batches first, where they were recorded."""

    def __init__(self, batches: list[Tensor]):
        self._batches = iter(batches)

    def __iter__(self) -> "RecordedBatches":
        return self

    def __next__(self) -> Tensor:
        return next(self._batches)

    def peek_rows(self) -> Tensor:
        raise NotImplementedError("no recorded case initialises b_dec from data")


class NoCallbacks:
    """Nobody listens, nobody asks."""

    def on_stage(self, *_: Any) -> None: ...

    def on_metrics(self, *_: Any) -> None: ...

    def on_sparsity(self, *_: Any) -> None: ...

    def evaluate(self, _: int) -> None: ...

    def should_stop(self) -> bool:
        return False

    def take_checkpoint_request(self) -> bool:
        return False

    def on_checkpoint(self, *_: Any) -> None: ...


@dataclass
class Comparison:
    """What was compared and what differs."""

    n_values: int = 0
    differences: list[str] = field(default_factory=list)

    def tensors(self, name: str, ours: Tensor, theirs: Tensor, atol: float) -> None:
        """Same shape and every element within ``atol``."""
        self.n_values += 1
        if ours.shape != theirs.shape:
            self.differences.append(f"{name}: shape {tuple(ours.shape)} for {tuple(theirs.shape)}")
            return
        ours, theirs = ours.double(), theirs.double()
        worst = (ours - theirs).nan_to_num(nan=torch.inf).where(ours != theirs, 0.0).abs().max().item()
        if worst > atol:
            self.differences.append(f"{name}: {worst:.3g} > {atol:.3g}")

    def numbers(self, name: str, ours: float, theirs: float, rtol: float, atol: float = 1e-12) -> None:
        """Equal within a relative tolerance."""
        self.n_values += 1
        if abs(ours - theirs) > rtol * abs(theirs) + atol:
            self.differences.append(f"{name}: {ours!r} for {theirs!r}")


class Replay:
    """One case: the trainer with the recorded inputs, and eyes on what it does."""

    def __init__(self, line: dict[str, Any]):
        folder, self.case, self.kind = Path(line["folder"]), line["case"], line["kind"]
        self.record = json.loads((folder / "index.json").read_text())[self.case]
        self.tensors = load_file(folder / f"{self.case}.safetensors")
        self.config = msgspec.convert(line["config"], LanguageModelSAERunnerConfig)
        self.n_steps = len(self.record["steps"])
        self.compared = Comparison()
        self.ghost = bool(getattr(self.config.sae, "use_ghost_grads", False))

    def run(self) -> Comparison:
        """Train, compare each step, then what is left at the end."""
        sae = create_sae(self.config.sae, seeded_generator(self.config.seed))
        batches = self._numbered("estimate_batch") + self._numbered("batch")
        self.config.n_batches_for_norm_estimate = max(len(self._numbered("estimate_batch")), 1)
        self.trainer = SAETrainer(sae, self.config, RecordedBatches(batches), NoCallbacks())
        sae.load_state_dict(self._group("init"))
        self._inject_statistics()
        self._watch()
        self.trainer.prepare()
        factor = self.record.get("scaling_factor")
        if factor is not None and self.trainer.scaler.factor is not None:
            self.compared.numbers("scaling_factor", self.trainer.scaler.factor, factor, 1e-6)
        if self.record.get("error") is None:
            self._finish()
        else:
            for batch_BD in self._numbered("batch")[: self.n_steps]:
                self.trainer.train_step(batch_BD)
                self._after_step()
        return self.compared

    # -- inputs ----------------------------------------------------------------------------------------------

    def _group(self, prefix: str) -> dict[str, Tensor]:
        start = f"{prefix}."
        return {name.removeprefix(start): t for name, t in self.tensors.items() if name.startswith(start)}

    def _numbered(self, prefix: str) -> list[Tensor]:
        group = self._group(prefix)
        return [group[str(i)] for i in range(len(group))]

    def _inject_statistics(self) -> None:
        """v6 recorded the statistics and not the batches they came from."""
        if self.kind != "v6":
            return
        self.trainer.scaler.factor = self.record["scaling_factor"]
        statistics = self._group("whitening")
        if statistics:
            self.trainer.scaler.whitening = Whitening(
                statistics["mean"], statistics["matrix"], statistics["inverse"]
            )

    def _watch(self) -> None:
        """Look into every step of the trainer, and give it the recorded noise."""
        trainer, sae = self.trainer, self.trainer.sae
        forward = trainer.training_forward
        self.noise = iter(self._numbered("noise"))
        if self._group("noise"):
            sae.draw_noise = lambda z_BF: next(self.noise)  # type: ignore[method-assign]

        def watched(step: StepInput) -> StepOutput:
            output = forward(step)
            self._compare_forward(step, output)
            return output

        trainer.training_forward = watched
        for name, parameter in sae.named_parameters():
            parameter.register_post_accumulate_grad_hook(lambda p, name=name: self._compare_grad(name, p))
        trainer.optimizer.register_step_post_hook(lambda *_: self._compare_after())

    # -- comparisons -----------------------------------------------------------------------------------------

    @property
    def step(self) -> int:
        return self.trainer.n_training_steps

    def _recorded(self, name: str) -> Tensor | None:
        return self.tensors.get(name)

    def _compare_forward(self, step: StepInput, output: StepOutput) -> None:
        i, c, recorded = self.step, self.compared, self.record["steps"][self.step]
        c.numbers(f"loss.{i}", output.loss.item(), recorded["loss"], LOSS_RTOL)
        c.numbers(f"number of losses.{i}", len(output.losses), len(recorded["losses"]), 0)
        for name, value in recorded["losses"].items():
            ours = output.losses[name].item() if name in output.losses else float("inf")
            c.numbers(f"{name}.{i}", ours, value, LOSS_RTOL, atol=1e-7)
        c.numbers(f"lr.{i}", self.trainer.schedule.at(i), recorded["lr"], RATE_RTOL)
        ours = step.coefficients
        theirs = recorded.get("coefficients")
        if theirs is None:
            theirs = {name: recorded["coefficient"] for name in ours}
        c.numbers(f"number of coefficients.{i}", len(ours), len(theirs), 0)
        for name, value in theirs.items():
            c.numbers(f"coefficient {name}.{i}", ours.get(name, float("inf")), value, RATE_RTOL)
        c.numbers(f"n_dead.{i}", step.dead_F.sum().item(), recorded["n_dead_before"], 0)
        seen = {
            "sae_out": output.reconstruction_BD,
            "feature_acts": output.code.dense(),
            "hidden_pre": output.hidden_pre_BF,
            "dead_mask": step.dead_F,
            "batch_scaled": step.x_BD,
        }
        for name, tensor in seen.items():
            theirs_i = self._recorded(f"{name}.{i}")
            if theirs_i is not None:
                c.tensors(f"{name}.{i}", tensor.detach(), theirs_i, OUTPUT_ATOL)

    def _compare_grad(self, name: str, parameter: Tensor) -> None:
        theirs = self._recorded(f"grad.{self.step}.{name}")
        if theirs is not None and parameter.grad is not None:
            rtol = 2e-4 if self.ghost else 1e-4
            atol = rtol * theirs.abs().max().item() + 1e-7
            self.compared.tensors(f"grad.{self.step}.{name}", parameter.grad, theirs, atol)

    def _compare_after(self) -> None:
        self._compare_weights(f"after.{self.step}")
        if self.step == self.n_steps - 1:
            self._compare_weights("final")

    def _compare_weights(self, prefix: str) -> None:
        dense_batch = self.config.sae.mse_loss_normalization == "dense_batch"
        atol = (5e-5 if dense_batch else 1e-5) if self.ghost else WEIGHT_ATOL
        weights = self.trainer.sae.state_dict()
        for name, theirs in self._group(prefix).items():
            ours = weights.get(name, torch.empty(0))
            self.compared.tensors(f"{prefix}.{name}", ours, theirs, atol + 1e-6 * theirs.abs().max().item())

    def _after_step(self) -> None:
        self.trainer.n_training_steps += 1
        self.trainer.finetuning.begin_if_due(self.trainer.sae, self.trainer.n_training_samples)

    def _finish(self) -> None:
        """The end of training: folded weights, the saved files, inference and sparsity."""
        self.trainer.fit()
        self.compared.numbers("steps", self.step, self.n_steps, 0)
        self._compare_weights("folded")
        with TemporaryDirectory() as place:
            self.trainer.write_sae_files(Path(place))
            sae, _, log_sparsity_F = load_sae(Path(place))
        assert log_sparsity_F is not None
        theirs = self.record.get("sparsity")
        theirs_F = self._recorded("saved_log_sparsity") if theirs is None else torch.tensor(theirs)
        if theirs_F is not None:
            self.compared.tensors("log sparsity", log_sparsity_F, theirs_F, 1e-5)
        raw = self._recorded("inference_in")
        if raw is None or self._saved_wrongly():
            return
        scale = self._recorded("inference_out").abs().max().item()  # type: ignore[union-attr]
        acts = sae.encode(raw)
        acts_theirs = self._recorded("inference_acts")
        if acts_theirs is not None:
            self.compared.tensors("inference_acts", acts, acts_theirs, OUTPUT_ATOL + 2e-5 * scale)
        out_theirs = self._recorded("inference_out")
        assert out_theirs is not None
        self.compared.tensors("inference_out", sae(raw), out_theirs, OUTPUT_ATOL + 2e-5 * scale)

    def _saved_wrongly(self) -> bool:
        """v5 made decoder rows unit while saving and left the encoder alone (trap 2): ours is compared
        with what was trained instead."""
        if self.kind == "v6" or not self.config.sae.normalize_sae_decoder:
            return False
        sae, raw = self.trainer.sae.eval(), self._recorded("inference_in")
        assert raw is not None
        with TemporaryDirectory() as place, torch.no_grad():
            self.trainer.write_sae_files(Path(place))
            self.compared.tensors(
                "saved against trained", load_sae(Path(place))[0](raw), sae(raw), OUTPUT_ATOL
            )
        return True


def main() -> int:
    """Replay every case; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--resolved", type=Path, help="read the cases from this file instead of standard input"
    )
    parser.add_argument(
        "--allow-missing", action="store_true", help="cases of architectures not built yet may fail"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    text = arguments.resolved.read_text() if arguments.resolved else sys.stdin.read()
    lines = [json.loads(line) for line in text.splitlines() if line]
    failed = 0
    for line in lines:
        name = f"{line['kind']}/{line['case']}"
        if "missing" in line:
            print(f"MISSING {name}: architecture {line['missing']} is not built yet")
            failed += not arguments.allow_missing
            continue
        try:
            compared = Replay(line).run() if "config" in line else Comparison(0, [line["error"]])
        except Exception as error:
            compared = Comparison(0, [f"{type(error).__name__}: {error}"])
        left_out = (
            f" (left out, has no effect: {', '.join(line['left_out'])})" if line.get("left_out") else ""
        )
        if compared.differences:
            print(f"FAIL    {name}{left_out}: {'; '.join(compared.differences[:4])}")
        else:
            print(f"ok      {name}{left_out}: {compared.n_values} values")
        failed += bool(compared.differences)
    print(f"{len(lines) - failed} of {len(lines)} cases passed")
    return 1 if failed or not lines else 0


if __name__ == "__main__":
    sys.exit(main())
