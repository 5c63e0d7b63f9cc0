"""Run by the Python of the judge environment: SAELens packs tokens and mixes rows as a JSON file asks.

``judge_data.py CASES RESULTS``: ``CASES`` holds ``{"packing": [{"documents", "options"}], "mixing": [{"sizes",
"options", "seed"}]}``; ``RESULTS`` gets the sequences, and for mixing the permutations drawn and the batches.
"""

import json
import sys
from pathlib import Path

import torch
from sae_lens.tokenization_and_batching import concat_and_batch_sequences
from sae_lens.training.mixing_buffer import mixing_buffer


def pack(case):
    documents = (torch.tensor(document, dtype=torch.long) for document in case["documents"])
    return [sequence.tolist() for sequence in concat_and_batch_sequences(documents, **case["options"])]


def mix(case):
    torch.manual_seed(case["seed"])
    drawn, draw = [], torch.randperm

    def recorded(n):
        drawn.append(draw(n))
        return drawn[-1]

    rows = iter(torch.arange(sum(case["sizes"])).float()[:, None].split(case["sizes"]))
    torch.randperm = recorded
    try:
        batches = [
            batch[:, 0].long().tolist() for batch in mixing_buffer(**case["options"], activations_loader=rows)
        ]
    finally:
        torch.randperm = draw
    return {"permutations": [order.tolist() for order in drawn], "batches": batches}


def main():
    cases = json.loads(Path(sys.argv[1]).read_text())
    results = {
        "packing": [pack(case) for case in cases["packing"]],
        "mixing": [mix(case) for case in cases["mixing"]],
    }
    Path(sys.argv[2]).write_text(json.dumps(results))


if __name__ == "__main__":
    main()
