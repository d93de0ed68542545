"""What counts as the same text: a word with its tag is one word, generated rows are named, and repeats are left out."""

import pytest

from netgain.data.embedded import SUITES, rows
from netgain.data.overlap import overlap, unshared
from netgain.data.source import Example, Turn

SENTENCE = "Ann met Bob in Rome and told him that the old bridge over the river was closed"
NAMES: list[str] = SENTENCE.split()


def tagged(name: str, words: list[str]) -> Example:
    answer = " ".join(f"{word}/{'B-PER' if word[0].isupper() else 'O'}" for word in words)
    return Example(name, name, (Turn("user", f"Sentence: {' '.join(words)}\nEntities:"),), answer)


@pytest.mark.parametrize("suite", SUITES)
def test_generated_rows_of_two_seeds_share_nothing_that_counts(suite: str) -> None:
    [pair] = overlap(train=rows(suite, 300, 1), test=rows(suite, 100, 0)).pairs
    assert (pair.ids, pair.groups, pair.texts, pair.ngrams) == (0, 0, 0, 0)


def test_thirteen_words_of_a_tagged_sentence_are_thirteen_words() -> None:
    """With word and tag counted apart, seven words in common would be a run of thirteen."""
    seven, thirteen = ["Zoe", "saw", *NAMES[:7]], ["Zoe", "saw", *NAMES[:13]]
    [few] = overlap(train=[tagged("a", [*NAMES[:7], "yesterday"])], test=[tagged("b", seven)]).pairs
    [many] = overlap(train=[tagged("a", NAMES)], test=[tagged("b", thirteen)]).pairs
    assert (few.ngrams, many.ngrams) == (0, 1)


def test_rows_that_repeat_a_measured_text_or_a_run_of_it_are_left_out() -> None:
    measured = [tagged("m1", ["Thank", "you", "."]), tagged("m2", NAMES)]
    kept = tagged("t3", ["Thank", "him"])
    train = [tagged("t1", ["Thank", "you", "!"]), tagged("t2", ["So", *NAMES[1:]]), kept]
    found = unshared(train, measured)
    assert found == [kept]
    [pair] = overlap(train=found, test=measured).pairs
    assert (pair.texts, pair.ngrams) == (0, 0)


def test_a_question_that_shows_nothing_repeats_no_row() -> None:
    """A blind control asks every row alike: that is the task's wording, not a leak."""
    blind = [Example(f"a{i}", f"g{i}", (Turn("user", "Sentiment:"),), ("good", "bad")[i % 2]) for i in range(40)]
    other = [Example(f"b{i}", f"h{i}", each.turns, each.answer) for i, each in enumerate(blind)]
    assert unshared(blind, other) == blind
    assert overlap(train=blind, test=other).pairs[0].texts == 0
