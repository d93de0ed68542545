"""What may be concluded: intervals, paired and crossed contrasts, selection, retention, power. numpy and scipy only."""
