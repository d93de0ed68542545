"""Measuring a model on tasks: text metrics, spans, and the driver that writes per-item rows."""
