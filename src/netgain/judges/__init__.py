"""Judges: what gives a score to a written answer. One file a kind."""
