"""Who else scores the rows that are learned from: one file a kind."""
