"""What two sets of examples share: ids, groups, whole texts, and 13-word runs. Linear in the number of words.

Runs of words stand for the identity of texts that nobody can name. A generated row is named: its group is what it says,
and its wording is shared with thousands of others, so runs are not counted between rows of the embedded suites.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

from netgain.data.blind import is_blind
from netgain.data.source import Example

N = 13
BOILERPLATE = 0.02
"""A text or a run of words found in more than this share of a set's rows (and in more than 5) is the task's own
wording."""

JOINTS = "/-_'\u2019"
"""Characters that join the parts of one word."""


@dataclass(frozen=True, slots=True)
class Pair:
    """How many rows of `right` share something with `left`; `example` is the id of one of them."""

    left: str
    right: str
    left_rows: int
    right_rows: int
    ids: int
    groups: int
    texts: int
    ngrams: int
    example: str | None


@dataclass(frozen=True, slots=True)
class Overlap:
    """Every pair of the sets that were compared."""

    pairs: tuple[Pair, ...]

    def to_json(self) -> list[dict[str, Any]]:
        """The pairs as they go into a run's data.json."""
        return [asdict(pair) for pair in self.pairs]


@dataclass(frozen=True, slots=True)
class _Prints:
    """The fingerprints of a set, row by row."""

    rows: Sequence[Example]
    texts: list[int]
    ngrams: list[set[int]]
    common: set[int]


@lru_cache(maxsize=1 << 17)
def _word(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")


def words(example: Example) -> list[int]:
    """The words of prompt and answer as 64-bit hashes, without case, punctuation and spacing.

    What is joined without a blank is one word: a word with its tag, Ann/B-PER, counts once in a run of 13. A blind row
    has its id alone, since it was made to be like all others.
    """
    if is_blind(example):
        return [_word(example.id)]
    text = " ".join([*(turn.text for turn in example.turns if turn.role != "system"), example.answer])
    kept = "".join(c if c.isalnum() else "" if c in JOINTS else " " for c in text.casefold())
    return [_word(word) for word in kept.split()]


def _prints(rows: Sequence[Example]) -> _Prints:
    texts: list[int] = []
    ngrams: list[set[int]] = []
    frequency: Counter[int] = Counter()
    for example in rows:
        hashed = words(example)
        texts.append(hash(tuple(hashed)))
        runs = 0 if "suite" in example.meta else len(hashed) - N + 1
        found = {hash(tuple(hashed[i : i + N])) for i in range(runs)}
        ngrams.append(found)
        frequency.update(found)
    frequency.update(texts)
    limit = max(5.0, BOILERPLATE * len(rows))
    return _Prints(rows, texts, ngrams, {each for each, count in frequency.items() if count > limit})


def overlap(**named: Sequence[Example]) -> Overlap:
    """The overlap of every pair of named sets, counted in rows of the second."""
    prints = {name: _prints(rows) for name, rows in named.items()}
    return Overlap(tuple(_pair(a, b, prints[a], prints[b]) for a, b in combinations(named, 2)))


def unshared(rows: Sequence[Example], others: Sequence[Example]) -> list[Example]:
    """The rows that share neither their whole text nor a run of words with any of the others."""
    ours, theirs = _prints(rows), _prints(others)
    common = ours.common | theirs.common
    texts = set(theirs.texts) - common
    grams = set().union(*theirs.ngrams) - common if theirs.ngrams else set()
    found = zip(rows, ours.texts, ours.ngrams, strict=True)
    return [row for row, text, runs in found if text not in texts and grams.isdisjoint(runs)]


def _pair(left: str, right: str, a: _Prints, b: _Prints) -> Pair:
    ids, groups = {row.id for row in a.rows}, {row.group for row in a.rows}
    common = a.common | b.common
    texts = set(a.texts) - common
    grams = set().union(*a.ngrams) - common if a.ngrams else set()
    counts = Counter[str]()
    example: str | None = None
    for row, text, found in zip(b.rows, b.texts, b.ngrams, strict=True):
        shared = {
            "ids": row.id in ids,
            "groups": row.group in groups,
            "texts": text in texts,
            "ngrams": not grams.isdisjoint(found),
        }
        counts.update(name for name, holds in shared.items() if holds)
        if example is None and any(shared.values()):
            example = row.id
    return Pair(
        left,
        right,
        len(a.rows),
        len(b.rows),
        ids=counts["ids"],
        groups=counts["groups"],
        texts=counts["texts"],
        ngrams=counts["ngrams"],
        example=example,
    )
