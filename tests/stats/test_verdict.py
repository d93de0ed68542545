"""One function for reports: the right scope, missing values counted, degenerate evidence said plainly."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netgain.errors import UserError
from netgain.stats import crossed, signs
from netgain.stats.paired import difference
from netgain.stats.units import BINS
from netgain.stats.verdict import contrast

quick = settings(deadline=None, max_examples=40)


def flipped(rng: np.random.Generator, base: np.ndarray, share: float, seeds: int = 1) -> np.ndarray:
    return np.where(rng.random((seeds, base.shape[-1])) < share, 1 - base, base)


def test_one_seed_speaks_of_the_checkpoint_only() -> None:
    rng = np.random.default_rng(0)
    base = (rng.random((1, 200)) < 0.5).astype(float)
    verdict = contrast(flipped(rng, base, 0.1), base, rng=rng)
    assert (verdict.scope, verdict.recipe) == ("this checkpoint", None)
    assert verdict.recipe_reason is not None
    assert verdict.recipe_reason in verdict.sentence()
    assert verdict.answer.method == "Bonett-Price"


def test_several_seeds_give_both_answers() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(size=(1, 150))
    tuned = base + 0.05 + np.array([[-0.1], [0.1], [-0.05], [0.05]]) + rng.normal(0, 0.1, (4, 150))
    verdict = contrast(tuned, base, rng=rng)
    assert verdict.scope == "this recipe"
    assert verdict.answer is verdict.recipe
    assert not verdict.answer.excludes()
    assert verdict.checkpoint.excludes()
    assert "checkpoints alone do differ" in verdict.sentence()


@quick
@given(st.integers(1, 4), st.integers(2, 40), st.booleans(), st.booleans(), st.integers(0, 2**32))
def test_gain_and_loss_are_mirror_images(seeds: int, n: int, binary: bool, clustered: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tuned, base = rng.normal(0.3, 1, (seeds, n)), rng.normal(size=(seeds, n))
    if binary:
        tuned, base = (tuned > 0).astype(float), (base > 0).astype(float)
    groups = np.arange(n) // 3 if clustered else None
    words = {"gain": "loss", "loss": "gain", "cannot tell": "cannot tell"}
    one, other = contrast(tuned, base, clusters=groups), contrast(base, tuned, clusters=groups)
    turned = contrast(tuned, base, clusters=groups, higher_is_better=False)
    assert words[one.word] == other.word == turned.word
    assert one.estimate == pytest.approx(-other.estimate)
    assert (one.answer.low, one.answer.high) == pytest.approx((-other.answer.high, -other.answer.low))
    assert (one.p < 0.05) == (one.word != "cannot tell")


def test_missing_items_are_dropped_in_pairs_and_counted() -> None:
    rng = np.random.default_rng(2)
    tuned, base = rng.normal(size=(2, 50)), rng.normal(size=(1, 50))
    tuned[0, :5] = np.nan
    tuned[1, 3:7] = np.nan
    base[0, 40:] = np.nan
    verdict = contrast(tuned, base, clusters=np.arange(50) // 2)
    assert (verdict.n, verdict.items, verdict.missing_tuned, verdict.missing_base) == (33, 50, 7, 10)
    assert "the 33 with both are compared" in verdict.sentence()
    whole = contrast(tuned[:, 7:40], base[:, 7:40], clusters=(np.arange(50) // 2)[7:40])
    assert (whole.answer.low, whole.answer.high) == pytest.approx((verdict.answer.low, verdict.answer.high))


def test_nothing_shared_is_no_data_rather_than_zero() -> None:
    verdict = contrast(np.array([[1.0, np.nan]]), np.array([[np.nan, 1.0]]), margin=0.02)
    assert (verdict.word, verdict.n, verdict.p) == ("no data", 0, 1.0)
    assert np.isnan(verdict.estimate)
    assert verdict.sentence().startswith("no data")


def test_arms_of_different_items_are_refused() -> None:
    with pytest.raises(UserError, match="same items"):
        contrast(np.zeros((1, 4)), np.zeros((1, 5)))


def test_infinite_values_are_refused_by_name() -> None:
    with pytest.raises(UserError, match="Base item 1 is infinite"):
        contrast(np.zeros((1, 3)), np.array([[0.0, np.inf, 0.0]]))


def test_an_item_without_a_cluster_is_its_own() -> None:
    rng = np.random.default_rng(9)
    tuned, base = rng.normal(size=(1, 5)), rng.normal(size=(1, 5))
    labels = np.array(["a", None, "a", None, "b"], dtype=object)
    assert contrast(tuned, base, clusters=labels).answer.clusters == 4


def test_a_margin_turns_the_question_into_retention() -> None:
    rng = np.random.default_rng(3)
    base = (rng.random((1, 4000)) < 0.8).astype(float)
    verdict = contrast(flipped(rng, base, 0.01), base, margin=0.03, rng=rng)
    assert verdict.retention is not None
    assert verdict.word == verdict.retention.word
    assert contrast(np.zeros((1, 400)), np.ones((1, 400)), margin=0.03).word == "forgotten"


def test_token_weighted_nll_is_the_corpus_mean() -> None:
    rng = np.random.default_rng(4)
    tokens, base = rng.integers(5, 900, 120).astype(float), rng.normal(3, 0.5, (1, 120))
    tuned = base - 0.1 + rng.normal(0, 0.1, (1, 120))
    verdict = contrast(tuned, base, item_weights=tokens, higher_is_better=False)
    assert verdict.estimate == pytest.approx(((tuned - base) * tokens).sum() / tokens.sum())
    assert verdict.word == "gain"
    assert verdict.answer.method.startswith("weighted")
    even = contrast(tuned, base, item_weights=np.full(120, 7.0))
    plain = difference(tuned[0], base[0])
    assert (even.answer.low, even.answer.high) == pytest.approx((plain.low, plain.high))


def test_flips_only_where_answers_are_right_or_wrong() -> None:
    rng = np.random.default_rng(5)
    base = (rng.random((1, 60)) < 0.5).astype(float)
    assert contrast(flipped(rng, base, 0.2, 3), base).flips is not None
    assert contrast(base + 0.5, base).flips is None


def test_a_second_opinion_comes_with_a_generator() -> None:
    rng = np.random.default_rng(6)
    tuned, base = rng.normal(0.5, 1, (1, 80)), rng.normal(size=(1, 80))
    assert contrast(tuned, base).randomisation is None
    second = contrast(tuned, base, rng=rng).randomisation
    assert second is not None
    assert second.p == pytest.approx(contrast(tuned, base).p, abs=0.02)


@pytest.mark.parametrize("seeds", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("clusters", [None, "one", "each"])
@pytest.mark.parametrize(("left", "right"), [(1.0, 1.0), (1.0, 0.0), (0.5, 0.5), (0.3, 0.5)])
def test_degenerate_evidence_gives_a_sentence(
    seeds: int, n: int, clusters: str | None, left: float, right: float
) -> None:
    groups = None if clusters is None else (np.zeros(n, int) if clusters == "one" else np.arange(n))
    verdict = contrast(np.full((seeds, n), left), np.full((1, n), right), clusters=groups, margin=0.02)
    assert verdict.n == n
    assert verdict.sentence()
    assert "nan" not in verdict.sentence()
    if n == 1 or clusters == "one":
        assert verdict.recipe is None
        assert verdict.word == "cannot tell"


def test_a_million_rows_are_never_multiplied_by_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    plain = signs.random_signs

    def counted(rng: np.random.Generator, draws: int, count: int) -> np.ndarray:
        drawn.append(draws * count)
        return plain(rng, draws, count)

    monkeypatch.setattr(signs, "random_signs", counted)
    rng = np.random.default_rng(7)
    base = rng.normal(size=(1, 200_000))
    tuned = base + rng.normal(0.01, 1, (5, 200_000))
    verdict = contrast(tuned, base, clusters=np.arange(200_000) // 10, rng=rng)
    assert verdict.randomisation is not None
    assert verdict.answer.clusters == 20_000
    assert max(drawn) <= signs.BLOCK
    assert sum(drawn) <= 2_000 * BINS


@pytest.mark.parametrize("module", ["verdict", "intervals", "power"])
def test_the_room_opens_without_scipy_stats_or_torch(module: str) -> None:
    heavy = {"scipy.stats", "scipy.special", "torch"}
    code = f"import sys, netgain.stats.{module}; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_answer_is_the_rooms_own() -> None:
    rng = np.random.default_rng(8)
    base = (rng.random((1, 90)) < 0.6).astype(float)
    tuned = flipped(rng, base, 0.15, 3)
    verdict, direct = contrast(tuned, base), crossed.recipe(tuned, base)
    assert direct is not None
    assert verdict.recipe == direct
