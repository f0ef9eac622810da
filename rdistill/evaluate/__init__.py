"""Measuring base, sft, dpo and teacher on the same held-out problems."""

from rdistill.evaluate.models import evaluate_models

__all__ = ["evaluate_models"]
