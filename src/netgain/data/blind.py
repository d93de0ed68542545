"""A row without its input: the control that says what a question's form and its answers' frequencies are worth."""

import re
from dataclasses import replace

from netgain.data.source import Example, Turn

CUE = re.compile(r"^[^:\n]*:")


def without_input(row: Example) -> Example:
    """The row with the cue of each line ("Review:") and nothing behind it; id, group and answer stay."""
    turns = tuple(Turn(turn.role, _cues(turn.text) if turn.role == "user" else turn.text) for turn in row.turns)
    return replace(row, turns=turns, meta={**row.meta, "blind": "yes"})


def is_blind(row: Example) -> bool:
    """Whether the row lost its input."""
    return "blind" in row.meta


def _cues(text: str) -> str:
    found = [match.group() for line in text.split("\n") if (match := CUE.match(line))]
    return "\n".join(found)
