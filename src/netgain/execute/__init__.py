"""How and where runs happen: locally, one process a run."""
