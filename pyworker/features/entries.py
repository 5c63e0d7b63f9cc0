"""The active latents of a batch of whole sequences, by index.

Legend: P sequences, C context, T = P·C tokens, N entries, F latents that are looked at, W tokens of a window.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pyworker.kernels.row_blocks import row_blocks
from pyworker.saes.base import SAE


@dataclass(frozen=True)
class Entries:
    """One entry for each token and latent that is active on it, in the order of latents, then of tokens.

    Attributes:
        latent_N, token_N: int64; tokens are numbered through the batch, sequence after sequence.
        value_N: float32, above zero.
        context: C.
        n_tokens: T.
    """

    latent_N: Tensor
    token_N: Tensor
    value_N: Tensor
    context: int
    n_tokens: int

    @cached_property
    def key_N(self) -> Tensor:
        """Latent and token as one number, rising."""
        return self.latent_N * self.n_tokens + self.token_N

    def only(self, number_of_F: Tensor) -> "Entries":
        """The entries of some latents, numbered anew.

        Args:
            number_of_F: for each latent its new number, rising, or -1.
        """
        number_N = number_of_F[self.latent_N]
        kept_M = (number_N >= 0).nonzero().squeeze(-1)
        return Entries(
            number_N[kept_M], self.token_N[kept_M], self.value_N[kept_M], self.context, self.n_tokens
        )

    def values_at(self, latent_Q: Tensor, token_QW: Tensor) -> Tensor:
        """The values of latents at tokens, 0 where they are not active: ``[Q, W]``."""
        if len(self.key_N) == 0:
            return torch.zeros(token_QW.shape, device=token_QW.device)
        key_QW = latent_Q[:, None] * self.n_tokens + token_QW
        place_QW = torch.searchsorted(self.key_N, key_QW).clamp(max=len(self.key_N) - 1)
        return torch.where(self.key_N[place_QW] == key_QW, self.value_N[place_QW], 0.0)

    def peaks(self) -> tuple[Tensor, Tensor]:
        """Of each latent and each sequence in which it is active, the first entry with the largest value.

        Returns:
            the numbers of these entries, in the order of latents, then of sequences; and the latent of each.
        """
        group_N = torch.div(
            self.key_N, self.context, rounding_mode="floor"
        )  # a sequence does not cross latents
        _, number_N = torch.unique_consecutive(group_N, return_inverse=True)
        n_groups = int(number_N[-1]) + 1 if len(number_N) else 0
        largest_G = self.value_N.new_zeros(n_groups).scatter_reduce(0, number_N, self.value_N, "amax")
        at_M = (self.value_N == largest_G[number_N]).nonzero().squeeze(-1)
        first_G = torch.full((n_groups,), len(self.value_N), device=at_M.device)
        first_G = first_G.scatter_reduce(0, number_N[at_M], at_M, "amin")
        return first_G, self.latent_N[first_G]


@torch.no_grad()
def entries_of(sae: SAE, x_PCD: Tensor, counted_PC: Tensor) -> Entries:
    """Encode a batch, some rows at a time: no matrix of all tokens and latents is ever there.

    Args:
        sae: in evaluation mode, on whose device the entries are.
        x_PCD: activations.
        counted_PC: False for tokens that are left out.
    """
    rows_TD = x_PCD.flatten(0, 1).to(sae.W_dec.device)
    token, latent, value = [], [], []
    for rows in row_blocks(rows_TD, sae.cfg.d_sae, sae.W_dec.element_size()):
        prepared_BD, _ = sae.prepare(rows_TD[rows])
        code_BF = sae.encode_rows(prepared_BD)[0].dense()
        row_M, latent_M = (code_BF > 0).nonzero(as_tuple=True)
        token.append(row_M + rows.start)
        latent.append(latent_M)
        value.append(code_BF[row_M, latent_M].float())
    token_N, latent_N, value_N = torch.cat(token), torch.cat(latent), torch.cat(value)
    kept_M = counted_PC.flatten().to(token_N.device)[token_N].nonzero().squeeze(-1)
    token_M, latent_M = token_N[kept_M], latent_N[kept_M]
    order_M = torch.argsort(latent_M * len(rows_TD) + token_M)
    return Entries(
        latent_M[order_M], token_M[order_M], value_N[kept_M][order_M], x_PCD.shape[1], len(rows_TD)
    )
