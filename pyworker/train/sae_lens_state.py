"""What a training checkpoint of SAELens holds, as the state of a trainer of ours (reference §4.2).

It is less than ours holds: neither the rows of the mixing buffer, nor random numbers, nor the place in the data but as
a count of texts that were read ahead. The run that goes on from it is not the run that it would have been.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from pyworker.errors import WorkerError
from pyworker.protocol.config import LanguageModelSAERunnerConfig
from pyworker.saes.readers.sae_lens import SCALER_FILE, WHITENING_FILE
from pyworker.saes.readers.stored import read_json, read_safetensors
from pyworker.saes.readers.torch_file import read_torch_state
from pyworker.saes.readers.weights import weight_problem
from pyworker.saes.saving import WEIGHTS_FILE
from pyworker.train.training_state import State, invalid_state, under

TRAINER_FILE = "trainer_state.pt"
PARAMETERS = {
    "standard": ("b_dec", "W_dec", "W_enc", "b_enc"),
    "gated": ("b_dec", "W_dec", "W_enc", "b_gate", "r_mag", "b_mag"),
    "jumprelu": ("b_dec", "W_dec", "W_enc", "b_enc", "threshold"),
    "topk": ("b_dec", "W_dec", "W_enc", "b_enc"),
    "batchtopk": ("b_dec", "W_dec", "W_enc", "b_enc"),
    "matryoshka_batchtopk": ("b_dec", "W_dec", "W_enc", "b_enc"),
}
"""In the order of SAELens 6's ``parameters()``: its optimizer knows them by number alone."""
PARTIAL = "partial"
"""Marks a state that a new trainer's has to complete."""


def read_sae_lens_state(
    folder: Path, saes: Mapping[str | None, LanguageModelSAERunnerConfig]
) -> State | None:
    """The state of a run with these SAEs, each in a folder of its name, the only one in ``folder`` itself.

    Returns:
        None for a folder that SAELens' trainer did not write.

    Raises:
        WorkerError: SAE_INVALID, when it is damaged, folded, or of another SAE; PICKLE_REFUSED, when it could run code.
    """
    folders = {name: folder if name is None else folder / name for name in saes}
    if not any((one / TRAINER_FILE).exists() for one in folders.values()):
        return None
    state: State = {PARTIAL: True}
    for name, config in saes.items():
        trainer = _trainer_state(folders[name], config)
        state.update(under("trainer" if name is None else f"trainer[{name}]", trainer))
        state.update({key: trainer[key] for key in ("n_training_steps", "n_training_samples")})
        place = _place_in_data(config, trainer["n_training_steps"], trainer["n_training_samples"])
        state.update(under("stream", place))
    return state


def _place_in_data(config: LanguageModelSAERunnerConfig, n_steps: int, n_samples: int) -> State:
    """The first chunk that cannot have been trained on, were no row left in the buffer; which is empty here."""
    n_positions = len(range(config.context_size)[slice(*config.seqpos_slice)])
    n_chunks = n_samples // (config.store_batch_size_prompts * n_positions)
    buffer = {"n_refills": 0, "batches_ready": 0, "has_new": False, "capacity": 0}
    position = {"n_chunks": n_chunks, "n_rows": n_samples, "n_not_finite": 0}
    return {"n_batches": n_steps, **position, **under("buffer", buffer)}


def _trainer_state(folder: Path, config: LanguageModelSAERunnerConfig) -> State:
    architecture = type(config.sae).__struct_config__.tag
    saved = read_torch_state(folder / TRAINER_FILE)
    weights = read_safetensors(folder / WEIGHTS_FILE)
    problem = weight_problem(weights)
    if problem is not None:
        raise invalid_state(folder, problem)
    try:
        names = PARAMETERS[str(architecture)]
        return {
            # Its own count of steps is one behind in the middle of a run; that of its schedule is right.
            "n_training_steps": _count(saved["lr_scheduler"]["last_epoch"]),
            "n_training_samples": _count(saved["n_training_samples"]),
            **under("sae.weights", weights),
            **under("optimizer", _moments(saved["optimizer"], names, weights)),
            "firing.steps_since_fired_F": _latents(saved["n_forward_passes_since_fired"], weights),
            "firing.firings_F": _latents(saved["act_freq_scores"], weights),
            "firing.n_samples": _count(saved["n_frac_active_samples"]),
            **under("scaler", _scaling(folder, config.sae.normalize_activations)),
        }
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise invalid_state(folder, f"{TRAINER_FILE} is not as SAELens 6 writes it ({error!r})") from error


def _moments(optimizer: dict[str, Any], names: Sequence[str], weights: dict[str, Tensor]) -> State:
    """Adam's moments by name; each has the shape of its parameter."""
    if len(optimizer["param_groups"][0]["params"]) != len(names):
        raise KeyError(f"{len(names)} parameters")
    moments: State = {}
    for number, one in optimizer["state"].items():
        name = names[number]
        for key in ("exp_avg", "exp_avg_sq"):
            if one[key].shape != weights[name].shape or not one[key].isfinite().all():
                raise TypeError(f"{key} of {name} is {list(one[key].shape)}, or not finite")
        moments |= {f"{name}.{key}": one[key] for key in ("step", "exp_avg", "exp_avg_sq")}
    return moments


def _latents(counts_F: Tensor, weights: dict[str, Tensor]) -> Tensor:
    if counts_F.shape != weights["W_dec"].shape[:1] or not counts_F.isfinite().all():
        raise TypeError(f"counts of latents are {list(counts_F.shape)}, or not finite")
    return counts_F.long()


def _count(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise TypeError(f"{value!r} is no count")
    return value


def _scaling(folder: Path, normalize_activations: str) -> State:
    """What was estimated from data.

    Raises:
        WorkerError: SAE_INVALID, when it is folded into the weights, as SAELens does at the end of a run: the moments
            of Adam belong to those before.
    """
    factor = read_json(folder / SCALER_FILE)["scaling_factor"]
    whitened = (folder / WHITENING_FILE).exists()
    found = "covariance_whitening" if whitened else "none" if factor is None else "expected_average_only_in"
    estimated = normalize_activations in ("expected_average_only_in", "covariance_whitening")
    if (normalize_activations if estimated else "none") != found:
        raise WorkerError(
            "SAE_INVALID",
            f"Cannot go on from {str(folder)!r}: normalize_activations is {normalize_activations}, the scaling there "
            f"is {found}; the last checkpoint of a run of SAELens has it folded into the weights",
            hint="Go on from an earlier one; --from_pretrained_path begins with the weights of this one.",
        )
    if not whitened:
        return {"factor": factor if factor is None else float(factor)}
    kept = read_safetensors(folder / WHITENING_FILE)
    fields = {"mean_D": "mean", "matrix_DD": "matrix", "inverse_DD": "inverse_matrix"}
    return {"factor": None, **{ours: kept[theirs].double() for ours, theirs in fields.items()}}
