"""The memory of a collection does not grow with the tokens of a batch times the latents that are active on them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = """
import resource, sys
sys.path[:0] = ["test/python"]
import torch
from complete_config import config_for
from pyworker.features import Examples, collect
from pyworker.saes import create_sae, seeded_generator
from pyworker.saes.inference import to_inference

class Unscaled:
    def fold_into(self, sae):
        pass

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10

n_sequences, context, d_sae = map(int, sys.argv[1:])
config = config_for("standard", {}, d_in=8, d_sae=d_sae)
sae = to_inference(create_sae(config.sae, seeded_generator(0)), Unscaled()).eval()
sae.b_enc.data += 100  # every latent is active on every token
tokens = torch.ones(n_sequences, context, dtype=torch.int64)
x = torch.randn(n_sequences, context, 8)
examples = Examples(top=1, n_ranges=1, of_range=1, before=0, after=0)
begin = peak_mb()
found = collect(sae, lambda _: x, [tokens], [], torch.arange(d_sae), examples, 0)
assert found.n_entries == n_sequences * context * d_sae
print(peak_mb() - begin)
"""


def grown(*sizes: int) -> float:
    """MB by which the peak of a process grows with a batch of sequences × context × latents, all of them active."""
    command = [sys.executable, "-c", PROGRAM, *map(str, sizes)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


@pytest.mark.parametrize("sizes", [(64, 32, 2048), (1, 2048, 2048)])
def test_a_dense_sae_takes_no_more_for_four_million_entries_than_a_part_may_have(sizes):
    """Sequences that are read one after the other, and one whose latents are; all at once it was 1 GB."""
    assert grown(*sizes) < 400
