"""Prompts: where problems come from, which are near-duplicates, and on which side of the split they stand."""

from rdistill.prompts.pool import build_problems
from rdistill.prompts.student import student_messages

__all__ = ["build_problems", "student_messages"]
