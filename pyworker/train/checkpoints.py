"""When a checkpoint is due, and what is written about the SAE."""

import math
import time
from collections.abc import Callable
from typing import Any

import msgspec

import pyworker
from pyworker.protocol.config import LanguageModelSAERunnerConfig
from pyworker.protocol.sae_config import AnyTrainingSAEConfig

NOT_DETAILS = {
    "kernels",
    "two_stage_selection",
    "vocabulary",
    "d_in",
    "d_sae",
    "dtype",
    "device",
    "apply_b_dec_to_input",
    "reshape_activations",
}
"""What ``cfg.json`` has at its top, or what says nothing about how the SAE was trained."""


SECRETS = {"token", "use_auth_token"}
"""Arguments that are nobody's business. The configuration refuses them; a file that is published holds none at all."""


def thresholds(config: LanguageModelSAERunnerConfig, total_samples: int) -> list[int]:
    """The numbers of samples after which a checkpoint is due: evenly spaced, the end not included.

    v6 divides the run in ``n + 1`` parts, v5 in ``n``; src/plan/checkpoints.ts plans by the same rule.
    """
    n = config.n_checkpoints
    if n < 1:
        return []
    distance = total_samples // n if config.sae.vocabulary == "v5" else math.ceil(total_samples / (n + 1))
    return list(range(distance, total_samples, distance)) if distance > 0 else []


class Recurring:
    """``checkpoint_every``: whether it is time for another one, by tokens or by the clock.

    Args:
        every: a number of tokens, minutes as in ``"10min"``, or None for never.
        n_samples: trained on before.
        now: a clock in seconds that never goes back.
    """

    def __init__(self, every: int | str | None, n_samples: int, now: Callable[[], float] = time.monotonic):
        self._now = now
        self._tokens = every if isinstance(every, int) else None
        self._seconds = float(every.removesuffix("min")) * 60 if isinstance(every, str) else None
        self.written(n_samples)

    def is_due(self, n_samples: int) -> bool:
        """Asked after every step. By tokens at multiples of their number, so that a resumed run has the same ones."""
        if self._tokens is not None:
            return n_samples // self._tokens > self._last_samples // self._tokens
        return self._seconds is not None and self._now() - self._last_seconds >= self._seconds

    def written(self, n_samples: int) -> None:
        """There is a checkpoint of now, whoever asked for it."""
        self._last_samples, self._last_seconds = n_samples, self._now()


def metadata(config: LanguageModelSAERunnerConfig, sae: AnyTrainingSAEConfig) -> dict[str, Any]:
    """Where the SAE comes from: SAELens' keys (reference §4.1), and our version."""
    return {
        "sae_lens_ts_version": pyworker.__version__,
        "training_architecture": type(sae).__struct_config__.tag,
        "training_architecture_details": {
            key: value for key, value in msgspec.structs.asdict(sae).items() if key not in NOT_DETAILS
        },
        "dataset_path": config.dataset_path,
        "hook_name": config.hook_name,
        "model_name": config.model_name,
        "model_class_name": config.model_class_name,
        "hook_head_index": config.hook_head_index,
        "context_size": config.context_size,
        "seqpos_slice": config.seqpos_slice,
        "model_from_pretrained_kwargs": {
            key: value for key, value in config.model_from_pretrained_kwargs.items() if key not in SECRETS
        },
        "prepend_bos": config.prepend_bos,
        "exclude_special_tokens": config.exclude_special_tokens,
        "sequence_separator_token": config.sequence_separator_token,
        "disable_concat_sequences": config.disable_concat_sequences,
    }
