"""How many words an answer shares with its reference: no judge of quality, but one that needs no model at all."""

from collections.abc import Sequence
from typing import Literal

from netgain.judges._base import Bench, Case, Judge, Rating
from netgain.measure.text import token_f1


class Overlap(Judge):
    """2PR / (P + R) over the bag of words of the answer and the reference to its question; missing without one."""

    kind: Literal["overlap"] = "overlap"

    def rate(self, cases: Sequence[Case], bench: Bench) -> list[list[Rating]]:
        return [[_rating(case)] for case in cases]


def _rating(case: Case) -> Rating:
    asked = sum(turn.role == "user" for turn in case.turns)
    if len(case.references) < asked or not case.references[asked - 1].strip():
        return Rating(None, "no_reference")
    return Rating(token_f1(case.answer, case.references[asked - 1]))
