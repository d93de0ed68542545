"""What is wrong with results: one class a rule, one file a family."""

from netgain.audit.engine import findings_for, run
from netgain.audit.finding import Finding, Severity
from netgain.audit.report import Report

__all__ = ["Finding", "Report", "Severity", "findings_for", "run"]
