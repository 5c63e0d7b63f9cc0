"""Adam as the worker uses it is torch's Adam."""

import torch
from torch import nn
from torch.optim import Adam

from pyworker.train.optimizer import AdamAsStored


def test_how_a_matrix_lies_in_memory_changes_no_bit():
    generator = torch.Generator().manual_seed(0)
    weights, grads = torch.randn(16, 32, generator=generator), torch.randn(5, 16, 32, generator=generator)
    results = []
    for kind, stored_by_column in ((Adam, False), (AdamAsStored, False), (AdamAsStored, True)):
        start = weights.t().contiguous().t() if stored_by_column else weights.clone()
        W, b = nn.Parameter(start), nn.Parameter(torch.ones(32))
        optimizer = kind([W, b], lr=0.1, fused=True)
        for grad in grads:
            W.grad = torch.empty_like(W).copy_(grad)
            b.grad = grad[0].clone()
            optimizer.step()
        assert W.is_contiguous() != stored_by_column
        results.append((W, b, *optimizer.state[W].values()))
    for other in results[1:]:
        assert all(torch.equal(ours, torchs) for ours, torchs in zip(other, results[0], strict=True))
