"""Figures and the self-contained page of a run, a function of the run's folder alone."""

from semalign.report.page import write_report
from semalign.report.picture import picture

__all__ = ["picture", "write_report"]
