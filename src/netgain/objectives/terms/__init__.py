"""Terms of an objective: pure functions of scored tokens. One file a term, named after its `kind`."""
