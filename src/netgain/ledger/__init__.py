"""The record: a folder a run, nothing but files is the truth."""
