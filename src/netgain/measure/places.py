"""Options at many places of one answer, as token ids: the answer is read once, and options branch off from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from netgain.data.chat import Template
from netgain.tasks._base import Places


@dataclass(frozen=True, slots=True)
class Branches:
    """The prompt with the right answer; every option's ids, place by place, and how much of the text precedes each."""

    text: list[int]
    options: list[list[int]]
    places: list[int]


def branches(template: Template, request: Places) -> Branches:
    """Options of one place begin where their ids part, so that a joint with what precedes them is counted alike.

    Where one option's ids are the beginning of another's, the text up to the next place (the end, at the last place)
    belongs to all options of that place: a part is never less likely than the whole.
    """
    heads, text = [], ""
    for before, gold in zip(request.before, request.gold, strict=True):
        heads.append(text + before)
        text += before + gold
    tails = [*request.before[1:], ""]
    bare = [head + option for head in heads for option in request.options]
    long = [head + option + tail for head, tail in zip(heads, tails, strict=True) for option in request.options]
    whole, found = template.rivals(request.turns, text, [*bare, *long], demonstrations=request.demonstrations)
    options: list[list[int]] = []
    places: list[int] = []
    width = len(request.options)
    for i in range(len(heads)):
        asked = found[i * width : (i + 1) * width]
        if _nested(asked):
            asked = found[(len(heads) + i) * width : (len(heads) + i + 1) * width]
            asked = [ids + template.ending for ids in asked] if i + 1 == len(heads) else asked
        shared = sum(1 for _ in takewhile(lambda ids: len(set(ids)) == 1, zip(whole, *asked, strict=False)))
        options += [ids[shared:] for ids in asked]
        places += [shared] * width
    return Branches(whole, options, places)


def _nested(asked: Sequence[list[int]]) -> bool:
    """Whether the ids of one option are the beginning of another's."""
    return any(a is not b and b[: len(a)] == a for a in asked for b in asked)
