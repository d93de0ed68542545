"""Rows in, Views out: sources, group-disjoint splits, mixtures, chat templates and masks."""
