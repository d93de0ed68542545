"""What people read: tables and verdicts, regenerated from the ledger alone."""
