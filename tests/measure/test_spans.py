"""Tagged output: no slip shifts the rest, and spans follow the rules of conlleval and seqeval."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgain.measure.spans import (
    Span,
    align,
    micro_f1,
    read_tagged,
    span_counts,
    spans,
    tags_right,
    write_tagged,
)

TAGS = ("DET", "NOUN", "VERB")
BIO = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
SENTENCE = st.lists(
    st.tuples(st.sampled_from(["that", "dog", "saw", "/"]), st.sampled_from(TAGS)), min_size=1, max_size=7
)
TAGGED = st.lists(st.tuples(st.sampled_from(["Ann", "in", "Rome"]), st.sampled_from(BIO)), min_size=1, max_size=7)


@given(SENTENCE)
def test_tagged_words_are_read_back(sentence: list[tuple[str, str]]) -> None:
    words, tags = [word for word, _ in sentence], [tag for _, tag in sentence]
    assert read_tagged(write_tagged(words, tags), TAGS) == sentence
    assert read_tagged(write_tagged(words, tags).swapcase().swapcase(), TAGS) == sentence


def test_what_is_no_known_tag_is_none() -> None:
    assert read_tagged("a/DET dog cat/XYZ and/or/noun", TAGS) == [
        ("a", "DET"),
        ("dog", None),
        ("cat", None),
        ("and/or", "NOUN"),
    ]


@given(SENTENCE, SENTENCE, st.data())
def test_one_slip_costs_at_most_one_tag(gold: list, output: list, data: st.DataObject) -> None:
    before = tags_right(gold, output)
    at = data.draw(st.integers(0, len(output) - 1))
    dropped = output[:at] + output[at + 1 :]
    untagged = [*output[:at], (output[at][0], None), *output[at + 1 :]]
    inserted = [*output[:at], ("uh", "VERB"), *output[at:]]
    for changed in (dropped, untagged, inserted):
        assert abs(tags_right(gold, changed) - before) <= 1


@given(SENTENCE)
def test_a_perfect_output_without_one_word_misses_one_tag(gold: list) -> None:
    for i in range(len(gold)):
        assert tags_right(gold, gold[:i] + gold[i + 1 :]) == len(gold) - 1


@given(st.lists(st.integers(0, 3), max_size=6), st.lists(st.integers(0, 3), max_size=6))
def test_alignment_is_the_best_one(left: list[int], right: list[int]) -> None:
    pairs = align(len(left), len(right), lambda i, j: int(left[i] == right[j]))
    assert all(a < c and b < d for (a, b), (c, d) in combinations(pairs, 2))
    assert all(left[i] == right[j] for i, j in pairs)
    subsequences = {
        tuple(left[i] for i in at) for n in range(len(left) + 1) for at in combinations(range(len(left)), n)
    }
    common = {s for s in subsequences if _is_subsequence(s, right)}
    assert len(pairs) == max(map(len, common))


def _is_subsequence(short: tuple[int, ...], whole: list[int]) -> bool:
    rest = iter(whole)
    return all(item in rest for item in short)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O O O", []),
        ("B-PER I-PER O", [Span(0, 2, "PER")]),
        ("B-PER B-PER", [Span(0, 1, "PER"), Span(1, 2, "PER")]),
        ("B-PER I-LOC", [Span(0, 1, "PER"), Span(1, 2, "LOC")]),
        ("I-PER I-PER O I-PER", [Span(0, 2, "PER"), Span(3, 4, "PER")]),
        ("O I-LOC B-LOC I-LOC", [Span(1, 2, "LOC"), Span(2, 4, "LOC")]),
        ("I-PER B-PER", [Span(0, 1, "PER"), Span(1, 2, "PER")]),
        ("B-PER I-PER I-PER B-LOC O", [Span(0, 3, "PER"), Span(3, 4, "LOC")]),
        ("I-PER I-LOC I-PER", [Span(0, 1, "PER"), Span(1, 2, "LOC"), Span(2, 3, "PER")]),
        ("B-creative-work I-creative-work", [Span(0, 2, "creative-work")]),
    ],
)
def test_spans_are_those_of_seqeval(tags: str, expected: list[Span]) -> None:
    assert spans(tags.split()) == expected


def test_micro_f1_of_a_hand_worked_case() -> None:
    """seqeval's README: MISC 1 of 1 wrong by its end, PER 1 of 1 right: F1 0.50."""
    gold = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    output = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    counts = [
        span_counts(*([(f"w{i}", tag) for i, tag in enumerate(tags)] for tags in pair))
        for pair in zip(gold, output, strict=True)
    ]
    assert counts == [(0, 1, 1), (1, 0, 0)]
    assert micro_f1(*map(sum, zip(*counts, strict=True))) == 0.5


def test_f1_without_any_span_is_undefined() -> None:
    assert micro_f1(0, 0, 0) is None
    assert micro_f1(0, 1, 0) == 0
    assert micro_f1(0, 0, 1) == 0


@given(TAGGED)
def test_the_gold_itself_is_perfect(gold: list) -> None:
    right, wrong, missed = span_counts(gold, gold)
    assert (right, wrong, missed) == (len(spans([tag for _, tag in gold])), 0, 0)


@given(TAGGED, TAGGED)
def test_span_counts_add_up(gold: list, output: list) -> None:
    right, wrong, missed = span_counts(gold, output)
    assert right + wrong == len(spans([tag for _, tag in output]))
    assert right + missed == len(spans([tag for _, tag in gold]))


def test_a_dropped_or_invented_word_spoils_only_the_spans_that_it_touches() -> None:
    gold = read_tagged("Ann/B-PER Lee/I-PER flew/O to/O Rome/B-LOC with/O Bob/B-PER", BIO)
    assert span_counts(gold, gold[:2] + gold[3:]) == (3, 0, 0)
    assert span_counts(gold, gold[1:]) == (2, 1, 1)
    assert span_counts(gold, [*gold, ("Paris", "B-LOC")]) == (3, 1, 0)
    assert span_counts(gold, [gold[0], ("de", "I-PER"), *gold[1:]]) == (2, 1, 1)
    assert span_counts(gold, []) == (0, 0, 3)
