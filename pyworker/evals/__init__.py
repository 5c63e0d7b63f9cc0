"""How good an SAE is: in the language model, and on its own."""

from pyworker.evals.run import Evaluation, Subject, evaluate_rows, run_evals

__all__ = ["Evaluation", "Subject", "evaluate_rows", "run_evals"]
