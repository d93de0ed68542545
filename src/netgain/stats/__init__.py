"""What may be concluded: intervals, paired and crossed comparisons, selection, retention, power."""
