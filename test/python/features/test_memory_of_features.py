"""The memory of a collection grows neither with the latents that are active on a batch nor with the text."""

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

n_batches, n_warm, n_sequences, context, d_sae, l0 = map(int, sys.argv[1:])
architecture, options = ("standard", {}) if l0 == d_sae else ("topk", {"k": l0})
config = config_for(architecture, {}, d_in=8, d_sae=d_sae, **options)
sae = to_inference(create_sae(config.sae, seeded_generator(0)), Unscaled()).eval()
sae.b_enc.data += 100  # every latent is active on every token, but for k
tokens = torch.ones(n_sequences, context, dtype=torch.int64)
begin = None

def batches():
    global begin
    for number in range(n_batches):
        if number == n_warm:
            begin = peak_mb()
        yield tokens

examples = Examples(top=1, n_ranges=1, of_range=1, before=0, after=0)
x = lambda _: torch.randn(n_sequences, context, 8)
found = collect(sae, x, batches(), [], torch.arange(d_sae), examples, 0)
assert found.n_entries == n_batches * n_sequences * context * l0
print(peak_mb() - begin)
"""


def grown(*sizes: int) -> float:
    """MB by which the peak of a process grows from batch ``n_warm`` on."""
    command = [sys.executable, "-c", PROGRAM, *map(str, sizes)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


@pytest.mark.parametrize("shape", [(64, 32, 2048, 2048), (1, 2048, 2048, 2048)])
def test_a_dense_sae_takes_no_more_for_four_million_entries_than_a_part_may_have(shape):
    """Sequences that are read one after the other, and one whose latents are; all at once it was 820 MB."""
    assert grown(1, 0, *shape) < 400


def test_a_long_text_takes_no_more_than_a_short_one():
    """What is kept in small pieces among large ones that go tears the heap: that was 170 MB here, and grew."""
    assert grown(24, 4, 16, 256, 4096, 16) < 80
