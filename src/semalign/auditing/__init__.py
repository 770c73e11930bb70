"""How probably each annotation is wrong, of what kind, and where it should be; and what people decided about it."""

from semalign.auditing.accepting import Changes
from semalign.auditing.cleaning import Cleaned, clean
from semalign.auditing.decisions import Decision, Decisions, Entry, Standing
from semalign.auditing.judging import Judging
from semalign.auditing.kinds import KINDS, Kind
from semalign.auditing.result import Audit, Finding, read_audit, write_audit

__all__ = [
    "KINDS",
    "Audit",
    "Changes",
    "Cleaned",
    "Decision",
    "Decisions",
    "Entry",
    "Finding",
    "Judging",
    "Kind",
    "Standing",
    "clean",
    "read_audit",
    "write_audit",
]
