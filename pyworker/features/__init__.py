"""What the latents of an SAE do: statistics, examples and neighbours, from one pass over text.

Memory is bounded by latents × examples, whatever the length of the text: every part keeps for each latent what it
may still need and merges a batch into it.
"""

from pyworker.features.collector import Collected, Examples, collect
from pyworker.features.logits import LogitEffects, logit_effects
from pyworker.features.similarity import most_similar

__all__ = ["Collected", "Examples", "LogitEffects", "collect", "logit_effects", "most_similar"]
