"""Adam, and the clipping of its gradients."""

from typing import Any

from torch import Tensor, nn
from torch.optim import Adam
from typing_extensions import override

from pyworker.protocol.config import LanguageModelSAERunnerConfig


class AdamAsStored(Adam):
    """Adam that sees each matrix the way it lies in memory. torch's fused kernel copies one that is stored transposed,
    as an encoder is by latent: 71 ms a step where 15 do (1024 × 16384, one thread). The numbers are the same.
    """

    @override
    def _init_group(self, group: dict[str, Any], *lists: list[Tensor]) -> bool:
        has_complex = super()._init_group(group, *lists)
        for tensors in lists[:4]:  # weights, gradients, both moments
            tensors[:] = [t.t() if t.ndim == 2 and t.t().is_contiguous() else t for t in tensors]
        return has_complex


def make_optimizer(parameters: list[nn.Parameter], config: LanguageModelSAERunnerConfig) -> Adam:
    """Adam without weight decay; fused: one pass over each parameter instead of a dozen."""
    betas = (config.adam_beta1, config.adam_beta2)
    return AdamAsStored(parameters, lr=config.lr, betas=betas, eps=config.adam_epsilon, fused=True)


def clip_gradients(parameters: list[nn.Parameter], max_norm: float | None) -> Tensor:
    """Scale all gradients so that their common norm is at most ``max_norm``; the norm before is returned."""
    grads = [p.grad for p in parameters if p.grad is not None]
    if max_norm is None:
        return nn.utils.get_total_norm(grads)
    return nn.utils.clip_grad_norm_(parameters, max_norm)


def set_learning_rate(optimizer: Adam, lr: float) -> None:
    """The rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = lr
