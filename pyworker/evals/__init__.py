"""How good an SAE is: in the language model, and on its own."""

from pyworker.evals.run import Evaluation, evaluate, evaluate_rows, evaluate_together, run_evals

__all__ = ["Evaluation", "evaluate", "evaluate_rows", "evaluate_together", "run_evals"]
