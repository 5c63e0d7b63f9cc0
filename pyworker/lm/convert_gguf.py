"""One GGUF file to a plain Hugging Face folder: ``python -m pyworker.lm.convert_gguf FILE FOLDER``.

transformers takes some 20 s to unpack a GGUF file every time; the folder (float32, difference 0) opens at
once.
"""

import sys
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer

from pyworker.lm.gguf import cut_as_the_file_says


def convert(gguf: Path, folder: Path) -> None:
    """Write the model and the tokenizer that are inside ``gguf`` to ``folder`` (made when missing)."""
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # The weights are plain floats from here on: save_pretrained refuses what still claims to be quantised.
    del model.config.quantization_config
    model.is_quantized = False
    model.hf_quantizer = None
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    cut_as_the_file_says(tokenizer, gguf)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
