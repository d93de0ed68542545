"""Tasks and benchmarks: rows out, per-item values in. One file a task, named after its `kind`."""
