"""The one training loop and its consumers: checkpoints, stopping, probes."""
