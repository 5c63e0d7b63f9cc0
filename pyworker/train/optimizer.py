"""Adam, and the clipping of its gradients."""

from torch import Tensor, nn
from torch.optim import Adam

from pyworker.protocol.config import LanguageModelSAERunnerConfig


def make_optimizer(parameters: list[nn.Parameter], config: LanguageModelSAERunnerConfig) -> Adam:
    """Adam without weight decay; fused: one pass over each parameter instead of a dozen."""
    betas = (config.adam_beta1, config.adam_beta2)
    return Adam(parameters, lr=config.lr, betas=betas, eps=config.adam_epsilon, fused=True)


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
