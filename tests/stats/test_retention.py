"""Forgetting is judged against a margin: five answers, never "no significant difference, hence retained"."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from netgain.errors import UserError
from netgain.stats import multiplicity
from netgain.stats import retention as r
from netgain.stats.paired import bonett_price
from netgain.stats.result import Components, Pivot, pivot

quick = settings(deadline=None, max_examples=80)
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def answer(estimate: float, se: float, df: float = math.inf, components: Components | None = None) -> Pivot:
    return pivot(
        "difference", estimate, se=se, df=df, level=0.95, method="t", n=400, scale="points", components=components,
        seeds=None if components is None else 3,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("estimate", "se", "word"),
    [
        (0.03, 0.01, "gained"),
        (0.001, 0.01, "retained"),
        (-0.012, 0.004, "worse, within margin"),
        (-0.05, 0.01, "forgotten"),
        (-0.01, 0.02, "cannot tell"),
        (-0.03, 0.01, "cannot tell"),
    ],
)
def test_the_five_answers(estimate: float, se: float, word: str) -> None:
    judged = r.retention(answer(estimate, se), 0.02)
    assert judged.word == word
    assert judged.level == pytest.approx(0.9)
    assert word in judged.sentence()
    assert (judged.needed is not None) == (word == "cannot tell")


@quick
@given(st.floats(-0.1, 0.1), st.floats(0.001, 0.05), st.floats(0.005, 0.05))
def test_lower_is_better_mirrors_higher_is_better(estimate: float, se: float, margin: float) -> None:
    one = r.retention(answer(estimate, se), margin)
    other = r.retention(answer(-estimate, se), margin, higher_is_better=False)
    assert (one.word, one.low, one.high) == (other.word, other.low, other.high)


@quick
@given(st.floats(-0.1, 0.1), st.floats(0.001, 0.05), st.floats(0.005, 0.05))
def test_p_values_and_words_never_disagree(estimate: float, se: float, margin: float) -> None:
    judged = r.retention(answer(estimate, se), margin)
    assert (judged.p_forgotten < 0.05) == (judged.word == "forgotten")
    assert (judged.p_retained < 0.05) == (judged.low > -margin)
    assert judged.equivalent == r.equivalence(answer(estimate, se), margin).equivalent


@quick
@given(st.floats(-0.05, 0.05), st.floats(0.001, 0.05), st.floats(0.005, 0.03), st.floats(1.01, 3))
def test_a_wider_margin_never_turns_kept_into_lost(estimate: float, se: float, margin: float, wider: float) -> None:
    one, other = r.retention(answer(estimate, se), margin), r.retention(answer(estimate, se), margin * wider)
    assert one.low <= -margin or other.low > -margin * wider
    assert other.word != "forgotten" or one.word == "forgotten"


def test_the_needed_n_would_settle_it() -> None:
    judged = r.retention(bonett_price(5, 5, 100), 0.02)
    assert judged.word == "cannot tell"
    assert judged.needed is not None
    assert judged.needed.n is not None
    n = judged.needed.n
    flips = round(0.05 * n)
    assert r.retention(bonett_price(flips, flips, n), 0.02).word == "retained"


def test_items_cannot_make_up_for_seeds() -> None:
    parts = Components(seeds=0.0004, items=0.00001, residual=0.00001)
    judged = r.retention(answer(-0.001, math.sqrt(0.00042), 2.0, parts), 0.02)
    assert judged.needed is not None
    assert judged.needed.n is None
    assert judged.needed.seeds is not None
    assert judged.needed.seeds > 3
    assert "items alone cannot" in judged.sentence()


def test_a_margin_must_tolerate_something() -> None:
    with pytest.raises(UserError, match="margin"):
        r.retention(answer(0, 0.01), 0.0)
    assert r.default_margin() == 0.02
    assert r.default_margin(0.035) == 0.035


def test_retained_overall_takes_every_benchmark_and_forgetting_takes_holm() -> None:
    kept, lost = r.retention(answer(0.0, 0.005), 0.02), r.retention(answer(-0.05, 0.005), 0.02)
    barely = r.retention(answer(-0.0375, 0.01), 0.02)
    unclear = r.retention(answer(-0.01, 0.02), 0.02)
    assert r.overall({"a": kept, "b": kept}).retained
    assert r.overall({"a": kept, "b": lost}).forgotten == ("b",)
    assert barely.word == "forgotten"
    both = r.overall({"a": barely, "b": unclear, "c": kept, "d": kept})
    assert (both.retained, both.forgotten) == (False, ())
    assert both.open == ("a", "b")
    assert both.family == 4


@settings(deadline=None, max_examples=8)
@given(p_values)
def test_adjusted_p_values_are_those_of_statsmodels(p: list[float]) -> None:
    named = {f"h{i}": value for i, value in enumerate(p)}
    for method, ours in (("holm", multiplicity.holm(named)), ("fdr_bh", multiplicity.benjamini_hochberg(named))):
        assert list(ours.adjusted.values()) == pytest.approx(list(multipletests(p, method=method)[1]))


@quick
@given(p_values, st.integers(0, 10))
def test_holm_lies_between_raw_and_bonferroni(p: list[float], undeclared: int) -> None:
    named = {f"h{i}": value for i, value in enumerate(p)}
    size = len(p) + undeclared
    adjusted = multiplicity.holm(named, family=size)
    for name, value in named.items():
        assert value <= adjusted.adjusted[name] <= min(1.0, size * value) + 1e-12
    assert adjusted.family == size
    assert f"of {size}" in adjusted.sentence()
