"""netgain fine-tunes language models and says, with evidence, what was gained and what was forgotten."""

__version__ = "0.1.0"
