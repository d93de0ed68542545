"""The report as one HTML file that opens from disk: every number bound to what it rests on, every chart inline."""
