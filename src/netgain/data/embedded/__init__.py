"""The embedded suites: generated English with exact gold, for every study on a bare clone.

`rows(suite, n, seed)` is unlimited and the same on every machine, and its first rows do not depend on n. Seeds that
differ modulo 8 share no group (see draw.py), so train on one and measure on another, among 0, 1, 2 and 3: the embedded
models were pretrained on the rest. Seeds that are equal modulo 8 (0 and 8) draw from the same families and do collide.

Prompts are plain text that ends in a cue ("Review: ...\\nSentiment:"), answers a short word or line. A suite of kind
"text" has no turns: its answer is the document. `meta` holds "difficulty", "suite", "convention", "gold" (the label or
answer before the convention), and where they apply "words" (the words to tag), "tests" and "entry" (code), "references"
(replies), one a line.
"""

from functools import lru_cache

from netgain.data.embedded import classify, extract, generate, prose, tag
from netgain.data.embedded.draw import CELLS, PRETRAINING_CELLS, Draw
from netgain.data.embedded.suite import DIFFICULTIES, Convention, Draft, SuiteCard
from netgain.data.source import Example, Turn
from netgain.errors import UserError, did_you_mean

__all__ = ["CELLS", "DIFFICULTIES", "PRETRAINING_CELLS", "SUITES", "Convention", "SuiteCard", "rows"]

SUITES: dict[str, SuiteCard] = {
    card.name: card for family in (classify, tag, extract, generate, prose) for card in family.SUITES
}


def rows(suite: str, n: int, seed: int, convention: Convention | str | None = None) -> list[Example]:
    """Rows 0..n-1 of a suite under a seed, answered by a convention (the suite's first one when none is given)."""
    if suite not in SUITES:
        raise UserError(
            f'there is no embedded suite "{suite}".{did_you_mean(suite, tuple(SUITES))} Known: {", ".join(SUITES)}.'
        )
    card = SUITES[suite]
    if isinstance(convention, Convention):
        return [_row(card, seed, index, convention) for index in range(n)]
    return list(_drawn(suite, n, seed, _named(card, convention).name if convention else card.conventions[0].name))


@lru_cache(maxsize=32)
def _drawn(suite: str, n: int, seed: int, convention: str) -> tuple[Example, ...]:
    """Kept, since a study's tasks read the same few hundred rows once a run."""
    card = SUITES[suite]
    return tuple(_row(card, seed, index, _named(card, convention)) for index in range(n))


def _named(card: SuiteCard, name: str) -> Convention:
    known = {each.name: each for each in card.conventions}
    if name not in known:
        near = did_you_mean(name, tuple(known))
        raise UserError(f'suite {card.name} has no convention "{name}".{near} Known: {", ".join(known)}.')
    return known[name]


def _row(card: SuiteCard, seed: int, index: int, convention: Convention) -> Example:
    draw = Draw(card.name, seed, index)
    difficulty = draw.choice(DIFFICULTIES)
    draft = card.write(draw, difficulty)
    if isinstance(draft.gold, tuple):
        answer, gold = convention.tagged(draft.words, draft.gold), " ".join(draft.gold)
    else:
        answer, gold = convention.word(draft.gold), draft.gold
    return Example(
        id=f"{card.name}-{seed}-{index}",
        group=f"{card.name}:{'.'.join(map(str, draft.family))}",
        turns=(Turn("user", draft.prompt),) if draft.prompt else (),
        answer=answer,
        labels=tuple(convention.word(label) for label in card.labels),
        meta=_meta(card, difficulty, convention, draft, gold),
    )


def _meta(card: SuiteCard, difficulty: str, convention: Convention, draft: Draft, gold: str) -> dict[str, str]:
    meta = {"suite": card.name, "difficulty": difficulty, "convention": convention.name, **draft.notes}
    if card.kind != "text":
        meta["gold"] = gold
    if draft.words:
        meta["words"] = " ".join(draft.words)
    return meta
