"""What a parser must never do: invent an answer."""

import string
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgain.measure import text

NLI = ("entailment", "neutral", "contradiction")
WORDS = st.text(alphabet=string.ascii_lowercase + " ", min_size=0, max_size=40)


@pytest.mark.parametrize(
    ("output", "labels", "expected"),
    [
        ("positive", ("negative", "positive"), "positive"),
        (" Positive.\nReview: bad\nSentiment: negative", ("negative", "positive"), "positive"),
        ("The sentiment is **negative**.", ("negative", "positive"), "negative"),
        ("", ("negative", "positive"), None),
        ("\n\n", ("negative", "positive"), None),
        ("I cannot say", ("negative", "positive"), None),
        ("positive or negative", ("negative", "positive"), None),
        ("not positive", ("negative", "positive"), None),
        ("It isn't positive", ("negative", "positive"), None),
        ("positively charged", ("negative", "positive"), None),
        ("not_entailment", ("entailment", "not_entailment"), "not_entailment"),
        ("not entailment", ("entailment", "not_entailment"), "not_entailment"),
        ("entailment", ("entailment", "not_entailment"), "entailment"),
        ("not_equivalent", ("equivalent", "not_equivalent"), "not_equivalent"),
        ("no", ("no", "yes"), "no"),
        ("No, they differ", ("no", "yes"), "no"),
        ("<think>\n\n</think>\n\nyes", ("no", "yes"), "yes"),
        ("<think>\n\n", ("no", "yes"), None),
        ("<think> yes, that is", ("no", "yes"), None),
        ("A", ("A", "B"), "A"),
        ("The answer is B", ("A", "B"), "B"),
        ("It is a guess: B", ("A", "B"), "B"),
    ],
)
def test_only_a_single_named_label_is_an_answer(output: str, labels: tuple[str, ...], expected: str | None) -> None:
    assert text.label(output, labels) == expected


@given(WORDS)
def test_a_label_is_never_invented(output: str) -> None:
    found = text.label(output, NLI)
    assert found is None or found in output


@given(st.sampled_from(NLI), st.sampled_from(["{}", " {}.", "Label: {}", "**{}**", "{}\nmore text neutral"]))
def test_a_written_label_is_read_back(label: str, frame: str) -> None:
    assert text.label(frame.format(label), NLI) == label
    assert text.label(frame.format(label.upper()), NLI) == label


@given(st.permutations(NLI), st.text(max_size=60))
def test_the_order_of_the_label_set_never_decides(labels: list[str], output: str) -> None:
    assert text.label(output, labels) == text.label(output, NLI)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("42", 42),
        ("3 + 4 = 7", 7),
        ("25-759=-734", -734),
        ("25-759", 759),
        ("-3", -3),
        ("−3", -3),
        ("$1,234.50", Fraction("1234.5")),
        ("1,2345", 2345),
        ("#### 18\nSo 5", 18),
        ("The answer is 12, since 3*4=12. Then 99", 12),
        (r"thus \boxed{149}. Checked in 2 ways", 149),
        ("the answer is unclear, maybe 5", 5),
        ("1/2", Fraction(1, 2)),
        ("1/0", None),
        ("- 5 apples", 5),
        (".5", Fraction(1, 2)),
        ("7.", 7),
        ("no digits", None),
        ("", None),
        ("x2", None),
        ("<think> 5", None),
    ],
)
def test_numbers_are_read_exactly_or_not_at_all(output: str, expected: Fraction | None) -> None:
    assert text.number(output) == expected


@given(st.integers(-(10**12), 10**12), st.sampled_from(["{}", "{:,}", "= {}.", "It costs {} now", "a 1 b {}"]))
def test_a_written_integer_is_read_back(n: int, frame: str) -> None:
    assert text.number(frame.format(n)) == n


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**6), max_value=10**6))
def test_a_written_decimal_is_read_back(value: object) -> None:
    assert text.number(f"{value:f}") == Fraction(str(value))


def test_signs_are_part_of_an_answer() -> None:
    assert not text.exact("-5", "5")
    assert not text.exact("C", "C#")
    assert text.exact(' "Paris."\nLondon', "paris")
    assert text.exact("a\nb", "A\nB")
    assert not text.exact("a\nc", "A\nB")
    assert not text.exact("", "x")


def test_contains_looks_for_whole_words_in_a_row() -> None:
    assert text.contains("I think it is New  York, yes", "new york")
    assert not text.contains("a Yorkshire pudding", "york")
    assert not text.contains("New or York", "New York")


@pytest.mark.parametrize(
    ("prediction", "gold", "f1", "exact"),
    [
        ("the cat", "cat", 1.0, 1.0),
        ("The Cat!", "a cat", 1.0, 1.0),
        ("black cat", "cat", 2 / 3, 0.0),
        ("dog", "cat", 0.0, 0.0),
        ("cat cat", "cat", 2 / 3, 0.0),
        ("Denver Broncos won", "the Denver Broncos", 4 / 5, 0.0),
    ],
)
def test_squad_agrees_with_the_official_script(prediction: str, gold: str, f1: float, exact: float) -> None:
    assert text.squad(prediction, [gold]) == pytest.approx((f1, exact))


@given(WORDS, st.lists(WORDS, min_size=1, max_size=4))
def test_more_references_never_lower_a_score(prediction: str, references: list[str]) -> None:
    best, exact = text.squad(prediction, references)
    assert best == max(text.token_f1(prediction, gold) for gold in references)
    assert exact <= best <= 1
    assert text.squad(references[0], references) == (1.0, 1.0)


@given(WORDS, WORDS)
def test_token_f1_is_symmetric(left: str, right: str) -> None:
    assert text.token_f1(left, right) == text.token_f1(right, left)
