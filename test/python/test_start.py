"""What a worker imports before it does anything: reading texts must not wait for torch."""

import subprocess
import sys

PROGRAM = """
import sys
import pyworker.runners.datasets
import pyworker.runners.pretokenize
from pyworker.data.datasets import open_source
assert list(open_source(sys.argv[1]).batches()) == [["one"]]
print("torch" in sys.modules)
"""


def test_pretokenize_and_datasets_start_without_torch(tmp_path):
    # A tokenizer of transformers 5, and a stream of datasets, import torch by themselves.
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"text": "one"}\n')
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(texts)], check=True, capture_output=True, text=True
    )
    assert ended.stdout == "False\n"
