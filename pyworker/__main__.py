"""Entry of the worker. Started by src/worker/process.ts as a script in isolated mode (``python -I -u``), or by
``python -m pyworker``; isolated mode puts neither the current folder nor ours on the path, so the script does."""

import sys
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pyworker.serve import serve

# operation → "module:function", imported when first asked for
OPERATIONS: dict[str, str] = {
    "train": "pyworker.runners.training:train",
    "cache_activations": "pyworker.runners.cache_activations:cache_activations",
    "repair_activation_cache": "pyworker.runners.repair_activation_cache:repair_activation_cache",
    "evaluate": "pyworker.runners.evals:evaluate",
    "features": "pyworker.runners.features:features",
    "list_hooks": "pyworker.runners.models:list_hooks",
    "load_sae": "pyworker.runners.saes:load",
    "unload_sae": "pyworker.runners.saes:unload",
    "encode": "pyworker.runners.saes:encode",
    "decode": "pyworker.runners.saes:decode",
    "read_prompt": "pyworker.runners.prompt:read_prompt",
    "export_sae": "pyworker.runners.saes:export",
    "pretokenize": "pyworker.runners.pretokenize:pretokenize",
    "pretokenize_parquet": "pyworker.runners.pretokenize:pretokenize_parquet",
    "peek_dataset": "pyworker.runners.datasets:peek",
}

if __name__ == "__main__":
    serve(OPERATIONS)
