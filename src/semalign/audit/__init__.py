from semalign.audit.kinds import KINDS, Kind
from semalign.audit.result import Audit, Finding, read_audit, write_audit

__all__ = ["KINDS", "Audit", "Finding", "Kind", "read_audit", "write_audit"]
