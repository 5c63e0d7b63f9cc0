"""Places for the best examples of each latent, into which those of a batch are merged.

Legend: F latents, S slots of a latent, C candidates, W tokens of a window, N what is merged.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Candidates:
    """Examples that want a place, in the order of the text for each latent.

    Attributes:
        latent_C, sequence_C, position_C: int64.
        value_C: activation at the peak.
        key_C: int64 or float32; smaller is better, and of equal ones the earlier.
        token_C: number of the token in its batch.
    """

    latent_C: Tensor
    sequence_C: Tensor
    position_C: Tensor
    value_C: Tensor
    key_C: Tensor
    token_C: Tensor

    def those(self, kept_M: Tensor) -> "Candidates":
        """Some of them."""
        return Candidates(*(getattr(self, name)[kept_M] for name in self.__dataclass_fields__))


class Slots:
    """The best examples of each latent: ``of_stratum`` in each of its strata, best first.

    Attributes:
        value_FS: activation at the peak, 0 where the slot is empty.
        sequence_FS, position_FS: int32.
        key_FS: what they were chosen by.
        window_FSW: the latent around the peak.
    """

    def __init__(
        self,
        n_latents: int,
        n_strata: int,
        of_stratum: int,
        window: int,
        key_dtype: torch.dtype,
        device: torch.device,
    ):
        self.n_strata, self.of_stratum = n_strata, of_stratum
        shape = (n_latents, n_strata * of_stratum)
        self.value_FS = torch.zeros(shape, device=device)
        self.sequence_FS = torch.zeros(shape, dtype=torch.int32, device=device)
        self.position_FS = torch.zeros(shape, dtype=torch.int32, device=device)
        self.worst = torch.inf if key_dtype.is_floating_point else torch.iinfo(key_dtype).max
        self.key_FS = torch.full(shape, self.worst, dtype=key_dtype, device=device)
        self.window_FSW = torch.zeros((*shape, window), device=device)

    def bound(self, latent_C: Tensor, stratum_C: Tensor) -> Tensor:
        """What a key has to be below to get a place, as the strata are filled now."""
        return self.key_FS[latent_C, (stratum_C + 1) * self.of_stratum - 1]

    def merge(
        self, new: Candidates, stratum_of: Callable[[Tensor, Tensor], Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Give the best of old and new their places.

        Args:
            new: what wants a place.
            stratum_of: the strata of latents with values, of what is new and of what has a place.

        Returns:
            latent, slot and number among the candidates of the new ones that got one: their windows are to be filled.
        """
        touched_U = torch.unique(new.latent_C)
        row_M, slot_M = (self.value_FS[touched_U] > 0).nonzero(as_tuple=True)
        old_latent_M = touched_U[row_M]
        latent_N = torch.cat([old_latent_M, new.latent_C])
        value_N = torch.cat([self.value_FS[old_latent_M, slot_M], new.value_C])
        stratum_N = stratum_of(latent_N, value_N)
        key_N = torch.cat([self.key_FS[old_latent_M, slot_M], new.key_C])
        # Stable: of equal keys what came first stays first.
        order_N = torch.argsort(key_N, stable=True)
        group_N = latent_N * self.n_strata + stratum_N
        order_N = order_N[torch.argsort(group_N[order_N], stable=True)]
        group_N = group_N[order_N]
        place_N = torch.arange(len(group_N), device=group_N.device)
        rank_N = place_N - torch.searchsorted(group_N, group_N)
        kept_K = (rank_N < self.of_stratum).nonzero().squeeze(-1)
        from_K, to_K = order_N[kept_K], (stratum_N[order_N] * self.of_stratum + rank_N)[kept_K]
        latent_K = latent_N[from_K]
        n_old = len(old_latent_M)
        is_old_K = from_K < n_old
        o, n = is_old_K.nonzero().squeeze(-1), (~is_old_K).nonzero().squeeze(-1)
        from_old, from_new = from_K[o], from_K[n] - n_old
        for name, added_C, empty in (
            ("value_FS", new.value_C, 0),
            ("sequence_FS", new.sequence_C, 0),
            ("position_FS", new.position_C, 0),
            ("key_FS", new.key_C, self.worst),
            ("window_FSW", None, 0),
        ):
            held_FS = getattr(self, name)
            kept = held_FS[old_latent_M[from_old], slot_M[from_old]]
            held_FS[touched_U] = empty
            held_FS[latent_K[o], to_K[o]] = kept
            if added_C is not None:
                held_FS[latent_K[n], to_K[n]] = added_C[from_new].to(held_FS.dtype)
        return latent_K[n], to_K[n], from_new
