"""The report of a run: one self-contained HTML page."""

from rdistill.report.page import build_report

__all__ = ["build_report"]
